"""Images made small at random."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.codecs.pixels import Pixels
from score_jax.conditioning.conditioners import low_resolution
from score_jax.data.degradations import bsrgan_light
from score_jax.data.loader import make_loader
from score_jax.data.rows import ArrayRows
from score_jax.data.sources import Source
from score_jax.errors import InputError

ROWS, COLUMNS = np.mgrid[:64, :64] / 63
WAVE = 0.5 + 0.1 * np.sin(4 * ROWS)
IMAGE = np.round(255 * np.stack([0.2 + 0.3 * ROWS, 0.8 - 0.3 * COLUMNS, WAVE], axis=-1)).astype(np.uint8)
"""Smooth, so that what is small is near the means of squares."""


def means(image, size):
    side = len(image) // size
    return image.reshape(size, side, size, side, -1).mean(axis=(1, 3))


@pytest.mark.parametrize("size", [16, 32])
@pytest.mark.parametrize("channels", [1, 3])
def test_small_images_are_near_the_means_of_squares_and_not_the_same(size, channels):
    image, found = IMAGE[..., :channels], []
    for seed in range(40):
        small = bsrgan_light(np.random.default_rng(seed), image, size)
        assert small.shape == (size, size, channels) and small.dtype == np.uint8
        found.append(small.astype(float) - means(image, size))
    errors = np.abs(found).mean(axis=(1, 2, 3))
    assert 0.5 < np.median(errors) < 4 and errors.max() < 10 and len(set(errors)) > 35
    moved = np.mean(found, axis=0)[3:-3, 3:-3]  # blurs bend what is at an edge
    assert np.abs(moved).mean() < 0.7
    again = bsrgan_light(np.random.default_rng(7), image, size)
    np.testing.assert_array_equal(again - means(image, size), found[7])


def test_sides_of_another_factor_are_refused():
    with pytest.raises(InputError, match="data.low_resolution=24 does not divide the image size 64"):
        bsrgan_light(np.random.default_rng(0), IMAGE, 24)


def test_the_loader_adds_them_and_conditioners_take_them():
    source = Source("images", ArrayRows(np.stack([IMAGE] * 4)), lambda image, name: image)
    loader = make_loader(
        source,
        batch_size=2,
        seed=0,
        flip=False,
        process_index=0,
        process_count=1,
        degrade=functools.partial(bsrgan_light, size=16),
    )
    batch, codec = {name: jnp.asarray(array) for name, array in next(loader).items()}, Pixels()
    assert batch["low_res"].shape == (2, 16, 16, 3) and not np.array_equal(*batch["low_res"])
    condition = low_resolution(16, "bsrgan_light")
    np.testing.assert_allclose(condition(batch, None, codec, {}), batch["low_res"] / 127.5 - 1, atol=1e-6)
    with pytest.raises(InputError, match="data.degradation=bsrgan_light makes images small at random, in training"):
        condition({"image": batch["image"]}, codec.encode(batch["image"]), codec, {})
