"""CLIP's preparation of images against Pillow's own resize, and places known by counting."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image as PILImage

from score_jax.data.clip_images import fit, prepared
from score_jax.errors import InputError
from score_jax.models.clip.clip_input import MEAN, STD, normalised


def noise(height, width, channels=3):
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), np.uint8)


@pytest.mark.parametrize(
    ("shape", "size", "scaled", "corner"),
    [
        ((40, 61), 24, (24, 36), (0, 6)),  # 36.6 is cut
        ((30, 20), 24, (36, 24), (6, 0)),
        ((9, 16), 18, (18, 32), (0, 7)),
        ((7, 12), 14, (14, 24), (0, 5)),
    ],
)
def test_the_whole_is_scaled_and_then_cut(shape, size, scaled, corner):
    image = noise(*shape)
    whole = np.asarray(PILImage.fromarray(image).resize(scaled[::-1], PILImage.Resampling.BICUBIC))
    top, left = corner
    np.testing.assert_array_equal(fit(image, size, "it"), whole[top : top + size, left : left + size])


@pytest.mark.parametrize(("width", "left"), [(4, 0), (5, 0), (6, 1), (7, 2), (8, 2), (9, 2), (11, 4)])
def test_half_a_pixel_goes_to_the_even_side(width, left):
    image = noise(4, width)
    np.testing.assert_array_equal(fit(image, 4, "it"), image[:, left : left + 4])
    turned = image.swapaxes(0, 1)
    np.testing.assert_array_equal(fit(turned, 4, "it"), turned[left : left + 4])


def test_grey_is_three_equal_channels():
    image = noise(9, 12, 1)
    found = fit(image, 5, "it")
    np.testing.assert_array_equal(found, fit(np.repeat(image, 3, axis=-1), 5, "it"))


def test_an_image_that_would_not_fit_into_memory_is_named():
    with pytest.raises(InputError, match="strip.png is 2x20000 pixels, too narrow"):
        fit(np.zeros((2, 20_000, 3), np.uint8), 224, "strip.png")


def test_mean_and_deviation_become_zero_and_one():
    colours = jnp.array([MEAN, np.add(MEAN, STD)]).reshape(1, 1, 2, 3)
    found, slope = jax.jit(lambda x: jax.jvp(normalised, (x,), (jnp.ones_like(x),)))(colours)
    np.testing.assert_allclose(found, jnp.array([0.0, 1.0]).reshape(1, 1, 2, 1) + jnp.zeros((1, 1, 2, 3)), atol=1e-6)
    np.testing.assert_allclose(slope[0, 0, 0] * np.array(STD), 1, rtol=1e-6)


def test_levels_are_told_as_shares_of_255(x64):
    black, white = np.asarray(prepared(jnp.array([0, 255], jnp.uint8).repeat(3).reshape(2, 1, 1, 3)))
    np.testing.assert_allclose(black.ravel(), -np.array(MEAN) / STD, rtol=1e-15)
    np.testing.assert_allclose(white.ravel(), (1 - np.array(MEAN)) / STD, rtol=1e-15)
