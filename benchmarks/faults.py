"""Claims: nothing is lost when machines are.

    python benchmarks/faults.py --json          all claims
    python benchmarks/faults.py --quick         fewer kills and damages

kills_survived        kill -9 at random moments of train, sample, likelihood and evaluate, in one process and in one of
                      two, each followed by the same command; counted where the final result has the bits of the
                      undisturbed run
steps_lost            training steps behind the newest checkpoint on disk that a resumed run went back, at most
corruptions_survived  of ten kinds of damage to the newest checkpoint, how many are found and passed over, and end in
                      the bits of the undisturbed run
sigterm_seconds       from the notice to the end of the job, the checkpoint written; the longest of one and two
                      processes
peer_death_seconds    from kill -9 of one process of two to the end of the other, with a message; the longest of either
frozen_peer_seconds   the same where a process stands still, as a machine does that lost its network
absent_peer_seconds   how much longer than it was told to a process waits for one that never comes
hung_step_seconds     how much longer than it was told to a training waits for a step that stands still, here for a
                      disk whose files do not answer
transient_survived    of ten kinds of failures of services and disks that pass, in how many the training goes on by
                      itself, and ends in the bits of the undisturbed one
no_second_writer      whether a second run that writes the same checkpoints is refused, and the first not disturbed
lost_curves           steps of the curve that are missing after the machine is gone, its checkpoints being elsewhere
supervisor_rows       of the ways in which a cloud fails the script that keeps a slice, how many are failed
topology_restore      arrays that differ after 8 -> 1 -> 4 devices, fully sharded, and as NumPy

Each run is a job of launch/local.sh on this machine, its devices those of the CPU.
"""

import argparse
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"

import jax
from fault_jobs import (
    ROOT,
    SAVED_EVERY,
    STEPS,
    Job,
    alone,
    arguments_of,
    committed,
    differing,
    result_of,
    resumed_at,
    workdir_of,
    write_config,
)
from fault_services import KINDS
from PIL import Image

from report import Claim, emit
from score_jax import builder
from score_jax.builder.workdirs import load_config
from score_jax.runtime.exit_codes import AGAIN, MEND, STOPPED
from score_jax.runtime.sharding import make_mesh
from score_jax.training.checkpoint import Checkpoints, abstract_state
from score_jax.training.log import read_curve

VERBS = ("train", "sample", "likelihood", "evaluate")


def say(text: str) -> None:
    """To the person who waits."""
    print(text, file=sys.stderr, flush=True)


class Kills:
    """Kills at random moments, until there were enough; results compared with an undisturbed run."""

    def __init__(self, folder: Path, config: Path, seed: int):
        self._folder, self._config, self._random = folder, config, random.Random(seed)
        self.survived = self.steps_lost = 0
        self._seconds = 0.0  # within which a run is killed: as long as one takes whose programs are compiled

    def of(self, verb: str, processes: int, wanted: int) -> None:
        """Adds `wanted` kills of a verb."""
        reference = workdir_of(verb, self._folder, f"{verb}_{processes}")
        job = Job(self._folder, arguments_of(verb, self._config, reference), processes).done()
        self._seconds, expected = job.seconds(), result_of(verb, reference)
        kills = 0
        while kills < wanted:
            workdir = workdir_of(verb, self._folder, "killed")
            of_round = self._round(verb, processes, workdir, wanted - kills)
            wrong = differing(result_of(verb, workdir), expected)
            kills += of_round
            if wrong:
                say(f"{verb}, {processes} processes: {wrong[:3]} differ after {of_round} kills")
            else:
                self.survived += of_round
            say(f"{verb}, {processes} processes: {kills} kills of {wanted}")

    def _round(self, verb: str, processes: int, workdir: Path, most: int) -> int:
        """The same command until it is done, killed up to `most` times; how often it was."""
        kills, before = 0, 0
        while True:
            job = Job(self._folder, arguments_of(verb, self._config, workdir), processes)
            moment = self._random.uniform(0, self._seconds) if kills < most else float("inf")
            while job.is_running() and job.seconds() < moment:
                time.sleep(0.005)
            if job.is_running() and job.tell(self._random.randrange(processes), signal.SIGKILL):
                kills += 1
            code = job.wait()
            if verb == "train" and "Resuming at" in job.output.read_text():
                self.steps_lost = max(self.steps_lost, before - resumed_at(job))
            before = committed(workdir)
            if code == 0:
                self._seconds = self._seconds if kills else job.seconds()
                return kills


