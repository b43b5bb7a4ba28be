"""The launch scripts: shell that a linter passes, and what they start and say.

Python, gcloud, srun and scontrol are stand-ins that write down how they were called.
"""

import os
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = sorted((ROOT / "launch").glob("*.sh"))


def test_shellcheck_has_nothing_to_say():
    assert len(SCRIPTS) >= 9
    done = subprocess.run(["shellcheck", *SCRIPTS], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.fixture
def stand_in(tmp_path):
    """`stand_in(name, script)` puts a shell script before the real program; and a copy of launch/ with an empty env."""
    folder = tmp_path / "bin"
    folder.mkdir()
    shutil.copytree(ROOT / "launch", tmp_path / "launch")
    (tmp_path / "launch" / "env.sh").write_text("")

    def make(name, script):
        (folder / name).write_text(f"#!/usr/bin/env bash\n{script}")
        (folder / name).chmod(0o755)

    return make


def environment(folder, **more):
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    clean = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS" and not k.startswith("JAX_")}
    return clean | {"PATH": path, "VIRTUAL_ENV": "/none", "CALLS": str(folder / "calls")} | more


def start(folder, *arguments, **more):
    return subprocess.Popen(
        arguments,
        cwd=folder,
        env=environment(folder, **more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def run(folder, *arguments, **more):
    process = start(folder, *arguments, **more)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def until(path, text, seconds=20):
    end = time.monotonic() + seconds
    while not (path.exists() and text in path.read_text()):
        assert time.monotonic() < end, path.read_text() if path.exists() else f"no {path}"
        time.sleep(0.02)


SLOW = """
trap 'echo told >>"$CALLS${JAX_PROCESS_ID:-}"; kill %1; exit 143' TERM
echo "$*" >>"$CALLS${JAX_PROCESS_ID:-}"
sleep 60 &
wait
"""
"""Tells that it has begun, and of SIGTERM."""
FIND_PORT = "[[ $1 == -c ]] && echo 12345 && exit\n"


def test_local_starts_one_process_of_each_number(tmp_path, stand_in):
    shown = "$JAX_PROCESS_ID/$JAX_NUM_PROCESSES $JAX_COORDINATOR_ADDRESS $XLA_FLAGS"
    stand_in("python", f'{FIND_PORT}echo "$*" >>"$CALLS$JAX_PROCESS_ID"; echo "{shown}"; echo no >&2')
    code, out, err = run(tmp_path, "launch/local.sh", "3", "--", "train", "--workdir=a b")
    assert code == 0
    lines = sorted(out.splitlines())
    devices = lines[0].rpartition("=")[2]
    expected = [f"[{i}] {i}/3 localhost:12345  --xla_force_host_platform_device_count={devices}" for i in range(3)]
    assert lines == expected and sorted(err.splitlines()) == ["[0] no", "[1] no", "[2] no"]
    assert (tmp_path / "calls2").read_text() == "-m score_jax train --workdir=a b\n"


@pytest.mark.parametrize("arguments", [(), ("2",), ("0", "--", "train"), ("x", "--", "train"), ("2", "train")])
def test_local_says_how_it_is_called(tmp_path, stand_in, arguments):
    code, _, err = run(tmp_path, "launch/local.sh", *arguments)
    assert code == 2 and "launch/local.sh 2 -- train" in err


def test_local_ends_with_the_code_of_the_first_that_failed(tmp_path, stand_in):
    stand_in("python", FIND_PORT + "((JAX_PROCESS_ID)) && exit 2\nexec sleep 60")
    began = time.monotonic()
    code, _, err = run(tmp_path, "launch/local.sh", "2", "--", "train", GRACE="1")
    assert code == 2 and "process 1 ended with exit code 2" in err
    assert time.monotonic() - began < 20


def test_local_passes_sigterm_on(tmp_path, stand_in):
    stand_in("python", FIND_PORT + SLOW)
    process = start(tmp_path, "launch/local.sh", "2", "--", "train")
    for i in range(2):
        until(tmp_path / f"calls{i}", "train")
    time.sleep(0.2)  # for the traps to be set
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == 143
    assert all("told" in (tmp_path / f"calls{i}").read_text() for i in range(2))


def test_a_node_that_was_told_to_end_is_not_done(tmp_path, stand_in):
    stand_in("python", SLOW)
    process = start(tmp_path, "launch/node.sh", "train", "--workdir=a b")
    until(tmp_path / "calls", "-m score_jax train --workdir=a b")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == 143 and "told" in (tmp_path / "calls").read_text()


@pytest.mark.parametrize("code", [0, 2, 3])
def test_a_node_ends_as_its_verb_does(tmp_path, stand_in, code):
    stand_in("python", f"exit {code}")
    assert run(tmp_path, "launch/node.sh", "train")[0] == code


def test_a_slurm_job_that_is_told_to_end_queues_again(tmp_path, stand_in):
    stand_in("srun", SLOW)
    stand_in("scontrol", 'echo "scontrol $*" >>"$CALLS"')
    there = {"SLURM_SUBMIT_DIR": str(tmp_path), "SLURM_JOB_ID": "7"}
    process = start(tmp_path, "bash", "launch/slurm.sh", "train", "--workdir=a b", **there)
    until(tmp_path / "calls", "--kill-on-bad-exit=1 launch/node.sh train --workdir=a b")
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=20)
    assert "queueing again" in out and "scontrol requeue 7" in (tmp_path / "calls").read_text()


@pytest.mark.parametrize(("code", "again"), [(0, False), (1, False), (2, False), (75, True), (143, True)])
def test_a_slurm_job_queues_again_where_another_try_is_worth_it(tmp_path, stand_in, code, again):
    stand_in("srun", f'echo "$SRUN_CPUS_PER_TASK" >"$CALLS.cpus"; exit {code}')
    stand_in("scontrol", 'echo "scontrol $*" >>"$CALLS"')
    there = {"SLURM_SUBMIT_DIR": str(tmp_path), "SLURM_JOB_ID": "7", "SLURM_CPUS_PER_TASK": "8"}
    assert run(tmp_path, "bash", "launch/slurm.sh", "train", **there)[0] == code
    assert (tmp_path / "calls").exists() == again
    assert (tmp_path / "calls.cpus").read_text() == "8\n"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), ["-m pytest -n 2 --dist worksteal --covered=85", "guard"]),
        (("--fast",), ["-m pytest -n 2 --dist worksteal -m not slow"]),
        (("--fast", "tests/cli"), ["-m pytest -n 2 --dist worksteal -m not slow tests/cli"]),
        (("tests/cli", "-k", "doctor"), ["-m pytest tests/cli -k doctor"]),
    ],
)
def test_the_tests_are_run_whole_fast_or_in_part(tmp_path, stand_in, arguments, expected):
    for program in ("python", "ruff", "mypy"):
        stand_in(program, f'echo "{program} $*" >>"$CALLS"')
    assert run(tmp_path, "launch/test.sh", *arguments)[0] == 0
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls[:3] == ["ruff check .", "ruff format --check .", "mypy "]
    assert calls[3:] == [f"python {'benchmarks/guard.py' if call == 'guard' else call}" for call in expected]


