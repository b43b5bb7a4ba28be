"""The model as a sampler evaluates it: in the sampler's coordinates, with bounds on x0 and guidance."""

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


def sampled_model(
    model: ConditionalPredictor,
    view: View,
    bounded: Callable[[Predictor], Predictor] = unchanged,
    guided: Guidance = unchanged,
) -> ConditionalPredictor:
    """Returns the `predictor(x, t, conditions)` that a sampler evaluates.

    Its conditions have those of the model as "model", and the targets of a guide as "target".

    Args:
      model: `model(x, t, conditions)`; without conditions `model(x, t)`.
      view: from the sampler's coordinates to the model's.
      bounded: puts bounds on the predicted x0.
      guided: adds the guidance.
    """

    def predict(x: Batch, t: Time, conditions: dict[str, Any] | None = None) -> Prediction:
        given = conditions or {}
        shown = bounded(seen(with_conditions(model, given.get("model")), view))
        return guided(shown, given.get("target"))(x, t)

    return predict
