"""Images for a super-resolution model to enlarge, as `sample` writes them."""

import dataclasses
import zipfile
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8

from score_jax.builder import Experiment
from score_jax.data.labels import checked_labels
from score_jax.errors import InputError
from score_jax.jobs.sample import RANDOM_LABEL, Given
from score_jax.multihost import print_once


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
    if images.dtype != np.uint8 or images.ndim != 4 or not len(images):
        raise InputError(f"{path} holds {images.dtype} of shape {images.shape}: expected uint8 images (n, h, w, c).")
    return images, labels


def enlarging(given: Given, experiment: Experiment, base: str | None, count: int) -> tuple[Given, int]:
    """`given` with the images to enlarge, and how many samples there are: as many as images, at most `count`.

    Raises:
      InputError: the model enlarges and no images are named, or the other way; or they have another shape, or classes
        that the model does not know.
    """
    size, channels = experiment.config.data.low_resolution, experiment.image_shape[2]
    if not base:
        if size:
            raise InputError(f"This model enlarges images of {size} x {size}: name them with --base=samples.npz.")
        return given, count
    if not size:
        raise InputError("--base is for super-resolution models (data.low_resolution); this one draws from noise.")
    images, labels = read_samples(Path(base))
    if images.shape[1:] != (size, size, channels):
        height, width, found = images.shape[1:]
        raise InputError(
            f"The images in {base} are {height} x {width} with {found} channels, the model enlarges {size} x {size} "
            f"with {channels}: name others."
        )
    classes = given.num_classes(experiment)
    if classes and experiment.config.sampling.label == RANDOM_LABEL:
        if labels is None:
            raise InputError(
                f"{base} has no classes (arr_1), and the model has {classes}: add them, or name the class of all "
                "images, e.g. --config.sampling.label=0."
            )
        given = dataclasses.replace(given, labels=checked_labels(labels, len(images), classes, base))
    if len(images) < count:
        print_once(f"{base} has {len(images)} images: as many are enlarged.")
    count = min(count, len(images))
    rows = None if given.labels is None else given.labels[:count]
    return dataclasses.replace(given, low_res=images[:count], labels=rows), count