def _largest(checkpoint: Path, pattern: str) -> Path:
    return max((file for file in checkpoint.glob(pattern) if file.is_file()), key=lambda file: file.stat().st_size)


def _flip(file: Path, place: float) -> None:
    content = bytearray(file.read_bytes())
    content[int(place * (len(content) - 1))] ^= 1 << 3
    file.write_bytes(content)


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


# Arrays lie at the head of a data file; its end may hold what nothing refers to any longer, and no reader sees.
DAMAGES: dict[str, Callable[[Path], object]] = {
    "a bit of the arrays": lambda c: _flip(_largest(c, "state/**/d/*"), 0.5),
    "another bit of the arrays": lambda c: _flip(_largest(c, "state/**/d/*"), 0.1),
    "arrays cut in half": lambda c: _cut(_largest(c, "state/**/d/*")),
    "arrays emptied": lambda c: _largest(c, "state/**/d/*").write_bytes(b""),
    "arrays removed": lambda c: _largest(c, "state/**/d/*").unlink(),
    "the tree's description cut in half": lambda c: _cut(c / "state" / "_METADATA"),
    "the data's place cut in half": lambda c: _cut(c / "data" / "metadata"),
    "the fingerprints cut in half": lambda c: _cut(c / "about" / "metadata"),
    "the state removed": lambda c: shutil.rmtree(c / "state"),
    "all but the folder removed": lambda c: [shutil.rmtree(p) if p.is_dir() else p.unlink() for p in c.iterdir()],
}


def corruptions_survived(folder: Path, config: Path, damages: dict[str, Callable[[Path], object]]) -> int:
    """How many damages to the newest checkpoint of a run are found, and end as if nothing had been."""
    expected, survived = result_of("train", folder / "train_1"), 0
    for name, damage in damages.items():
        workdir = folder / "damaged"
        shutil.rmtree(workdir, ignore_errors=True)
        shutil.copytree(folder / "train_1", workdir)
        damage(workdir / "checkpoints" / str(STEPS))
        job = Job(folder, arguments_of("train", config, workdir), 1).done()
        found = f"Checkpoint {STEPS} in" in job.output.read_text() and resumed_at(job) == STEPS - SAVED_EVERY
        well = found and not differing(result_of("train", workdir), expected)
        survived += well
        say(f"{name}: {'passed over' if well else 'NOT FOUND OR NOT MENDED'}")
    return survived


def _training(folder: Path, config: Path, processes: int) -> Job:
    """A training that has begun to save, and does not end by itself."""
    workdir = workdir_of("train", folder, "endless")
    endless = [
        *arguments_of("train", config, workdir),
        "--config.optimizer.decay=constant",
        "--config.training.steps=1000000",
    ]
    job = Job(folder, endless, processes)
    job.until(workdir / "checkpoints" / str(SAVED_EVERY))
    return job


def sigterm_seconds(folder: Path, config: Path) -> float:
    """From SIGTERM to one process to the end of all."""
    longest = 0.0
    for processes in (1, 2):
        job = _training(folder, config, processes)
        began = time.monotonic()
        job.tell(processes - 1, signal.SIGTERM)
        assert job.wait() == STOPPED, job.output.read_text()[-2000:]
        longest = max(longest, time.monotonic() - began)
        said = int(job.output.read_text().rpartition("Checkpoint at step ")[2].split()[0])
        assert said == committed(folder / "endless"), (said, committed(folder / "endless"))
    return longest


def peer_seconds(folder: Path, config: Path, victim: int, what: signal.Signals) -> float:
    """From a signal to one process to the end of the other, with its message."""
    job = _training(folder, config, 2)
    other = job.pids()[1 - victim]
    began = time.monotonic()
    job.tell(victim, what)
    while Path(f"/proc/{other}/cmdline").exists() and Path(f"/proc/{other}/cmdline").read_bytes():
        time.sleep(0.01)
    seconds = time.monotonic() - began
    if what == signal.SIGSTOP:
        job.tell(0, signal.SIGKILL)
    job.wait()
    text = job.output.read_text()
    assert "another process of this job ended" in text or "gave no sign of life" in text, text[-2000:]
    return seconds


