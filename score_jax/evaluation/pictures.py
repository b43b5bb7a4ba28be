"""A picture of samples, whatever they are: images in a grid, points of the plane, rows of bits or numbers."""

import numpy as np
from jaxtyping import Shaped, UInt8

from score_jax.evaluation.image_grid import grid

_ROWS, _BINS = 64, 128


def are_images(samples: Shaped[np.ndarray, "n h w c"]) -> bool:
    """Whether these are images of 8 bits, grey or RGB."""
    return samples.dtype == np.uint8 and samples.shape[-1] in (1, 3) and samples.shape[1] * samples.shape[2] > 1


def picture(samples: Shaped[np.ndarray, "n h w c"], most: int = 256) -> UInt8[np.ndarray, "H W 3"]:
    """Of samples (n, h, w, c): a grid of images of 1 or 3 channels, a plot of points (n, 1, 1, 2), else a picture whose
    rows are the first samples, black where they are smallest and white where they are largest.

    Args:
      samples: in the type of the data.
      most: images of a grid, which is about a square.
    """
    count = len(samples)
    if are_images(samples):
        return grid(samples[:most], columns=max(1, int(min(most, count) ** 0.5)))
    rows = samples.reshape(count, -1)
    if rows.shape[1] == 2:
        return _points(rows)
    rows = rows[:_ROWS].astype(np.float64)
    span = float(np.ptp(rows)) or 1.0
    return grid(((rows - rows.min()) / span * 255).astype(np.uint8)[None, :, :, None], 1, scale=8)


def _points(points: Shaped[np.ndarray, "n 2"]) -> UInt8[np.ndarray, "H W 3"]:
    """How many of them are where: the darker, the more."""
    reach = float(np.abs(points[np.isfinite(points)]).max(initial=1e-3)) * 1.05
    across, up = points.T
    counts, *_ = np.histogram2d(-up, across, bins=_BINS, range=[[-reach, reach]] * 2)
    many = np.quantile(counts[counts > 0], 0.9, method="nearest") if counts.any() else 1.0
    darkness = np.minimum(1.0, counts / many)
    return grid((255 * (1 - darkness)).astype(np.uint8)[None, :, :, None], 1, scale=4)
