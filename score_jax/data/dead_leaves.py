"""Dead leaves: images of occluding discs, the procedural data set of Sohl-Dickstein et al. 2015, any size, unlimited.

Discs fall until they cover the image; radii follow p(r) ~ r^-3 between two bounds, the law under which statistics do
not depend on scale (Lee, Mumford and Huang 2001); centres and colours are uniform.
"""

import dataclasses
import operator
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

_AT_A_TIME = 64
"""Discs that are compared with the pixels at once."""


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
        discs = [_disc(rng, size, channels, smallest, largest) for _ in range(_AT_A_TIME)]
        row, column, squared, colours = map(np.array, zip(*discs, strict=True))
        inside = (y[bare] - row[:, None]) ** 2 + (x[bare] - column[:, None]) ** 2 <= squared[:, None]
        hit, covered = inside.any(axis=0), bare.copy()
        covered[bare] = hit
        image[covered] = colours[inside.argmax(axis=0)[hit]]
        bare &= ~covered
    return image


def _disc(
    rng: np.random.Generator, size: int, channels: int, smallest: float, largest: float
) -> tuple[float, float, float, np.ndarray]:
    """Row and column of the centre, the square of the radius, and the colour."""
    u, across, down = rng.random(), rng.random(), rng.random()
    radius = (smallest**-2 + u * (largest**-2 - smallest**-2)) ** -0.5
    span = (size + largest) + largest
    return across * span - largest, down * span - largest, radius**2, rng.integers(0, 256, channels)


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