def absent_peer_seconds(folder: Path, config: Path) -> float:
    """Beyond the seconds that a process is told to wait for one that never comes, with the start of the process."""
    with socket.create_server(("localhost", 0)) as server:
        address = f"localhost:{server.getsockname()[1]}"
    words = ["-m", "score_jax", *arguments_of("train", config, workdir_of("train", folder, "absent"))]
    code, seconds, said = alone(
        folder,
        words,
        JAX_COORDINATOR_ADDRESS=address,
        JAX_NUM_PROCESSES="2",
        JAX_PROCESS_ID="0",
        SCORE_JAX_JOIN_SECONDS="10",
    )
    assert code == AGAIN and "waited 10 s for 2 processes" in said, (code, said[-2000:])
    return seconds - 10


def hung_step_seconds(folder: Path, config: Path) -> float:
    """Beyond the seconds that a step may take, of a training whose image files become ones that never answer."""
    images = folder / "images"
    shutil.rmtree(images, ignore_errors=True)
    images.mkdir()
    for i in range(64):
        Image.new("L", (8, 8), i).save(images / f"{i}.png")
    workdir = workdir_of("train", folder, "hung")
    words = [*arguments_of("train", config, workdir), f"--config.data.name=folder:{images}"]
    words += ["--config.data.train_split=all", "--config.training.steps=1000000", "--config.training.step_timeout=5"]
    job = Job(folder, [*words, "--config.optimizer.decay=constant"], 1)
    job.until(workdir / "checkpoints" / str(SAVED_EVERY))
    for file in images.iterdir():
        pipe = file.with_suffix(".pipe")
        os.mkfifo(pipe)
        pipe.replace(file)  # who opens it waits for ever for what is written into it
    began = time.monotonic()
    code, seconds, said = job.wait(), time.monotonic() - began, job.output.read_text()
    # At least the 5 s of the flag, and 20 times what a step usually takes.
    told = re.search(r"no step ended for (\d+) s", said)
    assert code == AGAIN and told and "Stacks of process" in said, (code, said[-2000:])
    return seconds - float(told[1])


def transient_survived(folder: Path, config: Path) -> int:
    """How many kinds of failures that pass a training survives by itself."""
    expected, survived = result_of("train", folder / "train_1"), 0
    for kind in KINDS:
        workdir = workdir_of("train", folder, "transient")
        if "read" in kind and "record" not in kind:  # at the start of a run that goes on
            job = Job(folder, arguments_of("train", config, workdir), 1)
            job.until(workdir / "checkpoints" / str(4 * SAVED_EVERY))
            job.tell(0, signal.SIGKILL)
            job.wait()
        words = [str(ROOT / "benchmarks" / "fault_services.py"), kind, *arguments_of("train", config, workdir)]
        code, _, said = alone(folder, words)
        well = code == 0 and not differing(result_of("train", workdir), expected)
        survived += well
        say(f"{kind}: {'survived' if well else f'NOT SURVIVED, exit code {code}: {said[-1500:]}'}")
    return survived


def no_second_writer(folder: Path, config: Path) -> int:
    """Whether a second run beside one that writes is refused, the first not disturbed."""
    first = _training(folder, config, 1)
    place = folder / "endless" / "checkpoints"
    words = [*arguments_of("train", config, workdir_of("train", folder, "second")), "--config.optimizer.decay=constant"]
    words += ["--config.training.steps=1000000", f"--config.training.checkpoints={place}"]
    code, _, said = alone(folder, ["-m", "score_jax", *words])
    undisturbed = first.is_running()
    first.tell(0, signal.SIGTERM)
    went_on = first.wait() == STOPPED and undisturbed
    refused = code == MEND and "Another run writes checkpoints" in said
    say(f"a second writer is {'refused' if refused else 'NOT REFUSED'}, the first {'goes on' if went_on else 'ENDED'}")
    return int(refused and went_on)


def lost_curves(folder: Path, config: Path) -> int:
    """Steps that are missing in the curve of a run whose machine is gone in the middle."""
    workdir, place = workdir_of("train", folder, "moved"), folder / "bucket"
    shutil.rmtree(place, ignore_errors=True)
    words = [*arguments_of("train", config, workdir), f"--config.training.checkpoints={place}"]
    job = Job(folder, words, 1)
    job.until(place / str(8 * SAVED_EVERY))
    job.tell(0, signal.SIGKILL)
    job.wait()
    shutil.rmtree(workdir)
    Job(folder, words, 1).done()
    return STEPS // SAVED_EVERY - len(read_curve(workdir))


