"""A model as a sampler asks it: in the sampler's coordinates, bounded and guided."""

from collections.abc import Callable
from typing import Any

from jaxtyping import Array

from score_jax.prediction.coordinates import View, seen
from score_jax.prediction.predictor import ConditionalPredictor, Prediction, Predictor, with_conditions
from score_jax.typing import Batch, Time

Guidance = Callable[[Predictor, Array | None], Predictor]
"""`guidance(predictor, target)`: the predictor guided to the targets (b,) of a guide."""


def unchanged(predictor: Predictor, target: Array | None = None) -> Predictor:
    """Returns the predictor itself: no bound on x0, no guidance."""
    return predictor


def asked_by(
    model: ConditionalPredictor,
    view: View,
    bounded: Callable[[Predictor], Predictor] = unchanged,
    guided: Guidance = unchanged,
) -> ConditionalPredictor:
    """`predictor(x, t, conditions)`; its conditions have those of the model as "model", a guide's targets as "target".

    Args:
      model: `model(x, t, conditions)`; without conditions `model(x, t)`.
      view: from the sampler's coordinates to the model's.
      bounded: holds x0.
      guided: guides.
    """

    def predict(x: Batch, t: Time, conditions: dict[str, Any] | None = None) -> Prediction:
        given = conditions or {}
        shown = bounded(seen(with_conditions(model, given.get("model")), view))
        return guided(shown, given.get("target"))(x, t)

    return predict
