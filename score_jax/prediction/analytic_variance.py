"""Variances of the reverse kernel that are optimal for its mean, from one number per level (Bao et al. 2022).

For a step from t to s, s < t, with q(x_t | x_s) = N(a x_s, b² I), and in d dimensions (arXiv 2201.06503)

    G_t = E |eps_hat(x_t, t)|² / d                                              measured on training data, in [0, 1]
    variance = b² sigma_s² / sigma_t² + (b² / (a sigma_t))² (1 - G_t)           theorem 1

where lambda² there is the variance of q(x_s | x_t, x0). The second term is what x_s inherits of x0, whose coefficient
in the mean is B = alpha_s b² / sigma_t²: it is B² u, and u = (sigma_t / alpha_t)² (1 - G_t) is the mean variance of x0
given x_t. No more than E |x0|² / d of x0 can be unknown; theorem 2 has the range of pixels in its place. Without this
bound the error of a measured G would be multiplied by the square of the noise-to-signal ratio.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from score_jax.arrays import broadcast_right, fold_in_each, normal_per_example, sum_per_example
from score_jax.errors import InputError
from score_jax.prediction.predictor import Predictor
from score_jax.prediction.reverse import VARIANCES, Variance
from score_jax.processes.gaussian import NoiseSchedule
from score_jax.typing import Batch, KeyBatch, Time

ANALYTIC = "analytic"
"""The name of these variances, beside those of `VARIANCES`."""
_TINY = 1e-20
"""Stands for a variance of 0 in its logarithm."""


@dataclasses.dataclass(frozen=True, eq=False)
class Moments:
    """What is measured of a model for its analytic variances.

    Attributes:
      times: decreasing times or levels (n,) from which steps begin.
      mean_squared_eps: G at each of them (n,); it is clipped to [0, 1] where it is used.
      mean_squared_x0: E |x0|² / d of the data.

    Raises:
      InputError: they are not as many as the times, no moments of anything, or the times do not decrease.
    """

    times: Float[np.ndarray, "_"]
    mean_squared_eps: Float[np.ndarray, "_"]
    mean_squared_x0: float

    def __post_init__(self):
        if len(self.times) != len(self.mean_squared_eps) or not len(self.times):
            raise InputError(
                f"Analytic variances need one mean square of eps for each time, but {len(self.times)} times have "
                f"{len(self.mean_squared_eps)}."
            )
        if not (np.diff(self.times) < 0).all():
            raise InputError("Analytic variances need decreasing times, in the order of a walk.")
        numbers = np.append(self.mean_squared_eps, self.mean_squared_x0)
        if not (np.isfinite(numbers) & (numbers >= 0)).all():
            raise InputError(
                "Analytic variances need mean squares that are finite and at least 0: look for numbers that are not "
                "finite in the weights or the data."
            )


def squared_eps(
    predictor: Predictor, process: NoiseSchedule, times: Float[Array, "n"], x0: Batch, keys: KeyBatch
) -> Float[Array, "b n"]:
    """Returns numbers of each example whose mean over data is G at each time.

    Each is |eps_hat|² / d, less |eps|² / d - 1 of the noise that was drawn: this has the mean 0, and where there is
    much noise, eps_hat is near eps and nearly all of the error cancels.

    Args:
      predictor: the model.
      process: whose times these are.
      times: from which steps begin.
      x0: training data (b, ...).
      keys: one per example (b,), for its noise.
    """
    dim = x0[0].size

    def at(of_time: tuple[Array, Array]) -> Float[Array, "b"]:
        number, time = of_time
        t, eps = jnp.full(len(x0), time, x0.dtype), normal_per_example(fold_in_each(keys, number), x0)
        predicted = predictor(process.perturb(x0, t, eps), t).eps
        return 1 + sum_per_example(predicted**2 - eps**2) / dim

    return jax.lax.map(at, (jnp.arange(len(times)), times)).T


def moments_of(
    times: Float[np.ndarray, "n"], squared: Float[np.ndarray, "m n"], squared_x0: Float[np.ndarray, "m"]
) -> Moments:
    """Returns the moments of m examples.

    Args:
      times: decreasing.
      squared: what `squared_eps` says of each example; the mean of few can be below 0, which stands for 0.
      squared_x0: |x0|² / d of each example.

    Raises:
      InputError: one is not finite, or the times do not decrease.
    """
    mean = np.mean(squared, axis=0, dtype=np.float64)
    return Moments(times, np.where(mean < 0, 0.0, mean), float(np.mean(squared_x0, dtype=np.float64)))


def analytic(moments: Moments) -> Variance:
    """Returns the variance of theorem 1, of steps that begin at the times of the moments."""
    times, means = np.asarray(moments.times)[::-1], np.clip(moments.mean_squared_eps, 0.0, 1.0)[::-1]

    def variance(process: NoiseSchedule, raw: Batch | None, x: Batch, t: Time, s: Time) -> tuple[Batch, Batch]:
        mean = jnp.interp(t, jnp.asarray(times, t.dtype), jnp.asarray(means, t.dtype))
        _, of_x0, small = process.posterior_coefficients(t, s)
        # A level without signal says nothing of x0: there the product is infinity times 0, and the bound holds.
        unknown = jnp.fmin(process.noise_to_signal(t) ** 2 * (1 - mean), moments.mean_squared_x0)
        found = broadcast_right(small + of_x0**2 * unknown, x)
        return found, jnp.log(jnp.maximum(found, _TINY))

    return variance


def _unmeasured(process: NoiseSchedule, raw: Batch | None, x: Batch, t: Time, s: Time) -> tuple[Batch, Batch]:
    raise InputError(
        "sampler.variance=analytic takes moments of the model's eps, which `sample`, `edit` and `evaluate` measure on "
        "training data: in Python give them to the experiment by jobs.analytic_variance.with_moments."
    )


def variance_of(name: str, moments: Moments | None) -> Variance:
    """Returns the variance of this name, of `VARIANCES` or `ANALYTIC`.

    Args:
      name: the name.
      moments: what the analytic one needs; None: a step by it raises InputError, and what needs no step can be built.
    """
    if name != ANALYTIC:
        return VARIANCES[name]
    return _unmeasured if moments is None else analytic(moments)
