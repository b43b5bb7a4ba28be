"""Denoising score matching: the continuous objectives of Song et al. 2021, and on a chain those of NCSN and DDPM."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from score_jax.arrays import broadcast_right, sum_per_example
from score_jax.errors import InputError
from score_jax.predictor import Predictor
from score_jax.processes.gaussian import GaussianProcess, NoiseSchedule
from score_jax.typing import Batch, Time


def denoising(
    predictor: Predictor,
    process: NoiseSchedule,
    x0: Batch,
    t: Time,
    eps: Batch,
    *,
    likelihood_weighting: bool = False,
) -> Float[Array, "b"]:
    """Denoising score matching at x_t = alpha x0 + sigma eps, summed over dimensions, one value per example.

        || sigma score + eps ||²                 (Song et al. 2021, eq. 7 with lambda = sigma²)
        g² || score + eps / sigma ||²            with likelihood weighting (lambda = g²; Song et al. 2021b, eq. 7)

    Args:
      predictor: the model.
      process: where x_t comes from.
      x0: data (b, ...), in the model's range.
      t: times (b,).
      eps: standard normal noise like `x0`.
      likelihood_weighting: weight by g² / sigma², so that the expected loss bounds the negative log-likelihood.

    Raises:
      InputError: likelihood weighting on a chain, which has no g.
    """
    sigma = process.sigma(t)
    score = predictor(process.perturb(x0, t, eps), t).score
    loss = sum_per_example(jnp.square(broadcast_right(sigma, x0) * score + eps))
    if not likelihood_weighting:
        return loss
    if not isinstance(process, GaussianProcess):
        raise InputError("loss.likelihood_weighting needs a process in continuous time: ve, vp or sub_vp.")
    return loss * process.diffusion_squared(t) / sigma**2
