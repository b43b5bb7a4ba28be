"""A run that was killed, stopped or moved ends where an undisturbed one ends."""

import json
import shutil
import signal
import subprocess
import time

import numpy as np
import orbax.checkpoint as ocp
import pytest

from score_jax.training.log import read_curve
from tiny import ROOT, command, environment, here, run, write_config

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    config = write_config(folder)
    assert here("train", f"--config={config}", f"--workdir={folder / 'run'}") == 0
    return config, folder / "run"


def started(*arguments):
    """A command in a process of its own, with as many devices as this one has."""
    return subprocess.Popen(
        command(*arguments), env=environment(8), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def leaves(workdir, step=6):
    import jax

    with ocp.PyTreeCheckpointer() as reader:
        state = reader.restore(workdir / "checkpoints" / str(step) / "state")
    return {jax.tree_util.keystr(path): np.asarray(v) for path, v in jax.tree_util.tree_leaves_with_path(state)}


def assert_bit_identical(a, b):
    first, second = leaves(a), leaves(b)
    assert first.keys() == second.keys() and len(first) > 50
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


def wait_for(condition, process, seconds=240):
    """Waits until the condition holds; a process that hangs is asked where (PYTHONFAULTHANDLER is set for all)."""
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        if time.monotonic() > end:
            process.send_signal(signal.SIGABRT)
            pytest.fail(f"Nothing came of it in {seconds} s: {process.communicate()}")
        time.sleep(0.02)


def test_kill_9_then_resume_is_bit_identical(undisturbed, tmp_path, capsys):
    config, reference = undisturbed
    workdir = tmp_path / "run"
    arguments = ("train", f"--config={config}", f"--workdir={workdir}")
    process = started(*arguments)
    wait_for((workdir / "checkpoints" / "2").exists, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert here(*arguments) == 0
    assert "Resuming at step" in capsys.readouterr().out
    assert_bit_identical(reference, workdir)
    assert read_curve(reference) == read_curve(workdir)


def test_checkpoints_elsewhere_are_of_their_run_alone(undisturbed, tmp_path, capsys):
    """A fresh workdir, as a new machine has it, knows the run by its checkpoints."""
    config, reference = undisturbed
    kept, fresh = tmp_path / "kept", tmp_path / "fresh"
    shutil.copytree(reference / "checkpoints", kept)
    words = ("train", f"--config={config}", f"--workdir={fresh}", f"--config.training.checkpoints={kept}")
    for change, said in (
        ("--config.seed=1", "kept holds a run of another config: seed (42 there, 1 here)"),
        ("--config.optimizer.learning_rate=0.5", "optimizer.learning_rate (0.001 there, 0.5 here)"),
        ("--config.data.train_split=train[:48]", "it has 48 images where there were 64"),
    ):
        assert here(*words, change) == 2
        assert said in capsys.readouterr().err
        assert not (fresh / "config.json").exists()
    assert here(*words) == 0
    said = capsys.readouterr().out
    assert "Resuming at step 6" in said and "does not say" not in said
    assert sorted(path.name for path in kept.iterdir()) == ["2", "4", "6", "log"]


@pytest.mark.parametrize(
    ("number", "code", "cause"), [(signal.SIGTERM, 143, "SIGTERM"), (signal.SIGINT, 130, "Ctrl-C")]
)
def test_sigterm_and_ctrl_c_save(undisturbed, tmp_path, number, code, cause):
    config, reference = undisturbed
    workdir = tmp_path / "run"
    arguments = ("train", f"--config={config}", f"--workdir={workdir}")
    process = started(*arguments, "--config.training.steps=100000", "--config.training.checkpoint_every=100000")
    wait_for(lambda: len(read_curve(workdir)) > 2, process)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert f"stopped on {cause}" in out and "Traceback" not in err
    steps = [int(path.name) for path in (workdir / "checkpoints").iterdir()]
    assert len(steps) == 1 and steps[0] in read_curve(workdir)
    curve = read_curve(workdir)
    for step, loss in read_curve(reference).items():
        assert curve.get(step, loss) == loss


def test_one_device_and_eight_train_and_sample_alike(undisturbed, tmp_path):
    config, reference = undisturbed
    result = run("train", f"--config={config}", f"--workdir={tmp_path / 'run'}", devices=1)
    assert result.returncode == 0, result.stderr
    one, eight = read_curve(tmp_path / "run"), read_curve(reference)
    np.testing.assert_allclose(list(eight.values()), list(one.values()), rtol=1e-5)
    # The checkpoint of eight devices, sampled on one and on eight.
    sampled = run("sample", f"--workdir={reference}", f"--out={tmp_path / 'samples1'}", devices=1)
    assert sampled.returncode == 0, sampled.stderr
    assert here("sample", f"--workdir={reference}", f"--out={tmp_path / 'samples8'}") == 0
    images = [np.load(tmp_path / f"samples{devices}" / "samples.npz")["arr_0"].astype(int) for devices in (1, 8)]
    assert np.abs(images[0] - images[1]).max() <= 1  # levels: a value on an edge may be truncated either way


def test_likelihood_after_kill_9_is_bit_identical(undisturbed, tmp_path):
    _, reference = undisturbed
    workdir = tmp_path / "run"
    shutil.copytree(reference, workdir)
    more = "--config.data.eval_split=test[:80]"  # ten batches
    process = started("likelihood", f"--workdir={workdir}", more)
    wait_for(lambda: len(list(workdir.glob("likelihood_parts/*/0*.npz"))) > 2, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (workdir / "likelihood.json").exists()
    for folder in (workdir, reference):
        assert here("likelihood", f"--workdir={folder}", more) == 0
    with np.load(workdir / "likelihood.npz") as resumed, np.load(reference / "likelihood.npz") as whole:
        assert len(whole["bits_per_dim"]) == 80
        for name in whole:
            np.testing.assert_array_equal(resumed[name], whole[name], err_msg=name)
    assert not (workdir / "likelihood_parts").exists()


def test_likelihood_counts_every_example_once(undisturbed):
    _, reference = undisturbed
    results = []
    for batch_size in (16, 8):
        assert here("likelihood", f"--workdir={reference}", f"--config.likelihood.batch_size={batch_size}") == 0
        summary = json.loads((reference / "likelihood.json").read_text())
        assert summary["count"] == 10
        values = np.load(reference / "likelihood.npz")
        np.testing.assert_array_equal(values["index"], np.arange(10))
        np.testing.assert_allclose(summary["bpd_ode_uniform"], values["bits_per_dim"].mean(), rtol=1e-6)
        results.append(values["bits_per_dim"])
    np.testing.assert_allclose(results[0], results[1], rtol=1e-4)


def test_encode_writes_latents_and_pictures(undisturbed, tmp_path, capsys):
    _, reference = undisturbed
    workdir = tmp_path / "run"
    shutil.copytree(reference, workdir)
    assert here("encode", f"--workdir={workdir}", f"--against={reference}") == 0
    summary = json.loads((workdir / "encode.json").read_text())
    assert summary["count"] == 10
    assert summary["correlation"] > 0.99  # with itself
    assert np.load(workdir / "encode.npz")["latents"].shape == (10, 8, 8, 1)
    assert (workdir / "interpolation.png").stat().st_size > 100
    capsys.readouterr()
    assert here("encode", f"--workdir={workdir}", f"--against={tmp_path / 'nowhere'}") == 2
    assert "No config.json" in capsys.readouterr().err
