"""`edit`: an image completed, coloured, or painted by a text, by a model that was trained for none of it."""

import dataclasses
import math
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, Shaped, UInt8
from ml_collections import ConfigDict

from score_jax.builder import codec_of
from score_jax.codecs.codec import Codec
from score_jax.codecs.pixels import Pixels
from score_jax.data import images
from score_jax.data.masks import read_mask
from score_jax.data.sources import TOYS
from score_jax.errors import InputError, unknown_name
from score_jax.guidance import measurements
from score_jax.jobs.sample import Given
from score_jax.runtime.array_files import read_arrays

TASKS = ("inpaint", "colorize", "blend", "denoise", "sdedit")


@dataclasses.dataclass(frozen=True)
class Task:
    """What is known of one image.

    Attributes:
      measurement: how it is seen; None: it is begun with, and nothing of it is held.
      image: the image (h, w, c), in the type of the data.
      shown: the image as it is known, the rest grey.
      painted: 1 where the image is painted anew; colorize and denoise paint everywhere.
      colours: whether colours alone are painted, and the sum of each pixel's channels is known.
      noise: in the image, levels; of bits the share that is wrong.
      strength: share of the steps that are taken from the image, noised; None: all are, from noise alone.
    """

    measurement: measurements.Measurement | None
    image: Shaped[np.ndarray, "h w c"]
    shown: Shaped[np.ndarray, "h w c"]
    painted: Float[np.ndarray, "h w _"]
    colours: bool = False
    noise: float = 0.0
    strength: float | None = None

    def held(self, images: Shaped[np.ndarray, "n h w c"]) -> Shaped[np.ndarray, "n h w c"]:
        """Samples with what is known of the image in them, to the byte: its pixels, or the sums of its colours."""
        if self.colours:
            return with_sums(images, self.image.astype(int).sum(axis=-1))
        return np.where(self.painted > 0, images, self.image)

    def given(self, given: Given, count: int, *, fills_holes: bool = False) -> Given:
        """For `count` samples that all have this knowledge, of a model that is given image and mask as conditions, or
        of any other.

        Raises:
          InputError: such a model is to do something else than to fill a hole.
        """
        known = np.repeat(self.image[None], count, axis=0)
        if fills_holes:
            if self.measurement is None or self.colours or self.noise:
                raise InputError("This model fills holes, and nothing else: give --task=inpaint and --mask=FILE.")
            mask = np.repeat(self.painted[None].astype(np.uint8), count, axis=0)
            return dataclasses.replace(given, conditions={**given.conditions, "image": known, "mask": mask})
        return dataclasses.replace(
            given, measurement=self.measurement, known=known, noise=self.noise, strength=self.strength
        )

    def changes(
        self, drawn: Shaped[np.ndarray, "n h w c"], results: Shaped[np.ndarray, "n h w c"]
    ) -> dict[str, float | None]:
        """Returns how far samples are from the image, in units of the data (pixels: grey levels).

        "painted_share" is the share of the pixels that are painted, "painted_mean_change" the mean change of a number
        there. "kept_largest_error" is the largest error of what is known (of colours the sum of the channels) in the
        results, "drawn_mean_error" and "drawn_largest_error" the errors of the samples as the model has drawn them,
        before `held`; all three None where nothing is known.
        """
        change = np.abs(results - self.image.astype(np.float64))
        painted = np.broadcast_to(self.painted > 0, self.image.shape)
        found: dict[str, float | None] = {
            "painted_share": float(painted.mean()),
            "painted_mean_change": float(change[:, painted].mean()),
        }
        kept, before = self._errors(results), self._errors(drawn)
        if not kept.size:
            return found | dict.fromkeys(("kept_largest_error", "drawn_mean_error", "drawn_largest_error"))
        return found | {
            "kept_largest_error": float(kept.max()),
            "drawn_mean_error": float(before.mean()),
            "drawn_largest_error": float(before.max()),
        }

    def _errors(self, images: Shaped[np.ndarray, "n h w c"]) -> Float[np.ndarray, "..."]:
        """Of what is known of the image."""
        difference = images - self.image.astype(np.float64)
        if self.colours:
            return np.abs(difference.sum(axis=-1))
        return np.abs(difference[:, np.broadcast_to(self.painted == 0, self.image.shape)])


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


