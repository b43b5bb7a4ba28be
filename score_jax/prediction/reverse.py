"""The learned reverse kernel p(x_s | x_t) of a chain: its mean from the prediction, its variance fixed or learned.

    mean      that of q(x_s | x_t, x0) at the predicted x0                        (Ho et al. 2020, eqs 7 and 11)
    variance  between that of q(x_s | x_t, x0) and that of q(x_t | x_s)           (Ho et al. 2020, section 3.2)

The last step ends in data, where q(x_s | x_t, x0) has no variance; its logarithm is then taken of the step before.
"""

import dataclasses
from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float

from score_jax.arrays import broadcast_right
from score_jax.errors import InputError
from score_jax.prediction.predictor import Prediction
from score_jax.processes.chain import Chain
from score_jax.processes.gaussian import NoiseSchedule
from score_jax.typing import Batch, Time

_TINY = 1e-20
"""Stands for a variance of 0 where there is no step before; Ho et al.'s floor."""


@dataclasses.dataclass(frozen=True)
class ReverseKernel:
    """N(mean, variance) over x_s.

    Attributes:
      mean: (b, ...).
      variance: (b, 1, ...) or (b, ...); 0 at a last step of the smaller fixed variance.
      log_variance: its logarithm, finite at the last step too.
    """

    mean: Batch
    variance: Float[Array, "b ..."]
    log_variance: Float[Array, "b ..."]


def _small(process: NoiseSchedule, t: Time, s: Time) -> tuple[Float[Array, "b"], Float[Array, "b"]]:
    """The variance of q(x_s | x_t, x0), and the same with what stands for 0."""
    variance = process.posterior_coefficients(t, s)[2]
    before = jnp.full_like(variance, _TINY)
    if isinstance(process, Chain) and process.num_levels > 1:
        before = process.posterior_coefficients(jnp.ones_like(t), jnp.zeros_like(t))[2]
    return variance, jnp.where(process.sigma(s) > 0, jnp.maximum(variance, _TINY), before)


def fixed_small(process: NoiseSchedule, raw: Batch | None, x: Batch, t: Time, s: Time) -> tuple[Batch, Batch]:
    """Returns the variance of q(x_s | x_t, x0): optimal for data in one point (improved diffusion's FIXED_SMALL)."""
    variance, positive = _small(process, t, s)
    return broadcast_right(variance, x), jnp.log(broadcast_right(positive, x))


def fixed_large(process: NoiseSchedule, raw: Batch | None, x: Batch, t: Time, s: Time) -> tuple[Batch, Batch]:
    """Returns that of q(x_t | x_s): optimal for white noise; at the last step the smaller one of the step before."""
    large = jnp.where(process.sigma(s) > 0, process.kernel(t, s)[1], _small(process, t, s)[1])
    return broadcast_right(large, x), jnp.log(broadcast_right(large, x))


def learned(process: NoiseSchedule, raw: Batch | None, x: Batch, t: Time, s: Time) -> tuple[Batch, Batch]:
    """Returns the variance whose logarithm the network outputs."""
    return jnp.exp(_said(raw)), _said(raw)


def learned_range(process: NoiseSchedule, raw: Batch | None, x: Batch, t: Time, s: Time) -> tuple[Batch, Batch]:
    """Interpolates between both, in logarithms, by an output in [-1, 1] (Nichol and Dhariwal 2021, eq. 15)."""
    low, high = _small(process, t, s)[1], process.kernel(t, s)[1]
    low, high = (jnp.log(broadcast_right(level, x)) for level in (low, high))
    fraction = (_said(raw) + 1) / 2
    log_variance = fraction * high + (1 - fraction) * low
    return jnp.exp(log_variance), log_variance


def _said(raw: Batch | None) -> Batch:
    if raw is None:
        raise InputError("A learned variance needs a network that outputs one: twice the channels of the image.")
    return raw


Variance = Callable[[NoiseSchedule, Batch | None, Batch, Time, Time], tuple[Batch, Batch]]
VARIANCES: dict[str, Variance] = {
    "fixed_small": fixed_small,
    "fixed_large": fixed_large,
    "learned": learned,
    "learned_range": learned_range,
}


def decoding(variance: Variance) -> Variance:
    """Returns the given variance, but at the last step the noise of the first level, in the data's units.

    For levels that lie close: the step before the last, of which the fixed variances take theirs, then is too short.
    """

    def of(process: NoiseSchedule, raw: Batch | None, x: Batch, t: Time, s: Time) -> tuple[Batch, Batch]:
        steps, log_steps = variance(process, raw, x, t, s)
        noise, last = broadcast_right(process.noise_to_signal(t), x), broadcast_right(process.sigma(s), x) == 0
        return jnp.where(last, noise**2, steps), jnp.where(last, 2 * jnp.log(noise), log_steps)

    return of


def reverse_kernel(
    process: NoiseSchedule, prediction: Prediction, x: Batch, t: Time, s: Time, variance: Variance
) -> ReverseKernel:
    """Returns p(x_s | x_t = x), s < t.

    Args:
      process: where x comes from.
      prediction: the model's, at (x, t).
      x: state (b, ...).
      t: its times (b,).
      s: times to go to (b,).
      variance: of `VARIANCES`.

    Raises:
      InputError: a learned variance, and the network has none.
    """
    mean, _ = process.posterior(x, prediction.x0, t, s)
    return ReverseKernel(mean, *variance(process, prediction.variance, x, t, s))
