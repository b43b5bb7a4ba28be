"""Images for a super-resolution model to enlarge, as `sample` writes them."""

import dataclasses
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from score_jax.builder import Experiment
from score_jax.data.labels import checked_labels
from score_jax.errors import InputError, counted, named, plural
from score_jax.jobs.sample import Given
from score_jax.runtime.array_files import read_arrays
from score_jax.runtime.multihost import print_once


def read_samples(path: Path) -> tuple[UInt8[np.ndarray, "n h w c"], np.ndarray | None]:
    """Returns the images (arr_0) and, if there are any, what should be their classes (arr_1), of an .npz file.

    Raises:
      InputError: it cannot be read, or holds something else.
    """
    arrays = read_arrays(path)
    if "arr_0" not in arrays:
        raise InputError(
            f"{path} holds {', '.join(map(named, sorted(arrays)[:8]))}: expected images in an array arr_0."
        )
    images, labels = arrays["arr_0"], arrays.get("arr_1")
    if images.dtype != np.uint8 or images.ndim != 4 or not len(images):
        raise InputError(f"{path} holds {images.dtype} of shape {images.shape}: expected uint8 images (n, h, w, c).")
    return images, labels


def enlarging(given: Given, experiment: Experiment, base: str | None, count: int) -> tuple[Given, int]:
    """Returns `given` with the images to enlarge, and the number of samples: that of the images, at most `count`.

    Raises:
      InputError: the model enlarges and no images are named, or the other way; or they have another shape, or classes
        that the model does not know.
    """
    size, channels = experiment.config.data.low_resolution, experiment.image_shape[2]
    if not base:
        if size:
            raise InputError(f"This model enlarges images of {size} x {size}: give them with --base=samples.npz.")
        return given, count
    if not size:
        raise InputError(
            "--base is only for super-resolution models (data.low_resolution), and this one draws from noise: "
            "leave it out."
        )
    images, labels = read_samples(Path(base))
    if images.shape[1:] != (size, size, channels):
        height, width, found = images.shape[1:]
        raise InputError(
            f"The images in {base} are {height} x {width} with {found} channels, but the model enlarges "
            f"{size} x {size} with {channels}: give such images."
        )
    classes, conditions = given.num_classes(experiment), {}
    if classes and experiment.config.sampling.label < 0:
        if labels is None:
            raise InputError(
                f"{base} has no classes (arr_1), but the model has {classes} classes: add arr_1, or give one class for "
                "all images, e.g. --config.sampling.label=0."
            )
        conditions = {"label": checked_labels(labels, len(images), classes, base)}
    if len(images) < count:
        print_once(f"{base} has {counted(len(images), 'image')}: no more {plural(len(images), 'is', 'are')} enlarged.")
    count = min(count, len(images))
    conditions = {name: rows[:count] for name, rows in ({"low_res": images} | conditions).items()}
    return dataclasses.replace(given, conditions=conditions), count
