"""Dead leaves: images of occluding discs, the procedural data set of Sohl-Dickstein et al. 2015, any size, unlimited.

Discs fall until they cover the image; radii follow p(r) ~ r^-3 between two bounds, the law under which statistics do
not depend on scale (Lee, Mumford and Huang 2001); centres and colours are uniform.
"""

import dataclasses
import operator
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8


def dead_leaves(
    rng: np.random.Generator,
    size: int,
    channels: int = 3,
    smallest: float = 1.0,
    largest: float | None = None,
) -> UInt8[np.ndarray, "{size} {size} {channels}"]:
    """One image.

    Args:
      rng: source of randomness.
      size: height and width in pixels.
      channels: 1 or 3.
      smallest: smallest radius, pixels.
      largest: largest radius, pixels; half of `size` if None.
    """
    largest = size / 2 if largest is None else largest
    image = np.zeros((size, size, channels), np.uint8)
    bare = np.ones((size, size), bool)
    y, x = np.mgrid[:size, :size]
    # Painted from the topmost disc down: a pixel keeps the first colour it gets.
    while bare.any():
        u = rng.random()
        radius = (smallest**-2 + u * (largest**-2 - smallest**-2)) ** -0.5
        row, column = rng.uniform(-largest, size + largest, 2)
        colour = rng.integers(0, 256, channels)
        hit = bare & ((y - row) ** 2 + (x - column) ** 2 <= radius**2)
        image[hit] = colour
        bare &= ~hit
    return image


@dataclasses.dataclass(frozen=True)
class DeadLeavesImages(Sequence[dict]):
    """`length` images as a random-access sequence: image i depends on the seed and on i alone."""

    seed: int
    size: int
    channels: int
    length: int

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, i):
        rng = np.random.default_rng((self.seed, operator.index(i)))
        return {"image": dead_leaves(rng, self.size, self.channels), "label": 0}