# One machine, whose home is a folder. Its slice is there once it is asked for; `preempted` takes it away after a run,
# and `fails_WHAT` has so many calls of WHAT fail, as when the service or the network is away.
GCLOUD = """
echo "$*" >>"$CALLS"
place=$PWD/cloud
what=${4%% *}
if [[ $what == ssh && "$*" == *exit_code* && "$*" == *cat* ]]; then what=look; fi
left=$(cat "$place/fails_$what" 2>/dev/null || echo 0)
if ((left)); then echo $((left - 1)) >"$place/fails_$what"; echo "ERROR: UNAVAILABLE" >&2; exit 1; fi
case "$3 $4" in
  "queued-resources describe")
    if [[ -e $place/failing && -d $place/home ]]; then echo FAILED
    elif [[ -e $place/deleting ]]; then rm "$place/deleting"; echo DELETING
    elif [[ -e $place/preempted && -e $place/home/score_jax/ran ]]; then echo SUSPENDED
    elif [[ -d $place/home ]]; then echo ACTIVE
    else echo "ERROR: NOT_FOUND" >&2; exit 1; fi ;;
  "queued-resources create") mkdir -p "$place/home" ;;
  "queued-resources delete") rm -rf "$place/home" "$place/preempted" ;;
  "tpu-vm scp") cp "$5" "$place/home/score_jax.tar.gz" ;;
  "tpu-vm ssh") cd "$place/home" && exec bash -c "${!##--command=}" ;;
esac
"""
TPU = {
    "PROJECT": "p",
    "ZONE": "z",
    "ACCELERATOR": "v5litepod-4",
    "RUNTIME": "r",
    "POLL": "0.1",
    "PATIENCE": "3",
    "TRIES": "2",
}


