"""Inception's blocks at any size; their numbers are in the parity files."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.models.scorers.inception import BlockA, BlockB, BlockC, BlockD, BlockE, FIDInception, Unit


def run(block, channels=6, size=7):
    x = jax.random.normal(jax.random.key(0), (2, size, size, channels))
    variables = jax.jit(block.init)(jax.random.key(1), x)
    return x, variables, jax.jit(block.apply)(variables, x)


BLOCKS = {
    "A": (BlockA(8), 7, 64 + 64 + 96 + 8),
    "B": (BlockB(), 3, 480 + 6),
    "C": (BlockC(4), 7, 768),
    "D": (BlockD(), 3, 512 + 6),
    "E": (BlockE("average"), 7, 2048),
}


@pytest.mark.parametrize(("block", "size", "channels"), BLOCKS.values(), ids=BLOCKS)
def test_shapes(block, size, channels):
    assert run(block)[2].shape == (2, size, size, channels)


def test_pools_differ_in_the_last_block_alone():
    x, variables, average = run(BlockE("average"))
    maximum = BlockE("maximum").apply(variables, x)
    np.testing.assert_allclose(average[..., : 2048 - 192], maximum[..., : 2048 - 192], atol=1e-5)
    assert float(jnp.abs(average - maximum)[..., 2048 - 192 :].max()) > 0.1


def test_a_constant_image_shows_no_edge_where_padding_is_not_counted():
    block = BlockC(4)
    variables = block.init(jax.random.key(1), jnp.ones((1, 9, 9, 3)))
    pooled = block.apply(variables, jnp.ones((1, 9, 9, 3)))[..., -192:]
    np.testing.assert_allclose(pooled, jnp.broadcast_to(pooled[:, :1, :1], pooled.shape), atol=1e-6)


def test_a_unit_folds_its_norm():
    unit = Unit(4, (3, 3))
    variables = unit.init(jax.random.key(0), 5, method="folded")
    params = {name: np.asarray(value) for name, value in variables["params"].items()}
    rng = np.random.default_rng(0)
    params |= {name: rng.uniform(0.5, 2, 4) for name in ("scale", "bias", "mean", "var")}
    kernel, bias = unit.apply({"params": params}, 5, method="folded")
    y = rng.normal(size=(10, 4))  # any output of the convolution alone
    expected = (y - params["mean"]) / np.sqrt(params["var"] + 1e-3) * params["scale"] + params["bias"]
    factor = np.asarray(kernel)[0, 0, 0] / params["kernel"][0, 0, 0]
    np.testing.assert_allclose(y * factor + np.asarray(bias), expected, rtol=1e-5)


def test_the_whole_has_the_published_size():
    shapes = jax.eval_shape(FIDInception().init, jax.random.key(0), jax.ShapeDtypeStruct((1, 299, 299, 3), jnp.float32))
    count = sum(leaf.size for leaf in jax.tree.leaves(shapes["params"]))
    assert count == 23_885_392
    layers = jax.eval_shape(FIDInception().apply, shapes, jax.ShapeDtypeStruct((2, 299, 299, 3), jnp.float32))
    assert layers["pool3"].shape == (2, 2048) and layers["spatial"].shape == (2, 17, 17, 7)
    sizes = {"Conv2d_4a_3x3": 71, "Mixed_5d": 35, "Mixed_6e": 17, "Mixed_7c": 8}
    assert {name: layers[name].shape[1] for name in sizes} == sizes
