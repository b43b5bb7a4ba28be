"""What the rest of the library asks of a codec."""

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Array, PyTree, Shaped

from score_jax.typing import Image, KeyBatch, Rounding


@runtime_checkable
class Codec(Protocol):
    """Between the arrays of a data set, here called images whatever they show, and x0."""

    @property
    def dtype(self) -> np.dtype:
        """Of the images."""

    @property
    def bounds(self) -> tuple[float, float]:
        """The smallest and the largest value of x0."""

    @property
    def width(self) -> float:
        """The distance of the bounds."""

    @property
    def centered(self) -> bool:
        """Whether the bounds are -1 and 1."""

    @property
    def log_bin_width(self) -> float:
        """Log of the width of a level of the images in x0, nats; 0 of data without levels."""

    @property
    def levels_per_unit(self) -> float:
        """Levels of the images in a unit of x0."""

    @property
    def stochastic(self) -> bool:
        """Whether a model is trained on draws of x0 given the images, those of `dequantize`, in any case."""

    def at(self, frozen: PyTree) -> "Codec":
        """The codec with the parameters of the network that it encodes and decodes by, if it has one.

        Args:
          frozen: parameters by the name of the network that is not trained.
        """

    def shape(self, image_shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """The shape of x0 of images (h, w, c)."""

    def encode(self, images: Shaped[Array, "b h w c"]) -> Image:
        """x0 of images."""

    def dequantize(self, keys: KeyBatch, images: Shaped[Array, "b h w c"]) -> Image:
        """x0 of images, spread over the width of a level by uniform noise from the keys, where there are levels."""

    def decode(self, x0: Image, rounding: Rounding = "truncated") -> Shaped[Array, "b h w c"]:
        """The images of x0."""
