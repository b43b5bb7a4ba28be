"""Resizes against Pillow, closed forms and each other; the evaluators' own numbers are in the parity files."""

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image as PILImage

from score_jax.data.images import FILTERS
from score_jax.evaluation import resize

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (1, 9, 14, 3), dtype=np.uint8)
SIZES = [(23, 31), (5, 6), (9, 14), (40, 7)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", sorted(FILTERS))
def test_bytes_are_pillows_to_the_bit(kind, size):
    expected = np.asarray(PILImage.fromarray(IMAGE[0]).resize(size[::-1], FILTERS[kind]))
    np.testing.assert_array_equal(resize.pillow_uint8(jnp.asarray(IMAGE), size, kind)[0], expected)


@pytest.mark.parametrize("size", SIZES)
def test_clean_is_pillows_bicubic_on_floats(size):
    channels = [PILImage.fromarray(IMAGE[0, :, :, c].astype(np.float32)) for c in range(3)]
    resized = [np.asarray(channel.resize(size[::-1], PILImage.Resampling.BICUBIC)) for channel in channels]
    expected = np.clip(np.stack(resized, axis=-1), 0, 255)
    np.testing.assert_allclose(resize.resize(jnp.asarray(IMAGE, jnp.float32), size, "clean")[0], expected, atol=1e-3)


@pytest.mark.parametrize("how", ["tf1", "torch", "clean"])
def test_rows_sum_to_one_and_nothing_changes_at_the_same_size(how):
    image = jnp.asarray(IMAGE, jnp.float32)
    np.testing.assert_allclose(resize.resize(image, (9, 14), how), image, atol=1e-3)
    np.testing.assert_allclose(resize.resize(jnp.full_like(image, 100.0), (30, 5), how), 100, atol=1e-3)


def test_half_a_pixel_is_the_difference():
    ramp = jnp.arange(4.0)[None, None, :, None] * jnp.ones((1, 2, 1, 1))
    tf1, torch = (resize.resize(ramp, (2, 8), how)[0, 0, :, 0] for how in ("tf1", "torch"))
    np.testing.assert_allclose(tf1, [0, 0.5, 1, 1.5, 2, 2.5, 3, 3])
    np.testing.assert_allclose(torch, [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3])
    np.testing.assert_allclose(resize.aligned_matrix(4, 7) @ np.arange(4.0), np.linspace(0, 3, 7))