def supervisor_rows() -> tuple[int, int]:
    """Tests of the script that keeps a slice that pass, and all of them."""
    words = ["-m", "pytest", "-p", "no:cacheprovider", "tests/test_launch.py", "-k", "cloud or pod or slice"]
    found = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    passed, failed = (
        int(number[1]) if (number := re.search(rf"(\d+) {what}", found.stdout)) else 0 for what in ("passed", "failed")
    )
    return passed, passed + failed


def topology_restore(folder: Path) -> int:
    """Arrays that differ after a state has moved over other meshes and back to the host."""
    create = builder.experiment(load_config(folder / "train_1")).create_state
    directories = [folder / "train_1" / "checkpoints", *(folder / f"on_{count}" for count in (8, 1, 4))]
    for source, target, count in zip(directories, directories[1:], (8, 1, 4), strict=False):
        mesh = make_mesh(0, jax.devices()[:count])
        with Checkpoints(source) as there, Checkpoints(target) as here:
            found = there.restore(abstract_state(create, mesh), STEPS)
            here.save(found.state, found.data)
            here.wait()
    contents = []
    for directory in (directories[0], directories[-1]):
        with Checkpoints(directory) as checkpoints:
            contents.append(checkpoints.read(STEPS).arrays)
    return len(differing(*contents))


def measure(folder: Path, *, quick: bool) -> list[Claim]:
    """All claims; runs lie in `folder`."""
    config = write_config(folder)
    say("training what the others use ...")
    Job(folder, arguments_of("train", config, folder / "trained"), 1).done()
    each = 1 if quick else 7
    kills = Kills(folder, config, seed=0)
    for verb in VERBS:
        for processes in (1, 2):
            kills.of(verb, processes, each)
    damages = dict(list(DAMAGES.items())[:2]) if quick else DAMAGES
    wanted = each * 2 * len(VERBS)
    deaths = max(peer_seconds(folder, config, victim, signal.SIGKILL) for victim in (0, 1))
    frozen = peer_seconds(folder, config, 1, signal.SIGSTOP)
    supervised, rows = supervisor_rows()
    absent, hung = absent_peer_seconds(folder, config), hung_step_seconds(folder, config)
    transient = transient_survived(folder, config)
    second, curves = no_second_writer(folder, config), lost_curves(folder, config)
    return [
        Claim("kills_survived", kills.survived, "kills", wanted, ">=", f"of {wanted}: the same bits in the end"),
        Claim("steps_lost", kills.steps_lost, "steps", 0, "<=", "behind the newest checkpoint on disk"),
        Claim(
            "corruptions_survived",
            corruptions_survived(folder, config, damages),
            "",
            len(damages),
            ">=",
            "kinds of damage to the newest checkpoint: found, passed over, the same bits in the end",
        ),
        Claim("sigterm_seconds", sigterm_seconds(folder, config), "s", 10, "<=", "notice to end, 1 and 2 processes"),
        Claim("peer_death_seconds", deaths, "s", 40, "<=", "kill -9 of one of two to the end of the other"),
        Claim("frozen_peer_seconds", frozen, "s", 45, "<=", "one of two stands still; to the end of the other"),
        Claim("absent_peer_seconds", absent, "s", 30, "<=", "beyond the 10 s it was told, with its start"),
        Claim("hung_step_seconds", hung, "s", 20, "<=", "beyond what a step may take: stacks, exit code 75"),
        Claim("transient_survived", transient, "kinds", len(KINDS), ">=", "failures that pass: the same bits"),
        Claim("no_second_writer", second, "", 1, ">=", "refused, the first not disturbed"),
        Claim("lost_curves", curves, "steps", 0, "<=", "of the curve, after the machine is gone"),
        Claim("supervisor_rows", supervised, "rows", rows, ">=", "of a cloud that fails the script that keeps a slice"),
        Claim("topology_restore", topology_restore(folder), "arrays", 0, "<=", "that differ: 8 -> 1 -> 4 -> NumPy"),
    ]


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    parser.add_argument("--quick", action="store_true", help="one kill of each kind, two damages")
    parser.add_argument("--folder", type=Path, help="where the runs lie; by default a folder that is removed")
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.folder or Path(temporary)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        claims = measure(folder, quick=options.quick)
    return emit("faults", claims, began, as_json=options.json)


if __name__ == "__main__":
    sys.exit(main())
