"""Random degradations by which images become small: what models that enlarge photos are trained on.

Zhang et al. 2021 (BSRGAN, arXiv 2103.14006): blur, resizing, noise and JPEG in random order, and JPEG at last. Latent
diffusion's released upsampler was trained on a light variant of it (`bsrgan_light` in CompVis/latent-diffusion), whose
numbers these are. Resizing and blurring are Pillow's and SciPy's, not OpenCV's.
"""

import functools
import io
from collections.abc import Callable

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image as PILImage
from scipy import ndimage

from score_jax.errors import InputError

Pixels = Float[np.ndarray, "_ _ c"]
Step = Callable[[np.random.Generator, Pixels], Pixels]
_HALVED_FIRST, _SHRUNK_BY_RESIZING, _JPEG, _ANISOTROPIC = 0.25, 0.8, 0.9, 0.5
"""How often each happens."""
_KINDS = (PILImage.Resampling.BILINEAR, PILImage.Resampling.BICUBIC, PILImage.Resampling.BOX)
_QUALITY = (80, 96)
_NOISE = (1, 3)
"""Levels of 255, from the first to below the last."""
_RADIUS = 7
"""Pixels that an anisotropic kernel reaches from its middle."""
_GREY = (0.299, 0.587, 0.114)


def _sampled(image: Pixels, height: int, width: int, kind: PILImage.Resampling) -> Pixels:
    """By the mean of areas (BOX), or by the nearest pixels alone (BILINEAR, BICUBIC), which lets patterns alias."""
    down, right = (old / new for old, new in zip(image.shape[:2], (height, width), strict=True))

    def channel(values: Float[np.ndarray, "_ _"]) -> Float[np.ndarray, "_ _"]:
        picture = PILImage.fromarray(values.astype(np.float32))
        if kind == PILImage.Resampling.BOX:
            return np.asarray(picture.resize((width, height), kind))
        corners = (right, 0, 0, 0, down, 0)
        return np.asarray(picture.transform((width, height), PILImage.Transform.AFFINE, corners, kind))

    return np.clip(np.stack([channel(image[..., i]) for i in range(image.shape[-1])], axis=-1), 0, 1)


def _resized(rng: np.random.Generator, image: Pixels, height: int, width: int) -> Pixels:
    """By one of the kinds of `_sampled`."""
    return _sampled(image, height, width, _KINDS[rng.integers(len(_KINDS))])


def _gaussian_kernel(covariance: Float[np.ndarray, "2 2"]) -> Float[np.ndarray, "k k"]:
    at = np.stack(np.meshgrid(*[np.arange(-_RADIUS, _RADIUS + 1.0)] * 2), axis=-1)
    kernel = np.exp(-0.5 * np.einsum("ijk,kl,ijl->ij", at, np.linalg.inv(covariance), at))
    return kernel / kernel.sum()


def _blurred(rng: np.random.Generator, image: Pixels, factor: float) -> Pixels:
    """By a Gaussian, half of the time one that is longer in some direction."""
    if rng.random() < _ANISOTROPIC:
        angle, variances = rng.uniform(0, np.pi), rng.uniform(1e-3, (4 + factor) / 4, 2)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        kernel = _gaussian_kernel(turn @ np.diag(variances) @ turn.T)
        return ndimage.convolve(image, kernel[..., None], mode="mirror")
    sigma = rng.uniform(0, (2 + 0.2 * factor) / 4)
    return ndimage.gaussian_filter(image, (sigma, sigma, 0), mode="mirror")


def _shrunk(rng: np.random.Generator, image: Pixels, factor: float) -> Pixels:
    """By up to twice the factor, mostly by resizing, else by a Gaussian and a pixel of each square."""
    by_resizing = rng.random() < _SHRUNK_BY_RESIZING
    by = rng.uniform(1, 2 * factor) if by_resizing else factor
    height, width = (max(1, int(size / by)) for size in image.shape[:2])
    if by_resizing:
        return _resized(rng, image, height, width)
    sigma = rng.uniform(0.1, 0.6 * factor)
    blurred = ndimage.gaussian_filter(image, (sigma, sigma, 0), mode="mirror")
    return _sampled(blurred, height, width, PILImage.Resampling.BILINEAR)


def _noisy(rng: np.random.Generator, image: Pixels) -> Pixels:
    """With Gaussian noise that is independent between channels, the same in all, or correlated."""
    level, kind, shape = rng.integers(*_NOISE) / 255, rng.random(), image.shape
    if kind > 0.6 or shape[-1] != 3:
        noise = rng.normal(0, level, shape)
    elif kind < 0.4:
        noise = rng.normal(0, level, (*shape[:2], 1))
    else:
        turn, _ = np.linalg.qr(rng.random((3, 3)))
        covariance = np.abs(turn.T @ np.diag(rng.random(3)) @ turn) * ((_NOISE[1] - 1) / 255) ** 2
        noise = rng.multivariate_normal(np.zeros(3), covariance, shape[:2], check_valid="ignore")
    return np.clip(image + noise, 0, 1)


def _levels(image: Pixels) -> UInt8[np.ndarray, "_ _ c"]:
    return np.round(255 * np.clip(image, 0, 1)).astype(np.uint8)


def _compressed(rng: np.random.Generator, image: Pixels) -> Pixels:
    """By JPEG and back."""
    file, levels = io.BytesIO(), _levels(image)
    picture = PILImage.fromarray(levels[..., 0] if levels.shape[-1] == 1 else levels)
    picture.save(file, "JPEG", quality=int(rng.integers(*_QUALITY)))
    with PILImage.open(file) as read:
        return np.asarray(read).reshape(levels.shape) / 255


def bsrgan_light(
    rng: np.random.Generator, image: UInt8[np.ndarray, "h w c"], size: int
) -> UInt8[np.ndarray, "{size} {size} c"]:
    """Returns an image made small by a random degradation.

    Args:
      rng: what all of it is drawn from.
      image: a square, grey or RGB.
      size: height and width wanted, of which those of the image are a multiple.

    Raises:
      InputError: they are none.
    """
    side = image.shape[0]
    if size <= 0 or side % size:
        raise InputError(f"data.low_resolution={size} does not divide the image size {side}: give a divisor.")
    small, factor = image / 255, side / size
    if factor == 4 and rng.random() < _HALVED_FIRST:
        small, factor = _resized(rng, small, side // 2, side // 2), 2.0
    steps: list[Step] = [
        functools.partial(_blurred, factor=factor),
        functools.partial(_shrunk, factor=factor),
        _noisy,
        lambda rng, image: _compressed(rng, image) if rng.random() < _JPEG else image,
    ]
    # To its size after it was shrunk, at any time.
    shrink, last = sorted(rng.choice(len(steps) + 1, 2, replace=False))
    order = [steps[i] for i in rng.permutation([0, 2, 3])]
    order.insert(shrink, steps[1])
    order.insert(last, lambda rng, image: _resized(rng, image, size, size))
    for step in order:
        small = step(rng, small)
    return _levels(_compressed(rng, small))


RANDOM_DEGRADATIONS: dict[str, Callable[..., np.ndarray]] = {"bsrgan_light": bsrgan_light}
"""By name, how images are made small at random, before they are on the devices."""
