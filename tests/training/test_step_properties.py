"""What must not change a step, and what it must not hold: parts, recomputing, splitting, and constants."""

import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sections import loss_of

from score_jax import builder
from score_jax.configs import base
from score_jax.jobs.train import compiled_step, compiled_steps, fresh_state
from score_jax.planning.hlo import collective_bytes
from score_jax.runtime.sharding import make_mesh, over_batch, sharded_by_size
from score_jax.training.checkpoint import abstract_state
from score_jax.training.objective import Group, per_example
from score_jax.training.state import create_state
from score_jax.training.step import make_train_step


def config_of(channels=8, **network):
    config = base.get_config()
    config.data.update(name="dead_leaves", image_size=8, channels=1)
    config.network.update(
        channels=channels, channel_mult=(1, 2), num_res_blocks=1, attention_resolutions=(4,), dropout=0.0, **network
    )
    config.optimizer.update(learning_rate=1e-3, warmup_steps=0)
    config.training.update(batch_size=16)
    return config


def batch(seed=0, b=16):
    rng = np.random.default_rng(seed)
    images = jnp.asarray(rng.integers(0, 256, (b, 8, 8, 1), dtype=np.uint8))
    return {"image": images, "label": jnp.zeros(b, jnp.int32), "index": jnp.arange(b, dtype=jnp.int32)}


@pytest.mark.slow
def test_parts_of_a_batch_have_the_gradient_of_the_whole():
    """Of a network: plain descent at rate 1 shows the gradient itself."""
    experiment = builder.experiment(config_of())
    loss = loss_of(experiment.config, experiment.process, experiment.network, experiment.predict)
    tx = optax.sgd(1.0)
    groups = {"model": Group(experiment.network.init, tx, loss, ema_decay=0.9, ema_warmup=False)}
    state = create_state(groups, jax.random.key(0))
    found = {}
    for parts in (1, 4):
        step = jax.jit(make_train_step(groups, accumulate=parts))
        found[parts] = step(state, batch())
    whole, parted = (jax.tree.leaves(found[parts][0].params) for parts in (1, 4))
    before = jax.tree.leaves(state.params)
    gradient = max(float(jnp.abs(a - b).max()) for a, b in zip(whole, before, strict=True))
    difference = max(float(jnp.abs(a - b).max()) for a, b in zip(whole, parted, strict=True))
    assert gradient > 0.01 and difference <= 1e-6 * max(1.0, gradient)
    np.testing.assert_allclose(found[4][1]["loss"], found[1][1]["loss"], rtol=1e-6)


@pytest.mark.slow
def test_recomputing_blocks_changes_nothing_over_twenty_steps():
    curves = {}
    for remat in ((), ("residual", "attention")):
        experiment = builder.experiment(config_of(remat=remat))
        state, step = experiment.create_state(), jax.jit(experiment.train_step)
        curves[remat] = []
        for i in range(20):
            state, metrics = step(state, batch(i))
            curves[remat].append(float(metrics["loss"]))
    plain, recomputed = curves.values()
    np.testing.assert_allclose(recomputed, plain, rtol=1e-5)
    assert len(set(plain)) == 20


def dense():
    """Three layers of 256 x 256, under the train step and Adam."""
    tx = optax.adam(1e-3)

    def init(key):
        return {f"w{i}": jax.random.normal(key, (256, 256)) / 16 for i in range(3)}

    def values(params, batch, times, keys, dropout_key):
        x = batch["image"]
        for w in params.values():
            x = jnp.tanh(x @ w)
        return jnp.mean(x**2, axis=1)

    groups = {"model": Group(init, tx, per_example(values), ema_decay=0.9, ema_warmup=False)}
    return lambda: create_state(groups, jax.random.key(0)), make_train_step(groups)


def test_memory_of_the_state_falls_with_the_devices_that_share_it():
    create, step = dense()
    needed = {}
    for group in (1, 2, 4, 8):
        mesh = make_mesh(fsdp=group)
        places = sharded_by_size(jax.eval_shape(create), mesh)
        images = jax.ShapeDtypeStruct((8, 256), jnp.float32, sharding=over_batch(mesh))
        jitted = jax.jit(step, donate_argnums=0, out_shardings=(places, None))
        compiled = jitted.lower(abstract_state(create, mesh), {"image": images}).compile()
        needed[group] = compiled.memory_analysis().argument_size_in_bytes
    for group in (2, 4, 8):
        assert needed[group] * group == pytest.approx(needed[1], rel=0.02)


@pytest.mark.slow
def test_two_steps_in_one_program_are_two_steps():
    experiment, mesh = builder.experiment(config_of()), make_mesh(fsdp=2)
    batches = [jax.device_put(batch(seed), over_batch(mesh)) for seed in (0, 1)]
    step, one = compiled_step(experiment, mesh), fresh_state(experiment, mesh)
    losses = []
    for each in batches:
        one, metrics = step(one, each)
        losses.append(metrics["loss"])
    two, metrics = compiled_steps(experiment, mesh)(fresh_state(experiment, mesh), tuple(batches))
    np.testing.assert_allclose(metrics["loss"], losses, rtol=1e-6)
    for ours, theirs in zip(jax.tree.leaves(two), jax.tree.leaves(one), strict=True):
        assert ours.sharding == theirs.sharding
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)  # of steps of 1e-3


@pytest.mark.slow
def test_of_split_parameters_the_weights_alone_travel():
    """Each is gathered once a step, and its gradient summed; no activation crosses between devices."""
    experiment, mesh = builder.experiment(config_of(channels=32)), make_mesh(fsdp=8)
    parameters = 4 * sum(leaf.size for leaf in jax.tree.leaves(experiment.network.shapes()))
    state = abstract_state(experiment.create_state, mesh)
    images = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=over_batch(mesh)), batch(b=64))
    two_steps = compiled_steps(experiment, mesh).lower(state, (images, images)).compile()
    moved = collective_bytes(two_steps.as_text())  # their loop is counted once
    assert moved.keys() == {"all-gather", "all-reduce"}
    assert 0.5 * parameters < moved["all-gather"] <= parameters
    assert moved["all-reduce"] <= 1.05 * parameters


_CONSTANT = re.compile(r'dense<"0x([0-9A-Fa-f]*)"|tensor<((?:\d+x)+)([a-z]+)(\d+)> \{[^}]*jax\.const')


def largest_constant(lowered):
    """Bytes of the largest constant of a lowered program: written out in it, or handed to it as a hidden argument."""
    sizes = [0]
    for written, shape, _, bits in _CONSTANT.findall(lowered.as_text()):
        sizes.append(len(written) // 2 if written else math.prod(map(int, shape.split("x")[:-1])) * int(bits) // 8)
    return max(sizes)


def test_parameters_are_no_constants_of_the_step():
    experiment, mesh = builder.experiment(config_of(channels=128)), make_mesh()
    count = sum(leaf.size for leaf in jax.tree.leaves(experiment.network.shapes()))
    assert 4 * count > 4 * 2**20
    state = abstract_state(experiment.create_state, mesh)
    assert largest_constant(compiled_step(experiment, mesh).lower(state, batch())) <= 2**20


def test_a_large_constant_would_be_seen():
    held = jnp.asarray(np.random.default_rng(0).normal(size=(512, 513)).astype(np.float32))
    assert largest_constant(jax.jit(lambda x: x @ held).lower(jnp.ones((2, 512)))) >= held.size * 4
