"""Images for a super-resolution model to enlarge, as `sample` writes them."""

import dataclasses
import zipfile
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8
from ml_collections import ConfigDict

from score_jax.errors import InputError
from score_jax.jobs.sample import Given


def read_samples(path: Path) -> tuple[UInt8[np.ndarray, "n h w c"], Int[np.ndarray, "n"] | None]:
    """The images (arr_0) and, if there are any, the classes (arr_1) of an .npz file.

    Raises:
      InputError: it cannot be read, or holds something else.
    """
    try:
        with np.load(path, allow_pickle=False) as z:
            images, labels = z["arr_0"], z.get("arr_1")
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"Cannot read images from {path} ({error}): expected an .npz with arr_0.") from None
    if images.dtype != np.uint8 or images.ndim != 4:
        raise InputError(f"{path} holds {images.dtype} of shape {images.shape}: expected uint8 images (n, h, w, c).")
    return images, labels


def enlarging(given: Given, config: ConfigDict, base: str | None, count: int) -> tuple[Given, int]:
    """`given` with the images to enlarge, and how many samples there are: as many as images, at most `count`.

    Raises:
      InputError: the model enlarges and no images are named, or the other way, or they have another size.
    """
    size = config.data.low_resolution
    if not base:
        if size:
            raise InputError(f"This model enlarges images of {size} x {size}: name them with --base=samples.npz.")
        return given, count
    if not size:
        raise InputError("--base is for super-resolution models (data.low_resolution); this one draws from noise.")
    images, labels = read_samples(Path(base))
    if images.shape[1:3] != (size, size):
        raise InputError(f"The images in {base} are {images.shape[1]} x {images.shape[2]}, the model enlarges {size}.")
    count = min(count, len(images))
    classes = None if labels is None else labels[:count].astype(np.int32)
    return dataclasses.replace(given, low_res=images[:count], labels=classes), count