@pytest.fixture
def cloud(tmp_path, stand_in):
    """A cloud in a folder; `python` ends with the codes in `codes`, one after another."""
    stand_in("gcloud", GCLOUD)
    stand_in("sudo", 'echo "sudo $*" >>"$CALLS"')
    stand_in(
        "python",
        'read -r code rest <"$CODES"; echo "$rest" >"$CODES"; echo "$*" >>"$CALLS.python"; touch ran; exit "$code"',
    )
    (tmp_path / "cloud").mkdir()
    (tmp_path / "codes").write_text("0\n")
    subprocess.run(
        "git init -q . && git add launch && git -c user.name=a -c user.email=a@b commit -qm a",
        shell=True,
        cwd=tmp_path,
        check=True,
    )

    def call(*arguments):
        return run(tmp_path, "launch/tpu_pod.sh", "pod", *arguments, **TPU, CODES=str(tmp_path / "codes"))

    return call


def test_a_pod_is_made_and_trains(tmp_path, cloud):
    assert cloud("create")[0] == 0 and cloud("install")[0] == 0
    assert cloud("start", "train", "--workdir=a b")[0] == 0
    assert cloud("wait")[0] == 0
    assert (tmp_path / "calls.python").read_text() == "-m score_jax train --workdir=a b\n"
    assert cloud("delete")[0] == 0 and not (tmp_path / "cloud" / "home").exists()
    assert "--accelerator-type=v5litepod-4 --runtime-version=r" in (tmp_path / "calls").read_text()


def test_a_preempted_pod_is_made_again(tmp_path, cloud):
    (tmp_path / "cloud" / "preempted").touch()
    (tmp_path / "codes").write_text("143 0\n")
    code, _, err = cloud("keep", "train")
    assert code == 0, err
    assert err.count("starting again") == 1
    calls = (tmp_path / "calls").read_text()
    assert calls.count("queued-resources create") == 2 and calls.count("queued-resources delete") == 2


def test_a_run_that_lost_a_process_starts_again_and_bad_input_ends_it(tmp_path, cloud):
    (tmp_path / "codes").write_text("75 2\n")
    code, _, err = cloud("keep", "train")
    assert code == 2 and err.count("starting again") == 1
    assert (tmp_path / "calls").read_text().count("queued-resources create") == 1
    assert not (tmp_path / "cloud" / "home").exists()


def runs(tmp_path):
    """How often the work was begun."""
    return (tmp_path / "calls.python").read_text().count("score_jax train")


@pytest.mark.parametrize(("what", "times"), [("describe", 1), ("describe", 3), ("scp", 1), ("look", 1), ("look", 2)])
def test_a_hiccup_of_the_cloud_begins_nothing_twice(tmp_path, cloud, what, times):
    (tmp_path / "cloud" / f"fails_{what}").write_text(f"{times}\n")
    code, _, err = cloud("keep", "train")
    assert code == 0, err
    assert runs(tmp_path) == 1 and not (tmp_path / "cloud" / "home").exists()


def test_a_machine_that_is_silent_is_not_waited_for_for_ever(tmp_path, cloud):
    (tmp_path / "cloud" / "fails_look").write_text("1000\n")
    code, _, err = cloud("keep", "train")
    assert code == 75 and "no answer from machine 0 (3 of 3" in err and "giving up" in err
    assert not (tmp_path / "cloud" / "home").exists()


def test_a_crash_at_once_is_not_tried_for_ever(tmp_path, cloud):
    (tmp_path / "codes").write_text("1 1 1 1 1 1\n")
    code, _, err = cloud("keep", "train")
    assert code == 1 and runs(tmp_path) == 2 and "2 runs in a row ended at once, the last with 1: giving up" in err
    assert not (tmp_path / "cloud" / "home").exists()


def test_a_slice_that_fails_again_and_again_is_given_up(tmp_path, cloud):
    (tmp_path / "cloud" / "failing").touch()
    code, _, err = cloud("keep", "train")
    assert code == 75 and "giving up" in err and not (tmp_path / "cloud" / "home").exists()
    assert (tmp_path / "calls").read_text().count("queued-resources create") == 2


def test_a_slice_that_is_being_deleted_is_waited_for(tmp_path, cloud):
    (tmp_path / "cloud" / "deleting").touch()
    code, _, err = cloud("keep", "train")
    assert code == 0 and "DELETING ..." in err and runs(tmp_path) == 1


