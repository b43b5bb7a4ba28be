"""Decoding, cropping and resizing of single images on the host."""

import io
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image as PILImage
from PIL import ImageOps

from score_jax.data.adm_crops import central_crop
from score_jax.errors import InputError, quoted, unknown_name

# Pillow's filters; those that look further than one pixel widen their support when shrinking (antialias).
FILTERS = {
    "box": PILImage.Resampling.BOX,
    "bilinear": PILImage.Resampling.BILINEAR,
    "bicubic": PILImage.Resampling.BICUBIC,
    "lanczos": PILImage.Resampling.LANCZOS,
}

ADM = "adm"
"""In the place of a filter: halved by boxes, then bicubic, as ADM's images are."""

_BITS_PER_SAMPLE, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0  # tags of TIFF, and a value


def decode(file: Path | bytes, name: str) -> UInt8[np.ndarray, "h w c"]:
    """Decodes an image: upright (EXIF), of 16 bits the upper 8, of several frames the first.

    Palettes become RGB and alpha is dropped, as Pillow converts; grey stays grey.

    Args:
      file: its path or its bytes.
      name: what to call it in an error.

    Raises:
      InputError: it is not an image, it is cut short, it is larger than Pillow's bound against decompression bombs, or
        its pixels are no levels (integers of 32 bits, floats).
    """
    try:
        with PILImage.open(io.BytesIO(file) if isinstance(file, bytes) else file) as image:
            ImageOps.exif_transpose(image, in_place=True)
            pixels = _levels(image, name)
    except InputError:
        raise
    except PILImage.UnidentifiedImageError:
        raise InputError(f"Cannot read the image {name}: {_beginning(file)}. Replace or remove it.") from None
    except Exception as error:  # whatever a reader raises on damaged bytes
        reason = quoted(str(error) or type(error).__name__)
        raise InputError(f"Cannot read the image {name}: {reason}. Replace or remove it.") from None
    return pixels if pixels.ndim == 3 else pixels[..., None]


def _beginning(file: Path | bytes) -> str:
    """Says how bytes begin that are no image."""
    if isinstance(file, Path):
        with file.open("rb") as opened:
            file = opened.read(64)
    return f"it is none that Pillow reads, and begins with {quoted(file[:24])}" if file else "it is empty"


def _levels(image: PILImage.Image, name: str) -> UInt8[np.ndarray, "h w *c"]:
    """Pixels of 8 bits; of deeper ones the upper bits, as Pillow reads RGB of 16 bits.

    Raises:
      InputError: nothing says which value is white.
    """
    deep_grey = image.format == "PPM" and image.mode == "I"  # Pillow scales it to 16 bits
    if image.mode.startswith("I;16") or deep_grey:
        tags = getattr(image, "tag_v2", {})
        bits = tags.get(_BITS_PER_SAMPLE, (16,))[0]
        levels = (np.asarray(image) >> (bits - 8)).astype(np.uint8)
        return 255 - levels if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO else levels
    if image.mode in ("I", "F"):
        kind = "integers of 32 bits" if image.mode == "I" else "floats"
        raise InputError(
            f"Cannot read the image {name}: its pixels are {kind} (mode {image.mode!r}), and it is not known which "
            "values are black and white. Save it with 8 or 16 bits."
        )
    return np.asarray(image.convert("L" if image.mode in ("L", "1") else "RGB"))


def with_channels(image: UInt8[np.ndarray, "h w c"], channels: int) -> UInt8[np.ndarray, "h w k"]:
    """Grey (1) or RGB (3)."""
    if image.shape[-1] == channels:
        return image
    pixels = PILImage.fromarray(image.squeeze(-1)) if image.shape[-1] == 1 else PILImage.fromarray(image[..., :3])
    converted = np.asarray(pixels.convert("L" if channels == 1 else "RGB"))
    return converted if converted.ndim == 3 else converted[..., None]


def central_square(image: UInt8[np.ndarray, "h w *c"], crop: int, name: str) -> UInt8[np.ndarray, "s s *c"]:
    """Returns the central square of an image, of side `crop`; 0: the largest.

    Raises:
      InputError: the crop is larger than the image; names it.
    """
    height, width = image.shape[:2]
    if crop > min(height, width):
        raise InputError(
            f"{name} is {height}x{width} pixels, data.crop is {crop}: choose a smaller crop, or 0 for none."
        )
    side = crop or min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return image[top : top + side, left : left + side]


def fit(
    image: UInt8[np.ndarray, "h w c"], size: int, channels: int, resize_filter: str, name: str, crop: int = 0
) -> UInt8[np.ndarray, "s s k"]:
    """Returns the central square of an image, at `size` x `size`, grey or RGB.

    Args:
      image: pixels.
      size: height and width wanted.
      channels: 1 or 3.
      resize_filter: a key of `FILTERS`; "adm" for that of `adm_crops`; or "none" to refuse images of another size.
      name: what to call the image in an error.
      crop: side of the central square; 0: the largest.

    Raises:
      InputError: another size under "none", an unknown filter, a crop larger than the image, or "adm" with a crop.
    """
    height, width = image.shape[:2]
    if resize_filter == ADM:
        if crop:
            raise InputError(f"data.crop={crop} is not for data.resize_filter=adm, which cuts by itself: give 0.")
        return central_crop(with_channels(image, channels), size)
    square = central_square(image, crop, name)
    if resize_filter == "none":
        if (height, width) != (size, size):
            raise InputError(
                f"{name} is {height}x{width} pixels, data.image_size is {size}: set data.image_size, or name a filter "
                f"with data.resize_filter={'|'.join(FILTERS)}."
            )
        return with_channels(image, channels)
    if resize_filter not in FILTERS:
        raise unknown_name("data.resize_filter", resize_filter, ["none", ADM, *FILTERS])
    square = with_channels(square, channels)
    if len(square) == size:
        return square
    pixels = square[..., 0] if channels == 1 else square
    resized = PILImage.fromarray(pixels).resize((size, size), FILTERS[resize_filter])
    return np.asarray(resized).reshape(size, size, channels)
