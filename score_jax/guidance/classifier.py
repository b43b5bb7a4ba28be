"""Classifier guidance: the score of a model plus the gradient of a classifier's log-probability."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from score_jax.arrays import broadcast_right
from score_jax.prediction.predictor import Prediction, Predictor, from_eps
from score_jax.processes.gaussian import NoiseSchedule
from score_jax.typing import Batch, Scalar, Time

Gradient = Callable[[Batch, Time], Batch]
"""`gradient(x_t, t)`: of the log-probability of a condition, with respect to x_t."""


def log_prob_gradient(log_prob: Callable[[Batch, Time], Float[Array, "b"]], scale: Scalar) -> Gradient:
    """Returns scale * grad log p(condition | x_t) at x_t (Dhariwal and Nichol 2021, algorithms 1 and 2, code).

    Args:
      log_prob: of the condition for each example (b,), e.g. a classifier's log-softmax at its label.
      scale: the guidance scale.
    """

    def gradient(x: Batch, t: Time) -> Batch:
        return scale * jax.grad(lambda x: jnp.sum(log_prob(x, t)))(x)

    return gradient


def by_gradient(predictor: Predictor, process: NoiseSchedule, gradient: Gradient) -> Predictor:
    """Adds the gradient to the score (Song et al. 2021, eq. 14; ADM's `condition_score`, which DDIM uses)."""

    def guided(x: Batch, t: Time) -> Prediction:
        prediction = predictor(x, t)
        eps = prediction.eps - broadcast_right(process.sigma(t), x) * gradient(x, t)
        return dataclasses.replace(from_eps(eps, x, t, process), variance=prediction.variance)

    return guided
