"""NCSNv2's techniques (Song and Ermon 2020, arXiv 2006.09011): noise levels and step sizes from the data, not by trial.

Technique 3, the network without conditions divided by sigma, is `models.ncsnv2`; technique 5, the moving average of the
parameters, is every training's.
"""

import numpy as np
from jaxtyping import UInt8
from scipy.optimize import brentq, minimize_scalar
from scipy.spatial.distance import pdist
from scipy.stats import norm

from score_jax.errors import InputError


def largest_distance(images: UInt8[np.ndarray, "n h w c"]) -> float:
    """Returns technique 1: sigma_1 is the largest Euclidean distance of two training images in [0, 1].

    Takes n² distances: give some thousands of images.
    """
    return float(pdist(images.reshape(len(images), -1) / 255.0).max())


def overlap(ratio: float, dim: int) -> float:
    """How much the radii of two neighbouring levels' noise overlap (proposition 2): the share technique 2 sets to 1/2.

    Phi(sqrt(2 d)(r - 1) + 3 r) - Phi(sqrt(2 d)(r - 1) - 3 r) for the ratio r of a level to the next.
    """
    shift = np.sqrt(2 * dim) * (ratio - 1)
    return float(norm.cdf(shift + 3 * ratio) - norm.cdf(shift - 3 * ratio))


def level_ratio(dim: int, share: float = 0.5) -> float:
    """Returns technique 2's ratio of neighbouring levels for data of `dim` dimensions."""
    return float(brentq(lambda ratio: overlap(ratio, dim) - share, 1.0, 1.0 + 10.0 / np.sqrt(dim)))


def level_count(sigma_max: float | int, sigma_min: float | int, dim: int) -> int:
    """Returns technique 2's number of geometric levels from sigma_max to sigma_min.

    Raises:
      InputError: the levels do not decrease.
    """
    if not sigma_max > sigma_min > 0:
        raise InputError(f"Noise levels from {sigma_max:g} to {sigma_min:g}: expected sigma_max > sigma_min > 0.")
    return round(np.log(sigma_max / sigma_min) / np.log(level_ratio(dim))) + 1


def variance_ratio(step: float, ratio: float, steps_per_level: int) -> float:
    """Returns the variance over sigma² after Langevin at a level, started at the level above (proposition 3).

    Args:
      step: step_lr / sigma_last², the same at every level.
      ratio: of neighbouring levels.
      steps_per_level: T.
    """
    settled = 2 / (2 - step)
    return (1 - step) ** (2 * steps_per_level) * (ratio**2 - settled) + settled


def langevin_step(sigma_min: float, ratio: float, steps_per_level: int) -> float:
    """Returns technique 4: the step_lr of annealed Langevin that leaves the variance nearest to the level's."""
    found = minimize_scalar(
        lambda log_step: abs(variance_ratio(np.exp(log_step), ratio, steps_per_level) - 1),
        bounds=(np.log(1e-6), np.log(0.5)),
        method="bounded",
        options={"xatol": 1e-8},
    )
    return float(sigma_min**2 * np.exp(found.x))
