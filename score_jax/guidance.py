"""Guidance: a predictor from predictors, or from a predictor and a gradient.

Samplers and likelihood cannot tell a guided predictor from a plain one. `guidance_scale` 1 is the model as it is
(classifier-free), or the classifier's own posterior (classifier guidance).
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from score_jax.arrays import broadcast_right
from score_jax.predictor import Prediction, Predictor, from_eps
from score_jax.processes.gaussian import NoiseSchedule
from score_jax.typing import Batch, Scalar, Time

Gradient = Callable[[Batch, Time], Batch]
"""`gradient(x_t, t)`: of the log-probability of a condition, with respect to x_t."""
Scale = Callable[[Time], Float[Array, "b"]]


def log_prob_gradient(log_prob: Callable[[Batch, Time], Float[Array, "b"]], scale: Scalar) -> Gradient:
    """scale * grad log p(condition | x_t) at x_t (Dhariwal and Nichol 2021, algorithms 1 and 2, code).

    Args:
      log_prob: of the condition for each example (b,), e.g. a classifier's log-softmax at its label.
      scale: the guidance scale.
    """

    def gradient(x: Batch, t: Time) -> Batch:
        return scale * jax.grad(lambda x: jnp.sum(log_prob(x, t)))(x)

    return gradient


def by_gradient(predictor: Predictor, process: NoiseSchedule, gradient: Gradient) -> Predictor:
    """The score plus the gradient (Song et al. 2021, eq. 14; ADM's `condition_score`, which DDIM uses)."""

    def guided(x: Batch, t: Time) -> Prediction:
        prediction = predictor(x, t)
        eps = prediction.eps - broadcast_right(process.sigma(t), x) * gradient(x, t)
        return dataclasses.replace(from_eps(eps, x, t, process), variance=prediction.variance)

    return guided


def constant(scale: Scalar) -> Scale:
    """The same scale at every noise level."""
    return lambda t: jnp.full_like(t, scale)


def in_interval(scale: Scalar, process: NoiseSchedule, low: Scalar, high: Scalar) -> Scale:
    """`scale` where sigma / alpha is in (low, high], elsewhere 1: off (Kynkaanniemi et al. 2024, eq. 3)."""

    def of_time(t: Time) -> Float[Array, "b"]:
        level = process.noise_to_signal(t)
        return jnp.where((level > low) & (level <= high), scale, 1.0)

    return of_time


def classifier_free(conditional: Predictor, reference: Predictor, scale: Scale) -> Predictor:
    """reference + scale (conditional - reference), in eps, x0 and score alike (Ho and Salimans 2022, eq. 6).

    Their w is scale - 1. With a weaker model of the same condition as the reference this is autoguidance (Karras et
    al. 2024).

    Args:
      conditional: told the condition; its learned variance, if any, is kept.
      reference: not told it.
      scale: at the times (b,).
    """

    def guided(x: Batch, t: Time) -> Prediction:
        told, untold, w = conditional(x, t), reference(x, t), broadcast_right(scale(t), x)
        x0, eps, score = (
            getattr(untold, name) + w * (getattr(told, name) - getattr(untold, name)) for name in ("x0", "eps", "score")
        )
        return Prediction(x0, eps, score, told.variance)

    return guided
