"""Images and labels from array files."""

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from score_jax.errors import InputError


def array_rows(path: Path) -> Sequence[dict]:
    """Images (and labels) of an .npz or .npy file, never unpickled."""
    try:
        loaded = np.load(path, allow_pickle=False)
        arrays = {"images": loaded} if path.suffix == ".npy" else {k: loaded[k] for k in loaded.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"Cannot read {path}: {error}. Expected arrays without pickled objects.") from None
    images = next((arrays[k] for k in ("images", "image", "arr_0", "x") if k in arrays), None)
    labels = next((arrays[k] for k in ("labels", "label", "arr_1", "y") if k in arrays), None)
    if images is None:
        raise InputError(f"{path} holds {sorted(arrays)}: expected 'images' or 'arr_0'.")
    images = images[..., None] if images.ndim == 3 else images
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise InputError(
            f"Images of {path} are {images.dtype} {images.shape}: expected uint8 (n, h, w) or (n, h, w, 1 or 3)."
        )
    labels = np.zeros(len(images), np.int32) if labels is None else labels
    if len(labels) != len(images):
        raise InputError(f"{path} has {len(images)} images but {len(labels)} labels.")
    return [{"image": image, "label": label} for image, label in zip(images, labels, strict=True)]
