"""Denoising score matching: the objectives of NCSN, DDPM, Song et al. 2021, EDM and rectified flow are one.

They differ in the noise levels that are drawn (`time_sampling`) and in what each counts (`weighting`).
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from score_jax.arrays import broadcast_right, sum_per_example
from score_jax.losses.weighting import Weighting, eps
from score_jax.prediction.predictor import Predictor
from score_jax.processes.gaussian import NoiseSchedule
from score_jax.typing import Batch, Time


def denoising_errors(
    predictor: Predictor, process: NoiseSchedule, x0: Batch, t: Time, noise: Batch, weighting: Weighting = eps
) -> Batch:
    """Returns w(t) (eps_hat - eps)² at x_t = alpha x0 + sigma eps, elementwise.

    Args:
      predictor: the model.
      process: where x_t comes from.
      x0: data (b, ...), in the model's range.
      t: times (b,).
      noise: eps, standard normal like `x0`.
      weighting: w, of `weighting.WEIGHTINGS`.

    Raises:
      InputError: the weighting needs continuous time and the process is a chain.
    """
    prediction = predictor(process.perturb(x0, t, noise), t)
    return broadcast_right(weighting(process, t), x0) * jnp.square(prediction.eps - noise)


def denoising(
    predictor: Predictor, process: NoiseSchedule, x0: Batch, t: Time, noise: Batch, weighting: Weighting = eps
) -> Float[Array, "b"]:
    """Sums `denoising_errors` over dimensions, one value per example (Song et al. 2021, eq. 7).

    With the weighting `eps` it is sigma² || score + eps / sigma ||².
    """
    return sum_per_example(denoising_errors(predictor, process, x0, t, noise, weighting))
