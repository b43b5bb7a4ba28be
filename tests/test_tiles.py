"""Functions of images in overlapping tiles."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.errors import InputError
from score_jax.tiles import check_tiles, in_tiles, starts


@pytest.mark.parametrize(("length", "tile", "overlap"), [(8, 8, 2), (7, 8, 2), (9, 8, 2), (20, 8, 3), (64, 16, 4)])
def test_tiles_reach_from_end_to_end(length, tile, overlap):
    found = starts(length, tile, overlap)
    assert found[0] == 0 and found[-1] == max(0, length - tile)
    assert all(0 < b - a <= tile - overlap for a, b in itertools.pairwise(found))
    # One tile less could not do it.
    assert tile + (len(found) - 2) * (tile - overlap) < length or len(found) == 1


@pytest.mark.parametrize("size", [(13, 8), (5, 21), (4, 4)])
def test_a_function_of_each_pixel_does_not_see_the_tiles(size):
    x = jax.random.normal(jax.random.key(0), (2, *size, 3))
    beside = {"map": jax.random.normal(jax.random.key(1), (2, *size, 1)), "rows": jnp.arange(2.0)}

    def function(x, t, others):
        of_rows = (others["rows"] + t)[:, None, None, None]
        return {"sum": x * others["map"] + of_rows, "first": x[..., :1]}

    t = jnp.array([0.5, 2.0])
    whole, tiled = function(x, t, beside), jax.jit(in_tiles(function, 6, 2))(x, t, beside)
    for name in whole:
        np.testing.assert_allclose(tiled[name], whole[name], rtol=1e-5, atol=1e-6)


def test_larger_results_are_put_together():
    def enlarged(x):
        return x.repeat(4, axis=1).repeat(4, axis=2)

    x = jax.random.normal(jax.random.key(0), (1, 11, 10, 2))
    np.testing.assert_allclose(in_tiles(enlarged, 4, 1)(x), enlarged(x), rtol=1e-5)


def test_a_local_function_is_whole_but_for_the_overlaps():
    """What lies deeper in a tile than the function sees, and in one tile alone, is as in the whole image."""

    def blurred(x):
        return jax.lax.conv_general_dilated(
            x, jnp.ones((3, 3, 1, 1)) / 9, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    x = jax.random.normal(jax.random.key(0), (1, 12, 12, 1))
    whole, tiled = blurred(x), in_tiles(blurred, 8, 4)(x)
    np.testing.assert_allclose(tiled[:, :4, :4], whole[:, :4, :4], atol=1e-6)
    assert not np.allclose(tiled[:, 4:8], whole[:, 4:8], atol=1e-3)


def test_steps_between_tiles_are_blended():
    """A value of each tile changes over the overlap by equal steps."""
    x = jnp.arange(12.0)[None, None, :, None] * jnp.ones((1, 8, 1, 1))
    row = np.asarray(in_tiles(lambda x: jnp.zeros_like(x) + x.mean(), 8, 4)(x))[0, 0, :, 0]
    np.testing.assert_allclose(np.diff(row)[3:8], np.diff(row)[3], rtol=1e-4)
    assert row[3] == row[0] and row[8] == row[-1] > row[0]


def test_too_much_overlap_is_one_line():
    with pytest.raises(InputError, match=r"^sampling.overlap=8 is not less than sampling.tile=8: give a smaller"):
        check_tiles("sampling", 8, 8)
    check_tiles("sampling", 0, 8)
