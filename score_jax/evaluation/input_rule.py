"""From images of any size to what a network of features sees."""

import dataclasses
import functools
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from score_jax.evaluation.resize import Resize, matrices, padded_length, resize, resize_by

PerChannel = tuple[float, float, float]
IMAGENET_MEAN: PerChannel = (0.485, 0.456, 0.406)
IMAGENET_STD: PerChannel = (0.229, 0.224, 0.225)
"""Of levels from 0 to 1."""


@dataclasses.dataclass(frozen=True)
class InputRule:
    """A network's input, (x - centre) / scale of levels x from 0 to 255, in three channels.

    Attributes:
      size: its height and width.
      resize: how an image comes to it, see `resize.resize`.
      centre: levels that become 0, one for each channel or one for all.
      scale: levels that become 1 more, likewise.
      crop: whether the square in the middle of an image is taken before.
    """

    size: int
    resize: Resize
    centre: tuple[float, ...]
    scale: tuple[float, ...]
    crop: bool = False


def normalising(
    size: int,
    how: Resize,
    mean: PerChannel = IMAGENET_MEAN,
    std: PerChannel = IMAGENET_STD,
    *,
    crop: bool = False,
) -> InputRule:
    """Returns the rule of a network that sees each channel less its mean and over its deviation, of levels 0 to 1."""
    centre, scale = (tuple(255 * value for value in values) for values in (mean, std))
    return InputRule(size, how, centre, scale, crop)


Pixels = TypeVar("Pixels", Array, np.ndarray)


def _square(images: Pixels) -> Pixels:
    """The middle of images (..., h, w, c), as large as it can be."""
    height, width = images.shape[-3:-1]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return images[..., top : top + side, left : left + side, :]


def prepared(images: UInt8[Array, "b h w c"], rule: InputRule) -> Float[Array, "b s s 3"]:
    """Images of any one size, grey or RGB, as the network sees them."""
    levels = (_square(images) if rule.crop else images).astype(jnp.result_type(float))
    return _normalised(resize(levels, (rule.size, rule.size), rule.resize), rule)


def _normalised(levels: Float[Array, "b s s c"], rule: InputRule) -> Float[Array, "b s s 3"]:
    centre, scale = (jnp.asarray(values, levels.dtype)[None, None, None] for values in (rule.centre, rule.scale))
    return jnp.broadcast_to((levels - centre) / scale, (*levels.shape[:3], 3))


@functools.partial(jax.jit, static_argnames=("rule",))
def _prepared_by(images, rows, columns, rule: InputRule) -> Float[Array, "b s s 3"]:
    return _normalised(resize_by(images.astype(rows.dtype), rows, columns, rule.resize), rule)


@functools.lru_cache(maxsize=1024)
def _padded_matrix(length: int, size: int, how: Resize) -> Float[np.ndarray, "{size} _"]:
    """That of one axis, with zeros for the pixels that are not there."""
    matrix, _ = matrices((length, length), (size, size), how)
    return np.pad(matrix, ((0, 0), (0, padded_length(length) - length))).astype(jnp.result_type(float))


def prepared_alone(image: UInt8[np.ndarray, "h w c"], rule: InputRule) -> Float[np.ndarray, "s s 3"]:
    """`prepared` of one image among images of many sizes: padded to one of few sizes, each compiled once."""
    image = _square(image) if rule.crop else image
    rows, columns = (_padded_matrix(length, rule.size, rule.resize) for length in image.shape[:2])
    height, width, _ = image.shape
    padded = np.pad(image, ((0, rows.shape[1] - height), (0, columns.shape[1] - width), (0, 0)))
    return np.asarray(_prepared_by(padded[None], rows, columns, rule)[0])
