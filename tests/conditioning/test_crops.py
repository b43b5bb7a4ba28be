"""Squares of images at random places; those of a condition show the same place."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.conditioning.crops import random_squares
from score_jax.errors import InputError

KEYS = jax.random.split(jax.random.key(0), 256)
PLACES = jnp.stack(jnp.meshgrid(jnp.arange(16.0), jnp.arange(16.0), indexing="ij"), axis=-1)
X0 = jnp.broadcast_to(PLACES, (256, 16, 16, 2))
LOW = X0.reshape(256, 8, 2, 8, 2, 2).mean(axis=(2, 4))


def test_a_square_and_its_condition_show_the_same_place():
    label = jnp.arange(256)
    x0, given = random_squares(KEYS, X0, {"low_res": LOW, "label": label}, 4)
    assert x0.shape == (256, 4, 4, 2) and given["low_res"].shape == (256, 2, 2, 2)
    np.testing.assert_array_equal(given["low_res"], x0.reshape(256, 2, 2, 2, 2, 2).mean(axis=(2, 4)))
    np.testing.assert_array_equal(given["label"], label)
    np.testing.assert_array_equal(x0 - x0[:, :1, :1], X0[:, :4, :4])


def test_places_are_all_that_fit_a_pixel_of_the_condition():
    x0, _ = random_squares(KEYS, X0, {"low_res": LOW}, 4)
    for axis in (0, 1):
        assert set(np.asarray(x0[:, 0, 0, axis])) == set(range(0, 14, 2))
    assert len({tuple(corner) for corner in np.asarray(x0[:, 0, 0])}) > 40  # rows and columns are drawn apart


def test_a_square_of_the_whole_size_is_the_image():
    x0, given = random_squares(KEYS, X0, {"low_res": LOW}, 16)
    np.testing.assert_array_equal(x0, X0)
    np.testing.assert_array_equal(given["low_res"], LOW)


def test_a_size_that_splits_a_pixel_of_the_condition_is_one_line():
    with pytest.raises(InputError, match="loss.crop=5 does not split into 2 x 2 pixels"):
        random_squares(KEYS, X0, {"low_res": LOW}, 5)
    assert random_squares(KEYS, X0, {"label": jnp.arange(256)}, 5)[0].shape == (256, 5, 5, 2)
