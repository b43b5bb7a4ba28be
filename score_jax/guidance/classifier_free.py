"""Classifier-free guidance: from a prediction without the condition to one with it, and beyond.

Samplers and likelihood cannot tell a guided predictor from a plain one. A `guidance_scale` of 1 is the model as it is.
"""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from score_jax.arrays import broadcast_right
from score_jax.prediction.predictor import ConditionalPredictor, Conditions, Prediction, Predictor, with_conditions
from score_jax.processes.gaussian import NoiseSchedule
from score_jax.typing import Batch, Scalar, Time

Scale = Callable[[Time], Float[Array, "b"]]


def constant(scale: Scalar) -> Scale:
    """Returns the same scale at every noise level."""
    return lambda t: jnp.full_like(t, scale)


def in_interval(scale: Scalar, process: NoiseSchedule, low: Scalar, high: Scalar) -> Scale:
    """Returns `scale` where sigma / alpha is in (low, high], 1 (off) elsewhere (Kynkaanniemi et al. 2024, eq. 3)."""

    def of_time(t: Time) -> Float[Array, "b"]:
        level = process.noise_to_signal(t)
        return jnp.where((level > low) & (level <= high), scale, 1.0)

    return of_time


@functools.partial(jax.tree_util.register_dataclass, data_fields=["given", "reference"], meta_fields=[])
@dataclasses.dataclass(frozen=True)
class Pair:
    """Conditions to be led to, and those to be led away from.

    Attributes:
      given: of the samples.
      reference: what stands for none, or what is not wanted (a "negative prompt").
    """

    given: Conditions
    reference: Conditions


def with_reference(model: ConditionalPredictor, scale: Scale) -> ConditionalPredictor:
    """Guides the model with itself under other conditions as reference: `predictor(x, t, pair)`, of a `Pair`.

    Args:
      model: `model(x, t, conditions)`.
      scale: at the times (b,).
    """

    def guided(x: Batch, t: Time, conditions: Pair) -> Prediction:
        reference = with_conditions(model, conditions.reference)
        return classifier_free(with_conditions(model, conditions.given), reference, scale)(x, t)

    return guided


def classifier_free(conditional: Predictor, reference: Predictor, scale: Scale) -> Predictor:
    """Returns reference + scale (conditional - reference), in eps, x0 and score alike (Ho and Salimans 2022, eq. 6).

    Their w is scale - 1. With a weaker model of the same condition as the reference this is autoguidance (Karras et
    al. 2024).

    Args:
      conditional: with the condition; its learned variance, if any, is kept.
      reference: without it.
      scale: at the times (b,).

    >>> from score_jax.prediction.predictor import score_predictor
    >>> from score_jax.processes.gaussian import VP
    >>> cat = score_predictor(lambda x, t: 1.0 - x, VP())
    >>> anything = score_predictor(lambda x, t: -x, VP())
    >>> guided = classifier_free(cat, anything, constant(2.0))
    >>> print(guided(jnp.zeros((1, 1)), jnp.array([0.5])).score.round(2))
    [[2.]]
    """

    def guided(x: Batch, t: Time) -> Prediction:
        given, free, w = conditional(x, t), reference(x, t), broadcast_right(scale(t), x)
        x0, eps, score = (
            getattr(free, name) + w * (getattr(given, name) - getattr(free, name)) for name in ("x0", "eps", "score")
        )
        return Prediction(x0, eps, score, given.variance)

    return guided
