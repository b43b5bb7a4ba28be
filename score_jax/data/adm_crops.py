"""How ADM prepares images: halved by boxes while they are large, then resized bicubically, then cut to a square.

Dhariwal and Nichol 2021 (guided-diffusion's image_datasets): models see the central square, classifiers one at a random
place of images whose short side is up to 1 / 0.8 of the square's, drawn anew each time. EDM's data sets of ImageNet
are cut by the first rule.
"""

import math

import numpy as np
from jaxtyping import UInt8
from PIL import Image as PILImage

SMALLEST_SHARE = 0.8
"""Of the short side, that a random square has at least."""


def with_short_side(image: UInt8[np.ndarray, "h w c"], short: int) -> UInt8[np.ndarray, "p q c"]:
    """Returns an image at another size, its short side of so many pixels."""
    pixels = PILImage.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    while min(pixels.size) >= 2 * short:
        width, height = pixels.size
        pixels = pixels.resize((width // 2, height // 2), PILImage.Resampling.BOX)
    scale = short / min(pixels.size)
    width, height = (round(side * scale) for side in pixels.size)
    resized = np.asarray(pixels.resize((width, height), PILImage.Resampling.BICUBIC))
    return resized.reshape(height, width, image.shape[-1])


def central_crop(image: UInt8[np.ndarray, "h w c"], size: int) -> UInt8[np.ndarray, "s s c"]:
    """Returns the central square, of side `size`."""
    found = with_short_side(image, size)
    top, left = ((side - size) // 2 for side in found.shape[:2])
    return found[top : top + size, left : left + size]


def random_crop(image: UInt8[np.ndarray, "h w c"], size: int, rng: np.random.Generator) -> UInt8[np.ndarray, "s s c"]:
    """Returns a square of side `size` at a random place of the image at a random size.

    The short side is a whole number from `size` to size / 0.8, rounded up, each as likely.
    """
    found = with_short_side(image, int(rng.integers(size, math.ceil(size / SMALLEST_SHARE) + 1)))
    top, left = (int(rng.integers(side - size + 1)) for side in found.shape[:2])
    return found[top : top + size, left : left + size]
