"""The DDPM UNet's own promises; that it equals the original is for the parity files."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.models.unets.ddpm import DDPM
from score_jax.processes.levels import NoiseLevels

# 64 channels: with one channel to a group of 32, the norm would take the label out again.
TINY = dict(channels=64, channel_mult=(1, 1), num_res_blocks=1, attention_resolutions=(8,), dropout=0.1)
X, LABEL = jax.random.normal(jax.random.key(0), (2, 8, 8, 3)), jnp.array([0.0, 900.0])


def randomised(net, *inputs):
    """Parameters without the zeros of the initialisation, which would hide whatever is behind them."""
    params = net.init(jax.random.key(0), *inputs)["params"]
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    noisy = [leaf + 0.1 * jax.random.normal(key, leaf.shape) for leaf, key in zip(leaves, keys, strict=True)]
    return jax.tree.unflatten(tree, noisy)


@pytest.mark.slow
def test_starts_as_zero():
    net = DDPM(**TINY)
    y = net.apply(net.init(jax.random.key(0), X, LABEL), X, LABEL)
    assert y.shape == X.shape and np.abs(y).max() < 1e-3


@pytest.mark.slow
def test_the_label_reaches_a_conditional_network_only():
    for conditional in (True, False):
        net = DDPM(**TINY, conditional=conditional)
        params = randomised(net, X, LABEL)
        moved = net.apply({"params": params}, X, LABEL + 50.0) - net.apply({"params": params}, X, LABEL)
        assert (np.abs(moved).max() > 1e-3) == conditional


def test_attention_follows_every_block_or_the_last():
    every, last = (
        jax.eval_shape(DDPM(**TINY, attend_every_up_block=each).init, jax.random.key(0), X, LABEL)["params"]
        for each in (True, False)
    )
    assert set(every) - set(last) == {"up_0_attention_0"}


def test_output_is_divided_by_the_level():
    levels = NoiseLevels(50.0, 0.01, 1000)
    plain, scaled = (DDPM(**TINY, levels=levels, scale_by_sigma=scale) for scale in (False, True))
    params = randomised(plain, X, LABEL)
    ratio = plain.apply({"params": params}, X, LABEL) / scaled.apply({"params": params}, X, LABEL)
    np.testing.assert_allclose(ratio[:, 0, 0, 0], levels.sigmas[[0, 900]], rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kinds", [("residual",), ("attention",), ("residual", "attention")])
def test_recomputed_blocks_have_the_same_gradient(kinds):
    plain, recomputed = DDPM(**TINY), DDPM(**TINY, remat=kinds)
    params = randomised(plain, X, LABEL)

    def gradient(net):
        loss = jax.jit(
            jax.grad(lambda p: (net.apply({"params": p}, X, LABEL, train=True, rngs={"dropout": KEY}) ** 2).sum())
        )
        return loss(params), jax.make_jaxpr(loss)(params)

    KEY = jax.random.key(3)
    (ours, jaxpr), (theirs, plain_jaxpr) = gradient(recomputed), gradient(plain)
    assert "remat" in str(jaxpr) or "checkpoint" in str(jaxpr)
    assert "remat" not in str(plain_jaxpr) and "checkpoint" not in str(plain_jaxpr)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-3, atol=1e-3), ours, theirs)
