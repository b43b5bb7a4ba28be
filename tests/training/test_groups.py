"""Several groups in one train step: an adversarial pair is trained, stopped, split and resumed like one network."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import adversarial
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.errors import InputError
from score_jax.runtime.sharding import make_mesh
from score_jax.training.checkpoint import Checkpoints, abstract_state
from score_jax.training.step import make_train_step
from tiny import environment


def leaves(state):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(state)]


def assert_same(state, other, atol=0.0):
    for ours, theirs in zip(leaves(state), leaves(other), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=atol)


def one_device():
    return make_mesh(devices=jax.devices()[:1])


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Ten steps in one go."""
    folder = tmp_path_factory.mktemp("whole")
    return adversarial.train(folder, 10, mesh=one_device()), folder


@pytest.mark.slow
def test_the_generator_goes_to_the_data(tmp_path):
    state = adversarial.train(tmp_path, 150, mesh=one_device(), per_dispatch=1)
    before = jnp.linalg.norm(adversarial.MEAN)
    assert jnp.linalg.norm(state.ema_params["generator"]["shift"] - adversarial.MEAN) < 0.5 * before
    np.testing.assert_allclose(state.statistics["mean"], adversarial.MEAN, atol=0.3)


def test_each_group_is_its_own_in_the_state_and_the_log(whole):
    state, folder = whole
    for field in ("params", "ema_params", "opt_state", "history"):
        assert set(getattr(state, field)) == {"generator", "critic"}
    rows = [json.loads(line) for line in (folder / "loss.jsonl").read_text().splitlines()]
    names = {f"{what}_{group}" for what in ("loss", "grad_norm") for group in ("generator", "critic")}
    assert len(rows) == 10 and names | {"fake_generator", "real_critic"} <= set(rows[-1])


def test_a_run_that_was_stopped_goes_on_to_the_bit(whole, tmp_path):
    adversarial.train(tmp_path, 4, mesh=one_device())
    assert_same(adversarial.train(tmp_path, 10, mesh=one_device()), whole[0])


def test_two_steps_in_one_program_are_two_steps(whole, tmp_path):
    # A loop's body is compiled by itself: rounding.
    assert_same(adversarial.train(tmp_path, 10, mesh=one_device(), per_dispatch=3), whole[0], atol=1e-5)


@pytest.mark.parametrize("fsdp", [1, 8])
def test_devices_change_nothing_but_rounding(whole, tmp_path, fsdp):
    mesh = make_mesh(fsdp)
    state = adversarial.train(tmp_path, 10, mesh=mesh)
    assert_same(state, whole[0], atol=1e-4)
    layer = state.params["critic"]["layer"]
    assert layer.addressable_shards[0].data.size * fsdp == layer.size


def test_parts_of_a_batch_give_the_step_of_the_whole():
    batch, state = adversarial.batch_of(0), adversarial.create()
    found = [
        jax.jit(make_train_step(adversarial.pair(), accumulate=parts))(state, batch, adversarial.frozen())
        for parts in (1, 4)
    ]
    for name in ("generator", "critic"):
        for what in ("loss", "grad_norm"):
            np.testing.assert_allclose(*(metrics[f"{what}_{name}"] for _, metrics in found), rtol=1e-5)
    assert_same(found[0][0].params["generator"], found[1][0].params["generator"], atol=1e-6)
    # The statistics see each part in turn.
    assert not np.allclose(*(state.statistics["mean"] for state, _ in found))


def test_a_step_that_is_not_finite_leaves_every_group_as_it_was(tmp_path):
    skipping = adversarial.train(tmp_path, 5, mesh=one_device(), poisoned=(4,), skip_nonfinite=True)
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        before = checkpoints.restore(abstract_state(adversarial.create, one_device()), 3).state
    fourth = adversarial.train(tmp_path / "again", 4, mesh=one_device(), skip_nonfinite=True)
    for field in ("params", "ema_params", "opt_state", "statistics"):
        assert_same(getattr(skipping, field), getattr(fourth, field))
    assert int(skipping.step) == 5 and int(before.step) == 3
    with pytest.raises(InputError, match="diverged at step 5"):
        adversarial.train(tmp_path / "stops", 5, mesh=one_device(), poisoned=(4,))


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_bit(tmp_path):
    here = Path(adversarial.__file__)
    settings = environment(devices=1) | {"PYTHONPATH": os.pathsep.join([str(here.parents[2]), str(here.parent)])}
    command = [sys.executable, str(here), str(tmp_path), "100000"]
    process = subprocess.Popen(command, env=settings, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    saved, deadline = tmp_path / "checkpoints", time.monotonic() + 120
    while time.monotonic() < deadline and not any(path.name.isdigit() for path in saved.glob("*")):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        reached = checkpoints.latest
    assert reached
    steps = reached + 2
    fresh = adversarial.train(tmp_path / "fresh", steps, mesh=one_device())
    assert_same(adversarial.train(tmp_path, steps, mesh=one_device()), fresh)


def test_frozen_parameters_are_arguments_and_get_no_gradient():
    step = jax.jit(make_train_step(adversarial.pair()))
    state, batch, frozen = adversarial.create(), adversarial.batch_of(0), adversarial.frozen()
    text = step.lower(state, batch, frozen).as_text()
    constants = [line for line in text.splitlines() if "constant dense<" in line and len(line) > 2000]
    assert not constants
    one, other = (step(state, batch, parameters)[0] for parameters in (frozen, {"features": 2 * frozen["features"]}))
    assert not np.allclose(one.params["critic"]["out"], other.params["critic"]["out"])
    assert step._cache_size() == 1


def test_a_group_sees_those_before_it_already_stepped():
    state, batch, frozen = adversarial.create(), adversarial.batch_of(0), adversarial.frozen()
    groups = adversarial.pair()
    _, metrics = jax.jit(make_train_step(groups))(state, batch, frozen)
    turned = {name: groups[name] for name in ("critic", "generator")}
    _, other = jax.jit(make_train_step(turned))(state, batch, frozen)
    # The critic begins at zero: only one that was stepped first moves the generator.
    assert metrics["grad_norm_generator"] == 0 and other["grad_norm_generator"] > 0


def test_an_objective_of_the_whole_batch_is_not_parted():
    with pytest.raises(InputError, match="accumulate=2, but the objective of generator needs the whole batch at once"):
        make_train_step(adversarial.pair(whole_batch=True), accumulate=2)
    make_train_step(adversarial.pair(whole_batch=True))