def test_a_slice_that_cannot_be_given_back_is_said(tmp_path, cloud):
    (tmp_path / "cloud" / "fails_delete").write_text("9\n")
    code, _, err = cloud("keep", "train")
    assert code == 0 and "COULD NOT BE DELETED AND IS PAID FOR" in err


def test_a_slice_that_is_not_to_be_had_is_not_asked_for_for_ever(tmp_path, cloud):
    (tmp_path / "cloud" / "fails_create").write_text("1000\n")
    code, _, err = cloud("keep", "train")
    assert code == 75 and "giving up" in err and "PAID FOR" not in err
    assert (tmp_path / "calls").read_text().count("queued-resources create") == 2


def test_a_run_that_goes_on_is_waited_for_and_not_begun_again(tmp_path, cloud, stand_in):
    home = tmp_path / "cloud" / "home" / "score_jax"
    home.mkdir(parents=True)
    with subprocess.Popen(["sleep", "60"]) as before:
        (home / "pid").write_text(f"{before.pid}\n")
        threading.Timer(1.0, lambda: (home / "exit_code").write_text("0\n")).start()
        code, _, err = cloud("keep", "train")
        before.kill()
    assert code == 0, err
    assert not (tmp_path / "calls.python").exists()


def test_the_pod_script_names_what_is_missing(tmp_path, stand_in):
    code, _, err = run(tmp_path, "launch/tpu_pod.sh", "pod", "create", PROJECT="p", ZONE="z", RUNTIME="r")
    assert code == 2 and "ACCELERATOR is not set" in err


XPK = """
printf '%s\\0' "$@" >"$CALLS"
for word in "$@"; do
  [[ $word != --command=* ]] || command=${word#--command=}
  [[ $word != --env=* ]] || export "${word#--env=}"
done
# As in the pod of xpk 1.16, which looks every 5 s.
_sigterm() (kill -SIGTERM $! 2>/dev/null;);
trap _sigterm SIGTERM;
eval "($command) & PID=\\$!"
while kill -0 $PID 2>/dev/null; do sleep 0.1; done
wait $PID
"""
XPK_JOB = {"PROJECT": "p", "ZONE": "z", "CLUSTER": "c", "TPU": "tpu7x-2x2x2", "IMAGE": "europe/score_jax:1"}


def xpk_restarts(words):
    """The exit codes after which xpk 1.16 begins the pods again: those that it always has, and those it is given."""
    (given,) = [word.partition("=")[2] for word in words if word.startswith("--restart-on-exit-codes=")]
    return {42, *range(127, 256), *map(int, given.split(","))}


def test_xpk_is_given_the_verb_and_begins_it_again_where_another_try_is_worth_it(tmp_path, stand_in):
    stand_in("xpk", XPK)
    stand_in("python", 'printf "%s|" "$LIBTPU_INIT_ARGS" "$@" >"$CALLS.python"; exit 75')
    verb = ("train", "--config=a.py", "--workdir=a b", "--config.x=('y', \"z\")")
    assert run(tmp_path, "launch/xpk.sh", "mine", *verb, **XPK_JOB, LIBTPU_INIT_ARGS="--a=1 --b=2")[0] == 75
    assert (tmp_path / "calls.python").read_text() == "|".join(["--a=1 --b=2", "-m", "score_jax", *verb, ""])
    words = (tmp_path / "calls").read_text().split("\0")
    for word in ("--tpu-type=tpu7x-2x2x2", "--workload=mine", "--docker-image=europe/score_jax:1"):
        assert word in words
    assert [code for code in (0, 1, 2, 75, 130, 143) if code in xpk_restarts(words)] == [75, 130, 143]


def test_xpk_passes_sigterm_on(tmp_path, stand_in):
    stand_in("xpk", XPK)
    stand_in("python", SLOW)
    process = start(tmp_path, "launch/xpk.sh", "mine", "train", **XPK_JOB, CALLS=str(tmp_path / "called"))
    until(tmp_path / "called", "score_jax train")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == 143 and "told" in (tmp_path / "called").read_text()


def test_the_xpk_script_names_what_is_missing(tmp_path, stand_in):
    code, _, err = run(tmp_path, "launch/xpk.sh", "mine", "train", **{**XPK_JOB, "TPU": ""})
    assert code == 2 and "TPU is not set" in err and "launch/xpk.sh NAME train" in err
