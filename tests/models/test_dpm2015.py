"""The networks of 2015: which level a readout is of, shapes and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.data.toys import heartbeat, swiss_roll
from score_jax.errors import InputError
from score_jax.models.blocks.multiscale import MultiScaleConvolution, MultiScaleNetwork
from score_jax.models.unets import dpm2015


def random_params(module, *inputs, scale=0.3):
    """Parameters without zeros, so that nothing is hidden by a zero readout."""
    params = module.init(jax.random.key(0), *inputs)
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    return tree.unflatten([p + scale * jax.random.normal(k, p.shape) for p, k in zip(leaves, keys, strict=True)])


def test_bumps_sum_to_one_and_peak_at_their_centres():
    g = dpm2015.temporal_bumps(jnp.arange(100.0), 100, 12)
    np.testing.assert_allclose(g.sum(axis=1), 1.0, rtol=1e-5)
    assert (g > 0).all()
    np.testing.assert_array_equal(np.argmax(g, axis=1)[np.array([0, 27, 99])], [0, 3, 11])
    centre = dpm2015.temporal_bumps(jnp.array([45.0]), 100, 12)[0]  # the sixth of 12 centres, 9 apart
    np.testing.assert_allclose(centre[6] / centre[5], np.exp(-0.5), rtol=1e-4)
    narrow = dpm2015.temporal_bumps(jnp.array([45.0]), 100, 12, width=0.5)[0]
    np.testing.assert_allclose(narrow[6] / narrow[5], np.exp(-2.0), rtol=1e-4)


@pytest.mark.parametrize(
    ("network", "dim"), [(dpm2015.NormalisedRBF(10, 8), 2), (dpm2015.BitMLP(10, (7, 7), 4), 5)], ids=["rbf", "bits"]
)
def test_rows_of_many_points_are_the_points_one_by_one(network, dim):
    x, t = jax.random.normal(jax.random.key(0), (9, 4, dim)), jnp.arange(1.0, 10)
    params = random_params(network, x[:, 0], t)
    rows = jnp.stack(jax.tree.leaves(network.apply(params, x, t)))
    single = jnp.stack(jax.tree.leaves(network.apply(params, x.reshape(36, dim), jnp.repeat(t, 4))))
    np.testing.assert_allclose(rows.reshape(single.shape), single, rtol=1e-4, atol=1e-5)


def test_the_rbf_is_normalised_and_its_readouts_are_the_levels_own():
    network = dpm2015.NormalisedRBF(10, 8)
    x, t = jax.random.normal(jax.random.key(0), (9, 2)), jnp.arange(1.0, 10)
    params = network.init(jax.random.key(1), x, t)
    marked = params["params"] | {"kernel": jnp.ones((9, 8, 4)) * jnp.arange(1.0, 10)[:, None, None]}
    z, s = network.apply({"params": marked}, x, t)
    # Equal weights: the basis functions sum to one, so what is left is the number of the level.
    np.testing.assert_allclose(jnp.stack([z, s]), np.broadcast_to(np.arange(1.0, 10)[:, None], (2, 9, 2)), rtol=1e-5)


def test_one_scale_is_a_convolution_and_a_coarse_one_sees_blocks():
    x = jax.random.normal(jax.random.key(0), (2, 8, 8, 1))
    one = MultiScaleConvolution(3, 1, activation=lambda h: h)
    params = one.init(jax.random.key(1), x)
    kernel = params["params"]["scale_0"]["kernel"]
    direct = jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    np.testing.assert_allclose(one.apply(params, x), direct, atol=1e-5)
    three = MultiScaleConvolution(3, 3, activation=lambda h: h)
    params = three.init(jax.random.key(1), x)
    coarse = jax.tree.map(jnp.zeros_like, params)
    coarse["params"]["scale_2"] = params["params"]["scale_2"]
    out = three.apply(coarse, x)
    np.testing.assert_allclose(out, jnp.repeat(jnp.repeat(out[:, ::4, ::4], 4, 1), 4, 2), atol=1e-6)
    assert not jnp.allclose(out[:, 0, 0], out[:, 4, 0])


@pytest.mark.parametrize(
    "sizes",
    [{"features": (4, 4)}, {"features": (), "dense": (6,)}, {"features": (4,), "dense": (6,)}],
    ids=["textures", "mnist", "cifar10"],
)
def test_the_image_network_has_its_paths(sizes):
    network = MultiScaleNetwork(20, upper=(5,), scales=2, bumps=3, **sizes)
    x, t = jax.random.normal(jax.random.key(0), (2, 8, 8, 3)), jnp.array([1.0, 19.0])
    params = network.init(jax.random.key(1), x, t)
    z, s = network.apply(params, x, t)
    assert z.shape == s.shape == x.shape
    assert (z == 0).all() and (s == 0).all()
    params = random_params(network, x, t)
    gradient = jax.grad(lambda p: sum(jnp.sum(o**2) for o in network.apply(p, x, t)))(params)
    assert all((jnp.abs(g) > 0).any() for g in jax.tree.leaves(gradient))
    # Below the readout nothing knows the time: at one level the output of the bump's weights alone differs.
    same, other = network.apply(params, x, jnp.zeros(2)), network.apply(params, x, jnp.full(2, 19.0))
    assert not jnp.allclose(same[0], other[0])


def test_a_size_that_does_not_halve_is_refused():
    network = MultiScaleNetwork(20, features=(4,), scales=3)
    with pytest.raises(InputError, match="multiple of 4, not 6 x 8"):
        network.init(jax.random.key(0), jnp.zeros((1, 6, 8, 1)), jnp.ones(1))


def test_the_toy_data_are_as_the_paper_has_them():
    x = swiss_roll(jax.random.key(0), 200_000)
    np.testing.assert_allclose(x.mean(axis=0), 0.0, atol=0.01)
    np.testing.assert_allclose((x**2).mean(), 1.0, atol=0.01)
    beats = heartbeat(jax.random.key(0), 5000)
    assert beats.shape == (5000, 20) and (beats.sum(axis=1) == 4).all()
    np.testing.assert_array_equal(beats[:, :-5], beats[:, 5:])
    np.testing.assert_allclose(beats.mean(axis=0), 0.2, atol=0.03)
