"""Decoding, cropping and resizing of single images on the host."""

import io
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image as PILImage

from score_jax.errors import InputError, unknown_name

# Pillow's filters; those that look further than one pixel widen their support when shrinking (antialias).
FILTERS = {
    "box": PILImage.Resampling.BOX,
    "bilinear": PILImage.Resampling.BILINEAR,
    "bicubic": PILImage.Resampling.BICUBIC,
    "lanczos": PILImage.Resampling.LANCZOS,
}


def decode(file: Path | bytes, name: str) -> UInt8[np.ndarray, "h w c"]:
    """Pixels of an encoded image; palettes and alpha become RGB.

    Raises:
      InputError: it is not an image, it is cut short, or it is larger than Pillow's bound against decompression bombs.
    """
    try:
        with PILImage.open(io.BytesIO(file) if isinstance(file, bytes) else file) as image:
            mode = "L" if image.mode in ("L", "1", "I;16") else "RGB"
            pixels = np.asarray(image.convert(mode))
    except (OSError, SyntaxError, ValueError, PILImage.DecompressionBombError) as error:
        raise InputError(f"Cannot read the image {name}: {error}. Replace or remove it.") from None
    return pixels if pixels.ndim == 3 else pixels[..., None]


def with_channels(image: UInt8[np.ndarray, "h w c"], channels: int) -> UInt8[np.ndarray, "h w k"]:
    """Grey (1) or RGB (3)."""
    if image.shape[-1] == channels:
        return image
    pixels = PILImage.fromarray(image.squeeze(-1)) if image.shape[-1] == 1 else PILImage.fromarray(image[..., :3])
    converted = np.asarray(pixels.convert("L" if channels == 1 else "RGB"))
    return converted if converted.ndim == 3 else converted[..., None]


def fit(
    image: UInt8[np.ndarray, "h w c"], size: int, channels: int, resize_filter: str, name: str, crop: int = 0
) -> UInt8[np.ndarray, "s s k"]:
    """The central square of an image, at `size` x `size`, grey or RGB.

    Args:
      image: pixels.
      size: height and width wanted.
      channels: 1 or 3.
      resize_filter: a key of `FILTERS`, or "none" to refuse images of another size.
      name: what to call the image in an error.
      crop: side of the central square; 0: the largest.

    Raises:
      InputError: another size under "none", an unknown filter, or a crop larger than the image.
    """
    height, width = image.shape[:2]
    if crop > min(height, width):
        raise InputError(
            f"{name} is {height}x{width} pixels, data.crop is {crop}: choose a smaller crop, or 0 for none."
        )
    if resize_filter == "none":
        if (height, width) != (size, size):
            raise InputError(
                f"{name} is {height}x{width} pixels, data.image_size is {size}: set data.image_size, or name a filter "
                f"with data.resize_filter={'|'.join(FILTERS)}."
            )
        return with_channels(image, channels)
    if resize_filter not in FILTERS:
        raise unknown_name("data.resize_filter", resize_filter, ["none", *FILTERS])
    side = crop or min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = with_channels(image[top : top + side, left : left + side], channels)
    if side == size:
        return square
    resized = PILImage.fromarray(square.squeeze()).resize((size, size), FILTERS[resize_filter])
    return np.asarray(resized).reshape(size, size, channels)