def _read_array(file: str, data: ConfigDict) -> Shaped[np.ndarray, "1 1 c"]:
    """Numbers of one example of data that are no images, as the file has them.

    Raises:
      InputError: the file cannot be read, or holds another shape or type.
    """
    arrays = list(read_arrays(Path(file)).values())
    shape = (data.image_size, data.image_size, data.channels)
    if len(arrays) != 1 or arrays[0].size != math.prod(shape) or arrays[0].dtype.kind not in "biuf":
        held = ", ".join(f"{array.dtype} of shape {array.shape}" for array in arrays[:3])
        raise InputError(f"{file} holds {held}: expected the {data.channels} numbers of one example.")
    if not np.isfinite(arrays[0]).all():
        raise InputError(f"{file} holds numbers that are not finite: give finite ones.")
    return arrays[0].reshape(shape)


def _read_example(file: str, data: ConfigDict) -> Shaped[np.ndarray, "1 1 c"]:
    """One example of data that are no images, in the type of the data set; a bit may be written as 1 or as 255.

    Raises:
      InputError: the file cannot be read, or holds no such example.
    """
    array, dtype = _read_array(file, data), TOYS[data.name](0, 1).dtype
    if dtype == np.uint8:
        ones = array > 0
        if (not (array[ones] == 1).all() and not (array[ones] == 255).all()) or (array < 0).any():
            raise InputError(f"{file} holds other numbers than bits: give zeros and ones, or 0 and 255.")
        return np.where(ones, 255, 0).astype(np.uint8)
    with np.errstate(over="ignore"):
        example = array.astype(dtype)
    if not np.isfinite(example).all():
        raise InputError(f"{file} holds numbers that {dtype} cannot hold: give smaller ones.")
    return example


_LEAST_NOISE = 1e-6
"""Below it the square of a standard deviation is lost in float32."""


def _check_noise(config: ConfigDict, task: str, noise: float | None) -> None:
    """Raises InputError where the noise is none of this task and these data."""
    if (task == "denoise") != (noise is not None):
        raise InputError(
            "--task=denoise needs --noise, the standard deviation of the noise, e.g. 25; other tasks have none."
        )
    most = 1.0 if config.codec.name == "bits" else math.inf
    if noise is not None and not _LEAST_NOISE <= noise < most:
        less = ", and less than 1, because it is the share of wrong bits" if most == 1.0 else ""
        raise InputError(f"--noise={noise:g}: give a finite number of at least {_LEAST_NOISE:g}{less}.")


def _check_strength(task: str, strength: float | None) -> None:
    """Raises InputError where the strength is none of this task."""
    if (task == "sdedit") != (strength is not None):
        raise InputError(
            "--task=sdedit needs --strength, the share of the steps that change the image, e.g. 0.75; other tasks have "
            "none."
        )


def _resize_of(data: ConfigDict) -> str:
    """The filter for images that are given, also where those of the data need none."""
    return data.resize_filter if data.resize_filter != "none" else "bicubic"


def fitted(image: UInt8[np.ndarray, "_ _ _"], data: ConfigDict, name: str) -> UInt8[np.ndarray, "_ _ c"]:
    """A given image at the size and with the channels of the section `data`; `name` is for messages."""
    return images.fit(image, data.image_size, data.channels, _resize_of(data), name)


