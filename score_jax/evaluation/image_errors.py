"""How near images are to others: PSNR and SSIM of pairs, as first stages and super-resolution are measured."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from score_jax.errors import InputError
from score_jax.typing import Image

LEVELS = 255.0
"""The largest value of an image of 8 bits: the data range of both measures."""
_WINDOW, _STD = 11, 1.5
_C1, _C2 = (0.01 * LEVELS) ** 2, (0.03 * LEVELS) ** 2


def psnr(x: Shaped[Array, "b h w c"], y: Shaped[Array, "b h w c"]) -> Float[Array, "b"]:
    """Returns the peak signal-to-noise ratio of each pair in dB, 10 log10(255² / mean squared error); inf of equals.

    Args:
      x: images in levels of 0 to 255.
      y: what each is compared with.

    >>> x = jnp.zeros((1, 2, 2, 1))
    >>> print(psnr(x, x + 1).round(2))
    [48.13]
    """
    error = jnp.mean((x.astype(float) - y.astype(float)) ** 2, axis=(1, 2, 3))
    return 10 * jnp.log10(LEVELS**2 / error)


def ssim(x: Shaped[Array, "b h w c"], y: Shaped[Array, "b h w c"]) -> Float[Array, "b"]:
    """Returns the structural similarity of each pair, 1 of equals (Wang et al. 2004, eq. 13).

    By a Gaussian window of 11 x 11 pixels and standard deviation 1.5 that lies within the image, of each channel; the
    mean over windows and channels.

    Args:
      x: images in levels of 0 to 255.
      y: what each is compared with.

    Raises:
      InputError: an image is smaller than the window.
    """
    if min(x.shape[1:3]) < _WINDOW:
        raise InputError(
            f"SSIM needs images of {_WINDOW} x {_WINDOW} pixels at least, not {x.shape[1]} x {x.shape[2]}."
        )
    x, y = x.astype(float), y.astype(float)
    mean_x, mean_y = _windowed(x), _windowed(y)
    var_x, var_y = _windowed(x * x) - mean_x**2, _windowed(y * y) - mean_y**2
    covariance = _windowed(x * y) - mean_x * mean_y
    means = (2 * mean_x * mean_y + _C1) / (mean_x**2 + mean_y**2 + _C1)
    return jnp.mean(means * (2 * covariance + _C2) / (var_x + var_y + _C2), axis=(1, 2, 3))


def _windowed(x: Image) -> Float[Array, "b _ _ c"]:
    """Means under the window, by one axis after the other."""
    offsets = np.arange(_WINDOW) - _WINDOW // 2
    weights = np.exp(-(offsets**2) / (2 * _STD**2))
    weights = weights / weights.sum()

    def along(x: Array, axis: int) -> Array:
        length = x.shape[axis] - _WINDOW + 1
        parts = (jax.lax.slice_in_dim(x, i, i + length, axis=axis) * weight for i, weight in enumerate(weights))
        return sum(parts, jnp.zeros(()))

    return along(along(x, 1), 2)
