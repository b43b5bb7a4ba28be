"""Denoising score matching: the objectives of NCSN, DDPM, Song et al. 2021, EDM and rectified flow are one.

They differ in the noise levels that are drawn (`time_sampling`) and in what each counts (`weighting`).
"""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float

from score_jax.arrays import broadcast_right, sum_per_example
from score_jax.errors import entry_of
from score_jax.losses.weighting import Weighting, eps
from score_jax.prediction.predictor import Predictor
from score_jax.processes.gaussian import NoiseSchedule
from score_jax.typing import Batch, Time

ERRORS: dict[str, Callable[[Batch, Batch], Batch]] = {
    "l2": lambda weight, difference: weight * jnp.square(difference),
    "l1": lambda weight, difference: jnp.sqrt(weight) * jnp.abs(difference),
}
"""What is summed over dimensions, of the weight of the squared error of eps and of the error of eps."""


def denoising_errors(
    predictor: Predictor,
    process: NoiseSchedule,
    x0: Batch,
    t: Time,
    noise: Batch,
    weighting: Weighting = eps,
    error: str = "l2",
) -> Batch:
    """Returns w(t) (eps_hat - eps)² at x_t = alpha x0 + sigma eps, elementwise; of "l1" its square root.

    So with the weightings eps, x0 and v it is the squared or absolute error of eps, x0 or v.

    Args:
      predictor: the model.
      process: where x_t comes from.
      x0: data (b, ...), in the model's range.
      t: times (b,).
      noise: eps, standard normal like `x0`.
      weighting: w, of `weighting.WEIGHTINGS`.
      error: of `ERRORS`.

    Raises:
      InputError: the weighting needs continuous time and the process is a chain, or the error is unknown.
    """
    measured = entry_of(ERRORS, "loss.error", error)
    prediction = predictor(process.perturb(x0, t, noise), t)
    return measured(broadcast_right(weighting(process, t), x0), prediction.eps - noise)


def denoising(
    predictor: Predictor,
    process: NoiseSchedule,
    x0: Batch,
    t: Time,
    noise: Batch,
    weighting: Weighting = eps,
    error: str = "l2",
) -> Float[Array, "b"]:
    """Sums `denoising_errors` over dimensions, one value per example (Song et al. 2021, eq. 7).

    With the weighting `eps` it is sigma² || score + eps / sigma ||².
    """
    return sum_per_example(denoising_errors(predictor, process, x0, t, noise, weighting, error))
