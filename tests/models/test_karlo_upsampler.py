"""Karlo's upsampler: which of its two networks answers, and what they see of the small image."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.errors import InputError
from score_jax.models.unets.karlo_upsampler import KarloUpsampler, unet_of

NETWORK = KarloUpsampler(channels=8, channel_mult=(1, 2), num_res_blocks=1, norm_groups=4)


@pytest.fixture(scope="module")
def params():
    """Random parameters, those that begin at zero too."""
    x = jnp.zeros((1, 8, 8, 3))
    shapes = jax.eval_shape(NETWORK.init, jax.random.key(0), x, jnp.zeros(1), low_res=x)["params"]
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(0, 0.2, leaf.shape), jnp.float32), shapes)


def inputs():
    rng = np.random.default_rng(1)
    return jnp.asarray(rng.normal(size=(2, 8, 8, 3)), jnp.float32), jnp.asarray(rng.uniform(-1, 1, (2, 4, 4, 3)), "f4")


@pytest.mark.parametrize(("label", "name"), [(0.0, "last_step"), (166.0, "first_steps"), (999.0, "first_steps")])
def test_the_last_step_has_a_network_of_its_own(params, label, name):
    x, low_res = inputs()
    label = jnp.full(2, label)
    found = jax.jit(NETWORK.apply)({"params": params}, x, label, low_res=low_res)
    alone = unet_of(NETWORK).apply({"params": params[name]}, x, label, low_res=low_res)
    np.testing.assert_allclose(found, alone, rtol=1e-5, atol=1e-6)
    other = {"last_step": "first_steps", "first_steps": "last_step"}[name]
    assert np.abs(found - unet_of(NETWORK).apply({"params": params[other]}, x, label, low_res=low_res)).max() > 0.1


def test_a_batch_of_several_levels_is_for_the_first_network(params):
    x, low_res = inputs()
    label = jnp.array([0.0, 166.0])
    found = NETWORK.apply({"params": params}, x, label, low_res=low_res)
    alone = unet_of(NETWORK).apply({"params": params["first_steps"]}, x, label, low_res=low_res)
    np.testing.assert_allclose(found, alone, rtol=1e-5, atol=1e-6)


def keys(distance):
    """Keys' cubic kernel with a = -1/2 (Keys 1981, equation 15), which Pillow's bicubic filter is."""
    d = np.abs(distance)
    near, far = 1.5 * d**3 - 2.5 * d**2 + 1, -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2
    return np.where(d < 1, near, np.where(d < 2, far, 0.0))


def enlarging(size, large):
    """The matrix (large, size) of the filter, whose weights of pixels that there are sum to 1."""
    places = (np.arange(large) + 0.5) * size / large - 0.5
    weights = keys(places[:, None] - np.arange(size)[None])
    return weights / weights.sum(axis=1, keepdims=True)


def test_the_small_image_is_clipped_and_enlarged_by_a_cubic_filter():
    """A network that is given the enlarged image says the same, because one of its own size is left as it is."""
    x, low_res = inputs()
    low_res = 1.5 * low_res
    network = unet_of(NETWORK)
    shapes = jax.eval_shape(network.init, jax.random.key(0), x, jnp.zeros(2), low_res=x)["params"]
    rng = np.random.default_rng(0)
    params = {"params": jax.tree.map(lambda leaf: jnp.asarray(rng.normal(0, 0.2, leaf.shape), "f4"), shapes)}
    matrix = enlarging(4, 8)
    large = np.einsum("ph,bhwc,qw->bpqc", matrix, np.clip(low_res, -1, 1), matrix)
    # Within [-1, 1] beside overshoots, which a network that clips what it is given would lose.
    plain = network.clone(low_res_filter="linear")
    expected = plain.apply(params, x, jnp.zeros(2), low_res=jnp.asarray(large, jnp.float32))
    np.testing.assert_allclose(network.apply(params, x, jnp.zeros(2), low_res=low_res), expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(InputError, match=r"low_res_filter 'lanczos'. Known: cubic, linear"):
        network.clone(low_res_filter="lanczos").apply(params, x, jnp.zeros(2), low_res=low_res)
