"""Small images and images with holes, as models of latents are given them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image as PILImage

from score_jax.codecs.latents import Latents
from score_jax.conditioning.channels import HOLES, enlarged
from score_jax.conditioning.conditioners import bicubic, blurred
from score_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class Means:
    """An autoencoder without parameters: the means of 2 x 2 pixels."""

    stochastic = False

    def encode(self, params, images):
        b, h, w, c = images.shape
        return images.reshape(b, h // 2, 2, w // 2, 2, c).mean(axis=(2, 4))

    def mode(self, moments):
        return moments

    def draw(self, moments, noise):
        return moments

    def decode(self, params, z):
        return jnp.repeat(jnp.repeat(z, 2, axis=1), 2, axis=2)

    def latent_shape(self, image_shape):
        return image_shape[0] // 2, image_shape[1] // 2, image_shape[2]

    def shape_of_images(self, latent_shape):
        return latent_shape[0] * 2, latent_shape[1] * 2, latent_shape[2]


CODEC = Latents(Means(), scale=3.0, params={})
IMAGES = jax.random.randint(jax.random.key(0), (2, 8, 8, 3), 0, 256).astype(jnp.uint8)
MASK = jnp.zeros((2, 8, 8, 1), jnp.uint8).at[:, 2:5, :4].set(1)


def unscaled(images):
    return Means().encode({}, CODEC.pixels.encode(images))


def test_small_images_are_those_of_the_batch_or_made():
    given = enlarged(4, "area", (4, 4))({"low_res": IMAGES[:, :4, :4]}, None, CODEC, {})
    np.testing.assert_allclose(given, CODEC.pixels.encode(IMAGES[:, :4, :4]), atol=1e-6)
    made = enlarged(4, "area", (4, 4))({"image": IMAGES}, None, CODEC, {})
    np.testing.assert_allclose(made, unscaled(IMAGES), atol=1e-6)
    assert enlarged(2, "area", (4, 4))({"image": IMAGES}, None, CODEC, {}).shape == (2, 4, 4, 3)


def test_bicubic_is_pillows():
    image = np.asarray(IMAGES[0, :, :, 0], np.float32)
    expected = np.asarray(PILImage.fromarray(image).resize((4, 4), PILImage.Resampling.BICUBIC))
    np.testing.assert_allclose(bicubic(jnp.asarray(image)[None, :, :, None], 4)[0, :, :, 0], expected, atol=1e-3)


def test_holes_as_latent_diffusion_has_them():
    found = HOLES["latent_diffusion"]((4, 4))({"image": IMAGES, "mask": MASK}, None, CODEC, {})
    assert found.shape == (2, 4, 4, 4)
    black = jnp.where(MASK > 0, 0, IMAGES).astype(jnp.uint8)
    np.testing.assert_allclose(found[..., :3], unscaled(black), atol=1e-6)
    np.testing.assert_array_equal(found[..., 3:], 2.0 * MASK[:, ::2, ::2] - 1)


def test_holes_as_stable_diffusion_has_them():
    found = HOLES["stable_diffusion"]((4, 4))({"image": IMAGES, "mask": MASK}, None, CODEC, {})
    np.testing.assert_array_equal(found[..., :1], MASK[:, ::2, ::2])
    grey = CODEC.pixels.encode(IMAGES) * (1 - MASK)
    np.testing.assert_allclose(found[..., 1:], 3.0 * Means().encode({}, grey), atol=1e-6)


def test_a_hole_needs_a_mask():
    with pytest.raises(InputError, match="no mask says where"):
        HOLES["latent_diffusion"]((4, 4))({"image": IMAGES}, None, CODEC, {})


def test_blurred_images_are_small_ones_under_a_gaussian_of_three_pixels():
    image = np.random.default_rng(0).normal(size=(1, 8, 8, 2)).astype(np.float32)
    small = np.asarray(bicubic(jnp.asarray(image), 4))
    weights = np.exp(-np.array([1.0, 0.0, 1.0]) / (2 * 0.6**2))
    kernel = np.outer(weights, weights) / weights.sum() ** 2
    padded = np.pad(small, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
    expected = sum(kernel[i, j] * padded[:, i : i + 4, j : j + 4] for i in range(3) for j in range(3))
    np.testing.assert_allclose(blurred(jnp.asarray(image), 4), expected, atol=1e-5)
