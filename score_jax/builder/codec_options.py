"""The `codec` section: between images and what the model calls x0."""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

from score_jax.builder.options import Options, option
from score_jax.errors import InputError


@dataclasses.dataclass(frozen=True, kw_only=True)
class PixelRange(Options):
    """Pixels in a range of numbers; every channel of every pixel is a dimension of x0."""

    SECTION: ClassVar[str] = "codec"
    value_range: tuple[float, float] = option((-1.0, 1.0), "of the model's images, which are black at the first")

    def __post_init__(self):
        super().__post_init__()
        low, high = self.value_range
        if not low < high:
            raise InputError(f"codec.value_range={self.value_range}: give the lower end first, e.g. (-1.0, 1.0).")


CODECS: Mapping[str, type[Options]] = {"pixels": PixelRange}
