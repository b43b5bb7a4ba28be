"""Pixels as x0: between uint8 images and numbers in a range. The only place that knows a range.

A codec has `encode` and `decode`, the shape of x0, and, where x0 is the whole of an image, what turns a density of x0
into one of images. Pure functions, jit-able, run on the device.
"""

import dataclasses
import math
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree, UInt8

from score_jax.typing import Image, KeyBatch, Rounding

BITS = 8
"""Of a level of an image."""


@dataclasses.dataclass(frozen=True)
class Pixels:
    """Pixels in a range.

    Attributes:
      low: of a black pixel.
      high: of a white one.
      bits: of a level of the data.

    >>> images = jnp.array([0, 255], jnp.uint8).reshape(1, 1, 2, 1)
    >>> codec = Pixels(-1.0, 1.0)
    >>> print(codec.encode(images).ravel(), codec.decode(codec.encode(images)).ravel())
    [-1.  1.] [  0 255]
    """

    low: float = -1.0
    high: float = 1.0
    bits: int = BITS
    dtype: ClassVar[np.dtype] = np.dtype(np.uint8)
    stochastic: ClassVar[bool] = False

    @property
    def bounds(self) -> tuple[float, float]:
        """The smallest and the largest value of x0."""
        return self.low, self.high

    @property
    def width(self) -> float:
        """high - low."""
        return self.high - self.low

    @property
    def centered(self) -> bool:
        """Whether the range is [-1, 1], as some published networks want to know."""
        return self.bounds == (-1.0, 1.0)

    @property
    def log_bin_width(self) -> float:
        """Log of the width of one level, nats: the offset of bits/dim."""
        return math.log(self.width / 2**self.bits)

    @property
    def levels_per_unit(self) -> float:
        """8-bit levels in a unit of x0."""
        return 255 / self.width

    def at(self, frozen: PyTree) -> "Pixels":
        """The codec as it is: no network takes part in it."""
        return self

    def shape(self, image_shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """The shape of x0 of images (h, w, c): theirs."""
        return image_shape

    def encode(self, images: UInt8[Array, "b h w c"]) -> Image:
        """Levels 0..255 to low..high, both ends included."""
        return self.low + self.width * (images.astype(jnp.result_type(float)) / 255)

    def dequantize(self, keys: KeyBatch, images: UInt8[Array, "b h w c"]) -> Image:
        """Uniform dequantisation: level k to low + (high - low)(k + u) / 2^bits, u ~ U[0, 1) from the example's key."""
        noise = jax.vmap(lambda key: jax.random.uniform(key, images.shape[1:]))(keys)
        return self.from_levels(images + noise)

    def from_levels(self, levels: Image) -> Image:
        """Dequantised levels in [0, 2^bits) to low..high."""
        return self.low + self.width * (levels / 2**self.bits)

    def decode(self, x0: Float[Array, "*shape"], rounding: Rounding = "truncated") -> UInt8[Array, "*shape"]:
        """Low..high to levels 0..255, clipped; truncated as in score_sde and ADM, or rounded as in EDM."""
        levels = (x0 - self.low) / self.width * 255 + (0.5 if rounding == "rounded" else 0.0)
        return jnp.clip(levels, 0, 255).astype(jnp.uint8)
