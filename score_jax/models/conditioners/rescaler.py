"""A segmentation at the size of a latent (Rombach et al. 2022; SpatialRescaler in the original).

The interpolations are those of PyTorch with a given factor, `align_corners=False` and no antialiasing.
"""

from collections.abc import Callable, Mapping
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from score_jax.errors import InputError, entry_of
from score_jax.models.blocks.initializers import bias_uniform, fan_in_uniform
from score_jax.models.conditions import Condition, DeclaredConditions
from score_jax.typing import Image, Resized

_CUBIC = -0.75
"""The free coefficient of PyTorch's cubic convolution."""
Weights = Float[np.ndarray, "out in"]


def _gather(size: int, indices: Float[np.ndarray, "taps out"], weights: Float[np.ndarray, "taps out"]) -> Weights:
    """The matrix of outputs that are so weighted sums of inputs, those beyond an edge being the edge's."""
    columns = np.clip(indices, 0, size - 1).astype(int)
    matrix = np.zeros((columns.shape[1], size))
    np.add.at(matrix, (np.broadcast_to(np.arange(columns.shape[1]), columns.shape), columns), weights)
    return matrix


def _centres(size: int, multiplier: float) -> Float[np.ndarray, "out"]:
    """Where the centres of the output's pixels are among the input's."""
    return (np.arange(int(size * multiplier)) + 0.5) / multiplier - 0.5


def _nearest(size: int, multiplier: float) -> Weights:
    indices = np.floor(np.arange(int(size * multiplier)) / multiplier)
    return _gather(size, indices[None], np.ones((1, len(indices))))


def _bilinear(size: int, multiplier: float) -> Weights:
    at = np.maximum(_centres(size, multiplier), 0)
    below = np.floor(at)
    return _gather(size, np.stack([below, below + 1]), np.stack([1 - (at - below), at - below]))


def _bicubic(size: int, multiplier: float) -> Weights:
    at = _centres(size, multiplier)
    taps = np.floor(at) + np.arange(-1, 3)[:, None]
    d = np.abs(at - taps)
    near = ((_CUBIC + 2) * d - (_CUBIC + 3)) * d**2 + 1
    far = ((_CUBIC * d - 5 * _CUBIC) * d + 8 * _CUBIC) * d - 4 * _CUBIC
    return _gather(size, taps, np.where(d <= 1, near, far))


def _area(size: int, multiplier: float) -> Weights:
    n = int(size * multiplier)
    first, last = np.arange(n) * size // n, -(-np.arange(1, n + 1) * size // n)
    covered = (np.arange(size) >= first[:, None]) & (np.arange(size) < last[:, None])
    return covered / covered.sum(axis=1, keepdims=True)


METHODS: Mapping[str, Callable[[int, float], Weights]] = {
    "nearest": _nearest,
    "bilinear": _bilinear,
    "bicubic": _bicubic,
    "area": _area,
}
"""By name, the matrix from an axis of a size to that size times a multiplier, rounded down."""


def rescale(x: Image, method: str, multiplier: float) -> Resized:
    """x (b, h, w, c) with both sides times `multiplier`, rounded down.

    Raises:
      InputError: the method is unknown, or nothing would be left.
    """
    weights_of = entry_of(METHODS, "method of interpolation", method)
    if min(x.shape[1:3]) * multiplier < 1:
        raise InputError(f"An image of {x.shape[1]} x {x.shape[2]} times {multiplier} is empty: give a larger one.")
    rows, columns = (jnp.asarray(weights_of(size, multiplier), x.dtype) for size in x.shape[1:3])
    return jnp.einsum("ih,jw,bhwc->bijc", rows, columns, x, precision=jax.lax.Precision.HIGHEST)


class SpatialRescaler(nn.Module):
    """Resizes an image some times by a factor, then mixes its channels.

    Attributes:
      stages: how often it is resized.
      method: key of `METHODS`.
      multiplier: of both sides at each stage.
      in_channels: of the image, such as the number of classes of a segmentation.
      out_channels: of the condition; None: those of the image, which are not mixed.
      bias: whether the mixed channels have a bias.
    """

    stages: int = 1
    method: str = "bilinear"
    multiplier: float = 0.5
    in_channels: int = 3
    out_channels: int | None = None
    bias: bool = False

    makes: ClassVar[str] = "concat"

    def conditions(self, image_shape: tuple[int, int, int]) -> DeclaredConditions:
        """An image that is resized to `image_shape`, that of the network's input."""
        height, width = (round(size / self.multiplier**self.stages) for size in image_shape[:2])
        return {"segmentation": Condition((height, width, self.in_channels))}

    @nn.compact
    def __call__(self, segmentation: Image) -> Resized:
        """The condition (b, h, w, out_channels) of images (b, H, W, in_channels).

        Raises:
          InputError: the image has other channels or is too small, or the method is unknown.
        """
        if segmentation.shape[-1] != self.in_channels:
            raise InputError(
                f"The condition 'segmentation' has {segmentation.shape[-1]} channels where {self.in_channels} are "
                "expected: give one channel per class."
            )
        x = segmentation
        for _ in range(self.stages):
            x = rescale(x, self.method, self.multiplier)
        if self.out_channels is None:
            return x
        init, bias_init = fan_in_uniform(1 / 3), bias_uniform(self.in_channels)
        dense = nn.Dense(
            self.out_channels, use_bias=self.bias, kernel_init=init, bias_init=bias_init, name="channel_mapper"
        )
        return dense(x)
