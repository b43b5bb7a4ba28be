"""Random holes that models which fill holes are trained on: a few boxes, as many inpainting works begin with."""

import numpy as np
from jaxtyping import UInt8

_MOST_BOXES = 3
_SMALLEST, _LARGEST = 0.2, 0.7
"""Sides of a box as shares of those of the image."""


def random_boxes(rng: np.random.Generator, height: int, width: int) -> UInt8[np.ndarray, "{height} {width} 1"]:
    """Returns a mask that is 1 in one to three boxes, each with sides of a fifth to seven tenths of the image's."""
    mask = np.zeros((height, width, 1), np.uint8)
    for _ in range(rng.integers(1, _MOST_BOXES + 1)):
        sides = [max(1, round(rng.uniform(_SMALLEST, _LARGEST) * size)) for size in (height, width)]
        top, left = (rng.integers(0, size - side + 1) for size, side in zip((height, width), sides, strict=True))
        mask[top : top + sides[0], left : left + sides[1]] = 1
    return mask
