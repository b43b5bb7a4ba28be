"""Masks: black where an image is kept, white where it is painted anew, and nothing that could mean something else."""

from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image as PILImage

from score_jax.data.images import decode, fit, with_channels
from score_jax.errors import InputError

RULE = "a mask is an opaque picture, black where the image is kept and white where it is painted anew"
_COLOURED = 32
"""Levels between the channels of a pixel that compression does not make of grey."""
_FEW_COLOURED, _FEW_GREY = 0.01, 0.25
"""Shares of pixels that may have colours, or a grey of the middle, as soft edges have."""


def read_mask(
    path: Path, image: UInt8[np.ndarray, "h w c"], size: int, resize_filter: str
) -> Float[np.ndarray, "s s 1"]:
    """1 where an image is painted anew, at `size` x `size`: cut and resized as the image is; 128 and above are white.

    Args:
      path: the mask's file.
      image: the image that it is of, as it was read.
      size: height and width wanted.
      resize_filter: see `images.fit`.

    Raises:
      InputError: the file is no image, has other proportions than the image, or is no mask by the rule: it has
        transparent pixels, colours, too much grey, or is black everywhere.
    """
    pixels = decode(path, str(path))
    height, width = pixels.shape[:2]
    if height * image.shape[1] != width * image.shape[0]:
        raise InputError(
            f"The mask {path} is {height} x {width} pixels, but the image is {image.shape[0]} x {image.shape[1]}: give "
            "both the same size, so that each pixel of the mask belongs to a pixel of the image."
        )
    grey = with_channels(pixels, 1)
    if wrong := _what_is_wrong(path, pixels.astype(int), grey):
        raise InputError(f"The mask {path} {wrong} ({RULE}).")
    return (fit(grey, size, 1, resize_filter, str(path)) >= 128).astype(np.float32)


def _what_is_wrong(path: Path, pixels: np.ndarray, grey: UInt8[np.ndarray, "h w 1"]) -> str:
    """Why a picture (h, w, c) is no mask, and how to mend it; empty where it is one."""
    if _is_transparent(path):
        return "has transparent pixels: fill them with black or white"
    if (np.ptp(pixels, axis=-1) > _COLOURED).mean() > _FEW_COLOURED:
        return "has colours: paint it in black and white"
    if not grey.any():
        return "is black everywhere: make white what is to be painted anew"
    if grey.max() < 128:
        return f"has values from {grey.min()} to {grey.max()} of 255: give white the value 255"
    if ((grey >= 64) & (grey < 192)).mean() > _FEW_GREY:
        return "is grey in more than a quarter of it: paint it in black and white"
    return ""


def _is_transparent(path: Path) -> bool:
    with PILImage.open(path) as image:
        return image.has_transparency_data and bool(np.asarray(image.convert("RGBA"))[..., 3].min() < 255)
