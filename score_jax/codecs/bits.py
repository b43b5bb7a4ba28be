"""Bits as x0: black and white pixels."""

import dataclasses
from typing import ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree, UInt8

from score_jax.typing import Image, KeyBatch, Rounding


@dataclasses.dataclass(frozen=True)
class Bits:
    """A pixel is 1 from a level on, else 0; a probability of x0 is one of the black and white image.

    Attributes:
      threshold: the first level of 0 to 255 that is white.

    >>> images = jnp.array([0, 255], jnp.uint8).reshape(1, 1, 1, 2)
    >>> print(Bits().encode(images).ravel(), Bits().decode(Bits().encode(images)).ravel())
    [0. 1.] [  0 255]
    """

    threshold: int = 128
    dtype: ClassVar[np.dtype] = np.dtype(np.uint8)
    stochastic: ClassVar[bool] = False
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    width: ClassVar[float] = 1.0
    centered: ClassVar[bool] = False
    log_bin_width: ClassVar[float] = 0.0
    levels_per_unit: ClassVar[float] = 1.0

    def at(self, frozen: PyTree) -> "Bits":
        """The codec as it is: no network takes part in it."""
        return self

    def shape(self, image_shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """The shape of x0 of images (h, w, c): theirs."""
        return image_shape

    def encode(self, images: UInt8[Array, "b h w c"]) -> Image:
        """0 or 1, as floats."""
        return (images >= self.threshold).astype(jnp.result_type(float))

    def dequantize(self, keys: KeyBatch, images: UInt8[Array, "b h w c"]) -> Image:
        """The same: bits are modelled as bits."""
        return self.encode(images)

    def decode(self, x0: Float[Array, "*shape"], rounding: Rounding = "truncated") -> UInt8[Array, "*shape"]:
        """Black or white."""
        return jnp.where(x0 > 0.5, 255, 0).astype(jnp.uint8)
