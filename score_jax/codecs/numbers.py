"""Numbers as x0: points, and other data that are no images, as arrays (1, 1, d)."""

import dataclasses
from typing import ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from score_jax.typing import Image, KeyBatch, Rounding


@dataclasses.dataclass(frozen=True)
class Numbers:
    """The data as they are; a density of x0 is one of the data.

    Attributes:
      low: what no number of the data is below.
      high: what none is above. Nothing is cut at these: they say of what size the data are.
    """

    low: float = -3.0
    high: float = 3.0
    dtype: ClassVar[np.dtype] = np.dtype(np.float32)
    stochastic: ClassVar[bool] = False
    centered: ClassVar[bool] = False
    log_bin_width: ClassVar[float] = 0.0
    levels_per_unit: ClassVar[float] = 1.0

    @property
    def bounds(self) -> tuple[float, float]:
        """The range of the data."""
        return self.low, self.high

    @property
    def width(self) -> float:
        """Of the range."""
        return self.high - self.low

    def at(self, frozen: PyTree) -> "Numbers":
        """The codec as it is: no network takes part in it."""
        return self

    def shape(self, image_shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """The shape of x0 of data of this shape: theirs."""
        return image_shape

    def encode(self, images: Float[Array, "b h w c"]) -> Image:
        """The numbers, in the type that the model computes in."""
        return images.astype(jnp.result_type(float))

    def dequantize(self, keys: KeyBatch, images: Float[Array, "b h w c"]) -> Image:
        """The same: numbers have no levels."""
        return self.encode(images)

    def decode(self, x0: Float[Array, "*shape"], rounding: Rounding = "truncated") -> Float[Array, "*shape"]:
        """The numbers in float32."""
        return x0.astype(jnp.float32)