def _held_in(codec: Codec, painted: Float[np.ndarray, "h w _"]) -> measurements.Measurement:
    """What is known of x0 where a part of the image is painted: of latents those of whose pixels none is."""
    height, width, _ = codec.shape((*painted.shape[:2], 1))
    cells = painted.reshape(height, painted.shape[0] // height, width, painted.shape[1] // width, -1)
    return measurements.mask(jnp.asarray(1 - cells.max(axis=(1, 3)))[None])


def read_task(
    config: ConfigDict,
    task: str,
    image: str,
    mask: str | None,
    noise: float | None = None,
    strength: float | None = None,
) -> Task:
    """The image and the mask, by the rule of `masks.read_mask`; of data that are no images, arrays of their shape in
    .npy files.

    A blend without a mask paints everywhere.

    Args:
      config: of the run.
      task: of `TASKS`.
      image: the file.
      mask: the file of what is painted.
      noise: of denoise: standard deviation of the noise in the image, levels; of bits, the share that is wrong.
      strength: of sdedit.

    Raises:
      InputError: the task is unknown, a file is missing or no image, the mask is none or is given to a task that has
        none, or it leaves nothing to paint or, of inpaint, nothing to keep; denoise without noise, or the other way.
    """
    if task not in TASKS:
        raise unknown_name("--task", task, TASKS)
    data = config.data
    as_array = data.name in TOYS
    whole = _read_example(image, data) if as_array else images.decode(Path(image), image)
    pixels = whole if as_array else fitted(whole, data, image)
    painted = None
    if mask and task in ("inpaint", "blend"):
        painted = (
            (_read_array(mask, data) > 0).astype(np.float32)
            if as_array
            else read_mask(Path(mask), whole, data.image_size, _resize_of(data))
        )
    found = task_of(config, task, pixels, painted, noise, strength)
    if mask and painted is None:
        raise InputError(f"--mask is for --task=inpaint and blend, not {task}: leave it out.")
    return found


def task_of(
    config: ConfigDict,
    task: str,
    pixels: Shaped[np.ndarray, "h w c"],
    painted: Float[np.ndarray, "h w _"] | None = None,
    noise: float | None = None,
    strength: float | None = None,
) -> Task:
    """Returns what is known of an image, in the shape and type of the data.

    Args:
      config: of the run.
      task: of `TASKS`.
      pixels: the image.
      painted: of inpaint and blend: 1 where the image is painted anew; None, of blend: everywhere.
      noise: as of `read_task`.
      strength: likewise.

    Raises:
      InputError: the model cannot do the task, or nothing is painted or, of inpaint, nothing is kept.
    """
    _check_noise(config, task, noise)
    _check_strength(task, strength)
    data, codec, everywhere = config.data, codec_of(config), np.ones(pixels.shape, np.float32)
    if task == "sdedit":
        return Task(None, pixels, pixels, everywhere, strength=strength)
    if task == "denoise":
        seen = measurements.mask(jnp.asarray(everywhere)[None])
        return Task(seen, pixels, pixels, everywhere, noise=float(noise or 0.0))
    if task == "colorize":
        if data.channels != 3:
            raise InputError(f"--task=colorize needs a model with 3 channels, but this one has {data.channels}.")
        if not isinstance(codec, Pixels):
            raise InputError(
                "--task=colorize needs a model of pixels, and this one models latents: choose another task."
            )
        grey = pixels.mean(axis=-1, keepdims=True).round().astype(np.uint8)
        shown = np.repeat(grey, 3, axis=-1)
        return Task(measurements.grey(), pixels, shown, np.ones_like(grey, np.float32), colours=True)
    if task == "inpaint" and painted is None:
        raise InputError("--task=inpaint needs --mask=FILE: an image that is white where the picture is unknown.")
    painted = np.ones((*pixels.shape[:2], 1), np.float32) if painted is None else painted
    if not painted.any():
        raise InputError(
            f"The mask has no white pixel after resizing to {data.image_size} pixels: make the white part larger."
        )
    if task == "inpaint" and painted.all():
        raise InputError("The mask is white everywhere, so nothing of the image is kept: use `sample` instead.")
    nothing = 0 if data.name in TOYS else 128
    shown = pixels if task == "blend" else np.where(painted > 0, nothing, pixels).astype(pixels.dtype)
    return Task(_held_in(codec, painted), pixels, shown, painted)
