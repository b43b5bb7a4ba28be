"""How far the steps of a grid leave the variance of Gaussian data, which linear steps keep Gaussian.

Along the probability flow data N(0, std²) keep their quantile: a step from t to s is exactly sqrt(v_s / v_t) of x, with
v = alpha² std² + sigma². A rule takes another factor; the product of the ratios is what its samples are off by.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Array, Float

from score_jax.processes.gaussian import NoiseSchedule

Levels = Float[np.ndarray, "n"]
Factor = Callable[[NoiseSchedule, Float[Array, "n"], Float[Array, "n"], float], Levels]
"""`factor(process, t, s, std)`: what a rule multiplies x by in the steps from t to s (n,)."""


def _variance(process: NoiseSchedule, t: Float[Array, "n"], std: float) -> Levels:
    return (np.asarray(process.alpha(t), float) * std) ** 2 + np.asarray(process.sigma(t), float) ** 2


def ddim_factor(process: NoiseSchedule, t: Float[Array, "n"], s: Float[Array, "n"], std: float) -> Levels:
    """Returns what `steps.ddim` multiplies x by: alpha_s x0 + sigma_s eps of the exact x0 and eps."""
    alphas = [np.asarray(process.alpha(time), float) for time in (t, s)]
    sigmas = [np.asarray(process.sigma(time), float) for time in (t, s)]
    return (alphas[0] * alphas[1] * std**2 + sigmas[0] * sigmas[1]) / _variance(process, t, std)


def reverse_diffusion_factor(process: NoiseSchedule, t: Float[Array, "n"], s: Float[Array, "n"], std: float) -> Levels:
    """Returns what `steps.reverse_diffusion` along the flow multiplies x by: 2 - a, and half of b² times the score."""
    a, b2 = (np.asarray(level, float) for level in process.kernel(t, s))
    return 2 - a - 0.5 * b2 / _variance(process, t, std)


def variance_ratio(factor: Factor, process: NoiseSchedule, grid: Float[Array, "n"], std: float) -> float:
    """Returns the variance of a deterministic rule's samples over that of the exact flow, for data N(0, std²).

    Args:
      factor: of the rule.
      process: whose times the grid has.
      grid: decreasing times.
      std: of the data, in the model's range.
    """
    t, s = grid[:-1], grid[1:]
    exact = np.sqrt(_variance(process, s, std) / _variance(process, t, std))
    return float(np.prod((factor(process, t, s, std) / exact) ** 2))
