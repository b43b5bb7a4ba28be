"""PSNR and SSIM of pairs of images, by their definitions."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import correlate

from score_jax.errors import InputError
from score_jax.evaluation.image_errors import psnr, ssim


def pair(seed=0, shape=(2, 17, 14, 3)):
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 256, shape).astype(np.uint8)
    return x, np.clip(x + rng.normal(0, 20, shape), 0, 255).astype(np.uint8)


def test_psnr_is_that_of_the_mean_squared_error():
    x, y = pair()
    error = ((x.astype(float) - y) ** 2).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(psnr(jnp.asarray(x), jnp.asarray(y)), 10 * np.log10(255**2 / error), rtol=1e-5)
    assert np.isinf(psnr(jnp.asarray(x), jnp.asarray(x))).all()


def by_definition(x, y):
    """SSIM of one channel, window by window."""
    offsets = np.arange(11) - 5
    window = np.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / 4.5)
    window /= window.sum()

    def mean(a):
        return correlate(a, window)[5:-5, 5:-5]

    x, y = x.astype(float), y.astype(float)
    mx, my = mean(x), mean(y)
    vx, vy, cov = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
    c1, c2 = 2.55**2, 7.65**2
    return ((2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))).mean()


def test_ssim_is_that_of_its_definition():
    x, y = pair(1)
    expected = [np.mean([by_definition(a[..., c], b[..., c]) for c in range(3)]) for a, b in zip(x, y, strict=True)]
    np.testing.assert_allclose(ssim(jnp.asarray(x), jnp.asarray(y)), expected, rtol=2e-4)
    np.testing.assert_allclose(ssim(jnp.asarray(x), jnp.asarray(x)), 1.0, rtol=1e-5)


def test_images_smaller_than_the_window_are_refused():
    with pytest.raises(InputError, match="11 x 11 pixels at least, not 10 x 12"):
        ssim(jnp.zeros((1, 10, 12, 1)), jnp.zeros((1, 10, 12, 1)))
