"""`edit`: an image completed, coloured, or painted by a text, by a model that was trained for none of it."""

import dataclasses
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, UInt8
from ml_collections import ConfigDict

from score_jax.data import images
from score_jax.data.masks import read_mask
from score_jax.errors import InputError, unknown_name
from score_jax.guidance import measurements
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
      colours: whether colours alone are painted, and the sum of each pixel's channels is known.
    """

    measurement: measurements.Measurement
    image: UInt8[np.ndarray, "h w c"]
    shown: UInt8[np.ndarray, "h w c"]
    painted: Float[np.ndarray, "h w 1"]
    colours: bool = False

    def held(self, images: UInt8[np.ndarray, "n h w c"]) -> UInt8[np.ndarray, "n h w c"]:
        """Samples with what is known of the image in them, to the byte: its pixels, or the sums of its colours."""
        if self.colours:
            return with_sums(images, self.image.astype(int).sum(axis=-1))
        return np.where(self.painted > 0, images, self.image)

    def given(self, given: Given, count: int) -> Given:
        """For `count` samples that all have this knowledge."""
        known = np.repeat(self.image[None], count, axis=0)
        return dataclasses.replace(given, measurement=self.measurement, known=known)


def with_sums(images: UInt8[np.ndarray, "n h w c"], sums: Int[np.ndarray, "h w"]) -> UInt8[np.ndarray, "n h w c"]:
    """The nearest images whose channels have these sums: the difference is shared by the channels that have room."""
    channels = images.shape[-1]
    levels = images.astype(np.float64)
    for _ in range(channels):  # each time round, one more channel may have come to its end
        lacking = sums - levels.sum(axis=-1)
        room = np.where(lacking[..., None] > 0, levels < 255, levels > 0)
        share = lacking[..., None] / np.maximum(room.sum(axis=-1, keepdims=True), 1)
        levels = np.clip(np.where(room, levels + share, levels), 0, 255)
    whole = np.floor(levels + 1e-6)
    left = np.rint(sums - whole.sum(axis=-1))[..., None]  # levels that rounding down took
    order = np.argsort(np.argsort(whole - levels, axis=-1, kind="stable"), axis=-1)  # the largest fraction first
    return (whole + (order < left)).astype(np.uint8)


def read_task(config: ConfigDict, task: str, image: str, mask: str | None) -> Task:
    """The image and the mask, by the rule of `masks.read_mask`.

    A blend without a mask paints everywhere.

    Raises:
      InputError: the task is unknown, a file is missing or no image, the mask is none, or it leaves nothing to paint
        or, of inpaint, nothing to keep.
    """
    if task not in TASKS:
        raise unknown_name("--task", task, TASKS)
    data = config.data
    resize = data.resize_filter if data.resize_filter != "none" else "bicubic"
    whole = images.decode(Path(image), image)
    pixels = images.fit(whole, data.image_size, data.channels, resize, image)
    if task == "colorize":
        if config.data.channels != 3:
            raise InputError(f"--task=colorize needs a model of 3 channels, this one has {config.data.channels}.")
        grey = pixels.mean(axis=-1, keepdims=True).round().astype(np.uint8)
        shown = np.repeat(grey, 3, axis=-1)
        return Task(measurements.grey(), pixels, shown, np.ones_like(grey, np.float32), colours=True)
    if not mask and task == "inpaint":
        raise InputError("--task=inpaint needs --mask=FILE: an image that is white where the picture is unknown.")
    painted = np.ones((*pixels.shape[:2], 1), np.float32)
    if mask:
        painted = read_mask(Path(mask), whole, data.image_size, resize)
    if not painted.any():
        raise InputError(f"Nothing white is left of the mask {mask} at {data.image_size} pixels: paint more of it.")
    if task == "inpaint" and painted.all():
        raise InputError(f"The mask {mask} is white everywhere, so that nothing of the image is kept: use `sample`.")
    shown = pixels if task == "blend" else np.where(painted > 0, 128, pixels).astype(np.uint8)
    return Task(measurements.mask(jnp.asarray(1 - painted)[None]), pixels, shown, painted)
