"""The resizes of images that FID depends on, against their closed forms."""

import jax
import numpy as np
from jaxtyping import Float

from score_jax.evaluation import resize
from score_jax.self_test.check import EPS, Check, Measured, compared, largest

_FROM, _TO = (33, 48), (75, 21)
"""Larger in height, smaller in width."""


def _places(how: resize.Resize, length: int, out: int) -> Float[np.ndarray, "out"]:
    """Where the pixels of the output lie among those of the input."""
    places = np.arange(out) * (length / out) if how == "tf1" else (np.arange(out) + 0.5) * (length / out) - 0.5
    return np.clip(places, 0, length - 1)


def resizes() -> Measured:
    """A plane stays a plane under both bilinear resizes, and a constant a constant under all three.

    Relative to the range of levels, 255; a pixel is two sums of products with weights that add up to 1, each rounded:
    bound 8 eps.
    """
    rows, columns = (np.arange(length, dtype=np.float64) for length in _FROM)
    slopes = np.array([[3.0, 0.5], [1.0, 4.0], [0.0, 0.0]])  # of each channel, in levels; the last is a constant
    plane = slopes[:, 0] * rows[:, None, None] + slopes[:, 1] * columns[None, :, None] + 7
    measured = []
    for how in ("tf1", "torch", "clean"):
        got = jax.jit(lambda images, how=how: resize.resize(images, _TO, how))(plane[None].astype(np.float32))
        down, right = (_places(how, length, out) for length, out in zip(_FROM, _TO, strict=True))
        want = slopes[:, 0] * down[:, None, None] + slopes[:, 1] * right[None, :, None] + 7
        kept = slice(2, 3) if how == "clean" else slice(None)  # bicubic at the edges bends a plane
        measured.append(compared(got[0, ..., kept], want[..., kept], 255.0, 8 * EPS, f"of the resize {how!r}"))
    return largest(*measured)


CHECKS = (Check("resizes", resizes, "The resize of images to the Inception's size is wrong, and FID with it"),)
