"""Two processes started by launch/local.sh do what one does, and none of them is left waiting for the other."""

import json
import os
import signal
import socket
import subprocess
import time

import numpy as np
import pytest
from processes import finished, in_two_processes, local

from score_jax.runtime.exit_codes import AGAIN, BUG, STOPPED
from score_jax.training.checkpoint import Checkpoints
from score_jax.training.log import read_curve
from tiny import ROOT, TINIEST, command, environment, here, run, write_config

pytestmark = pytest.mark.slow
EVERY = 500
"""Steps between the checkpoints of a run that does not end."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The same training by two processes of one device, and by one process of eight."""
    folder = tmp_path_factory.mktemp("processes")
    config = write_config(folder)
    workdirs = folder / "two", folder / "one"
    for workdir, work in zip(workdirs, (in_two_processes, here), strict=True):
        work("train", f"--config={config}", f"--workdir={workdir}")
    return workdirs


def in_one_process(*arguments):
    """A command by one process of as many devices as two have, to the same bits."""
    assert run(*arguments, devices=2).returncode == 0


def parameters(workdir, step=6):
    with Checkpoints(workdir / "checkpoints") as checkpoints:
        arrays = checkpoints.read(step).arrays
    return {name: array for name, array in arrays.items() if name.startswith("params.")}


def test_two_processes_train_as_one_does(trained):
    two, one = (read_curve(workdir) for workdir in trained)
    np.testing.assert_allclose(list(two.values()), list(one.values()), rtol=1e-5)
    assert list(two) == list(one) == [1, 2, 3, 4, 5, 6]
    ours, theirs = (parameters(workdir) for workdir in trained)
    for name in ours:
        np.testing.assert_allclose(ours[name], theirs[name], atol=1e-5, err_msg=name)


def test_two_processes_sample_and_measure_as_one_does(trained):
    two, one = trained
    results = {}
    for work in (in_two_processes, in_one_process):
        out = two.parent / f"samples_{work.__name__}"
        work("sample", f"--workdir={one}", f"--out={out}")
        work("likelihood", f"--workdir={one}")
        images = np.load(out / "samples.npz")["arr_0"]
        results[work] = images, np.load(one / "likelihood.npz")["bits_per_dim"]
    (images, bits), (ours, own_bits) = results[in_two_processes], results[in_one_process]
    np.testing.assert_array_equal(images, ours)
    np.testing.assert_allclose(bits, own_bits, rtol=1e-5)
    assert not (one / "sample_parts").exists() and not (one / "likelihood_parts").exists()


def free_port():
    with socket.create_server(("localhost", 0)) as server:
        return server.getsockname()[1]


def running(folder, *arguments):
    """A job that has begun to train, and the pids of its processes by number."""
    config = write_config(folder, TINIEST)
    endless = (
        "--config.training.steps=10000000",
        f"--config.training.checkpoint_every={EVERY}",
        "--config.training.log_every=100",
    )
    job = local("train", f"--config={config}", f"--workdir={folder / 'run'}", *endless, *arguments)
    end = time.monotonic() + 200
    while not any(path.name.isdigit() for path in (folder / "run").glob("checkpoints/*")):
        if time.monotonic() >= end:
            job.kill()
        assert job.poll() is None, job.communicate()
        time.sleep(0.05)
    pids = subprocess.run(["pgrep", "-P", str(job.pid), "-f", "score_jax"], capture_output=True, text=True, check=True)
    return job, sorted(map(int, pids.stdout.split()))


@pytest.mark.parametrize("victim", [0, 1])
def test_a_process_that_dies_ends_the_others_with_a_message(tmp_path, victim):
    job, pids = running(tmp_path)
    began = time.monotonic()
    os.kill(pids[victim], signal.SIGKILL)
    output = finished(job, code=137)
    assert time.monotonic() - began < 30
    assert f"process {victim} was ended by signal 9" in output
    assert f"(process {1 - victim} of 2): another process of this job ended" in output


def test_a_notice_to_one_process_makes_all_save_after_the_same_step(tmp_path):
    job, pids = running(tmp_path)
    began = time.monotonic()
    os.kill(pids[1], signal.SIGTERM)
    output = finished(job, code=STOPPED)
    assert time.monotonic() - began < 30
    assert "[0] Training stopped on SIGTERM at step" in output
    step = int(output.rpartition("Checkpoint at step ")[2].split()[0])
    about = json.loads((tmp_path / "run" / "checkpoints" / str(step) / "about" / "metadata").read_text())
    assert step % EVERY and about["fingerprint"]


def test_processes_with_other_configs_stop_before_the_first_step(tmp_path):
    config = write_config(tmp_path)
    text = (
        config.read_text()
        .replace("import base", "import base\nimport os")
        .replace("1e-3", '1e-3 * (1 + int(os.environ["JAX_PROCESS_ID"]))')
    )
    config.write_text(text)
    output = finished(local("train", f"--config={config}", f"--workdir={tmp_path / 'run'}"), code=2)
    assert "config.optimizer.learning_rate is 0.001 on process 0 and 0.002 on process 1" in output
    assert not (tmp_path / "run").exists()


def test_all_end_as_the_one_that_fails(tmp_path):
    config = write_config(tmp_path)
    fails = """
    import os
    if os.environ["JAX_PROCESS_ID"] == "1":
        from score_jax.jobs import train as job

        def fails(*_):
            raise ValueError("no such disk")

        job.open_training = fails
    return config
"""
    config.write_text(config.read_text().replace("    return config\n", fails))
    output = finished(local("train", f"--config={config}", f"--workdir={tmp_path / 'run'}"), code=BUG)
    assert "no such disk" in output and "score_jax (process 0 of 2): process 1 (" in output


def test_what_another_process_warns_of_is_in_the_log_of_the_first(tmp_path):
    config, place = write_config(tmp_path, TINIEST), tmp_path / "bucket"
    warns = """
    import os
    import warnings
    from score_jax.runtime.outages import say_outage
    if os.environ["JAX_PROCESS_ID"] == "1":
        warnings.warn("the disk of this machine is slow")
        say_outage("cannot read gs://bucket/record now")
    return config
"""
    config.write_text(config.read_text().replace("    return config\n", warns))
    words = (f"--config={config}", f"--workdir={tmp_path / 'run'}", f"--config.training.checkpoints={place}")
    output = finished(local("train", *words, "--config.training.steps=2"))
    kept = (place / "log" / "other_processes.log").read_text()
    for text in ("UserWarning: the disk of this machine is slow", "cannot read gs://bucket/record now"):
        (line,) = [line for line in output.splitlines() if line.startswith("[0] ") and text in line]
        assert f"process 1 ({socket.gethostname()}): " in line
        assert any(line.startswith("[1] ") and text in line for line in output.splitlines())
        assert line.removeprefix("[0] ") in kept


def test_a_process_that_never_comes_ends_the_wait(tmp_path):
    one_of_two = {
        "JAX_COORDINATOR_ADDRESS": f"localhost:{free_port()}",
        "JAX_NUM_PROCESSES": "2",
        "JAX_PROCESS_ID": "0",
    }
    found = subprocess.run(
        command("train", f"--config={write_config(tmp_path)}", f"--workdir={tmp_path / 'run'}"),
        env=environment(1) | one_of_two | {"SCORE_JAX_JOIN_SECONDS": "4"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert found.returncode == AGAIN, found.stderr
    assert "waited 4 s for 2 processes of this job, started by jax" in found.stderr and "1 connected" in found.stderr
