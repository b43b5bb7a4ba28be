"""One process seen in the time and scale of another: how any sampler serves any model.

Every Gaussian process is every other at the same noise-to-signal ratio: x_t there is x_t' here, rescaled. So a sampler
that walks one process (EDM's sigma = t; a chain's kept levels) asks a model that was trained on another.
"""

import dataclasses
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from score_jax.arrays import broadcast_right
from score_jax.prediction.predictor import Prediction, Predictor
from score_jax.processes.gaussian import NoiseSchedule
from score_jax.typing import Batch, Time


@dataclasses.dataclass(frozen=True, eq=False)
class View:
    """From a sampler's time to a model's.

    Attributes:
      time: the model's t of the sampler's t.
      scale: the model's x over the sampler's, at the sampler's t.
    """

    time: Callable[[Time], Time]
    scale: Callable[[Time], Time] = jnp.ones_like


def itself() -> View:
    """Returns its argument: no change of coordinates."""
    return View(lambda t: t)


def between(of: NoiseSchedule, to: NoiseSchedule) -> View:
    """Returns the map for a model that knows `of` and a sampler that walks `to`; for a chain, to the nearest level.

    >>> from score_jax.processes.gaussian import EDM, VP
    >>> view, half = between(VP(), EDM()), jnp.array([0.5])
    >>> ratio = VP().noise_to_signal(view.time(half))  # the same of both, at times of their own
    >>> bool(jnp.allclose(ratio, EDM().noise_to_signal(half), rtol=1e-4))
    True
    """

    def time(t: Time) -> Time:
        return of.time_at(to.noise_to_signal(t))

    return View(time, lambda t: of.alpha(time(t)) / to.alpha(t))


def of_levels(levels: Int[np.ndarray, "k"]) -> View:
    """Returns the map from a respaced chain (`processes.respacing`) to the levels that the model was trained with."""
    return View(lambda t: jnp.asarray(levels, t.dtype)[t.astype(jnp.int32)])


def seen(predictor: Predictor, view: View) -> Predictor:
    """Returns the model's predictions for the sampler: x0 and eps are the same in all coordinates, the score scales."""

    def there(x: Batch, t: Time) -> Prediction:
        scale = broadcast_right(view.scale(t), x)
        prediction = predictor(scale * x, view.time(t))
        return dataclasses.replace(prediction, score=scale * prediction.score)

    return there


def log_prob_seen(log_prob: Callable[[Batch, Time], Float[Array, "b"]], view: View):
    """Returns a classifier's log-probability, a function of the model's (x_t, t), in the sampler's coordinates."""
    return lambda x, t: log_prob(broadcast_right(view.scale(t), x) * x, view.time(t))
