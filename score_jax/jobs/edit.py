"""`edit`: an image completed, coloured, or painted by a text, by a model that was trained for none of it."""

import dataclasses
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8
from ml_collections import ConfigDict

from score_jax import constraints
from score_jax.data import images
from score_jax.errors import InputError, unknown_name
from score_jax.jobs.sample import Given

TASKS = ("inpaint", "colorize", "blend")


@dataclasses.dataclass(frozen=True)
class Task:
    """What is known of one image.

    Attributes:
      measurement: how it is seen.
      image: the image (h, w, c).
      shown: the image as it is known, the rest grey.
      painted: 1 where the image is painted anew; colorize paints everywhere.
    """

    measurement: constraints.Measurement
    image: UInt8[np.ndarray, "h w c"]
    shown: UInt8[np.ndarray, "h w c"]
    painted: Float[np.ndarray, "h w 1"]

    def given(self, given: Given, count: int) -> Given:
        """For `count` samples that all have this knowledge."""
        known = np.repeat(self.image[None], count, axis=0)
        return dataclasses.replace(given, measurement=self.measurement, known=known)


def _fitted(path: str, config: ConfigDict, channels: int) -> UInt8[np.ndarray, "h w c"]:
    data = config.data
    resize = data.resize_filter if data.resize_filter != "none" else "bicubic"
    return images.fit(images.decode(Path(path), path), data.image_size, channels, resize, path)


def read_task(config: ConfigDict, task: str, image: str, mask: str | None) -> Task:
    """The image and the mask: white where the image is to be painted anew, black where it is kept.

    A blend without a mask paints everywhere.

    Raises:
      InputError: the task is unknown, a file is missing or no image, or the mask leaves nothing to paint.
    """
    if task not in TASKS:
        raise unknown_name("--task", task, TASKS)
    pixels = _fitted(image, config, config.data.channels)
    if task == "colorize":
        if config.data.channels != 3:
            raise InputError(f"--task=colorize needs a model of 3 channels, this one has {config.data.channels}.")
        grey = pixels.mean(axis=-1, keepdims=True).round().astype(np.uint8)
        return Task(constraints.grey(), pixels, np.repeat(grey, 3, axis=-1), np.ones_like(grey, np.float32))
    if not mask and task == "inpaint":
        raise InputError("--task=inpaint needs --mask=FILE: an image that is white where the picture is unknown.")
    painted = np.ones((*pixels.shape[:2], 1), np.float32)
    if mask:
        painted = (_fitted(mask, config, 1) >= 128).astype(np.float32)
    if not painted.any():
        raise InputError(f"The mask {mask} is black everywhere: make white what is to be painted anew.")
    shown = pixels if task == "blend" else np.where(painted > 0, 128, pixels).astype(np.uint8)
    return Task(constraints.mask(jnp.asarray(1 - painted)[None]), pixels, shown, painted)
