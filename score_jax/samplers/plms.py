"""Pseudo linear multistep sampling, PLMS (Liu et al. 2022, arXiv 2202.09778), as latent diffusion has it.

A DDIM step whose eps is extrapolated from those of the last steps by the weights of Adams and Bashforth:

    (3 e - e1) / 2     (23 e - 16 e1 + 5 e2) / 12     (55 e - 59 e1 + 37 e2 - 9 e3) / 24

The first step has no step before it and is the improved Euler's: its eps is the mean of those at its two ends. So N
steps have N + 1 evaluations. The weights are those of even steps, whatever the grid.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from score_jax.arrays import broadcast_right
from score_jax.prediction.predictor import Prediction, Predictor, from_eps
from score_jax.processes.gaussian import NoiseSchedule
from score_jax.processes.noise import Noise
from score_jax.samplers.chain import RememberingStep
from score_jax.samplers.steps import ddim
from score_jax.typing import Batch, Scalar, Time

_WEIGHTS = np.array([[1, 0, 0, 0], [3 / 2, -1 / 2, 0, 0], [23 / 12, -16 / 12, 5 / 12, 0], [55, -59, 37, -9]])
_WEIGHTS[3] /= 24
"""Of the eps of this step and the three before it, by how many of those there are."""


class History(NamedTuple):
    """The predicted eps of the three steps before, the newest first (3, b, ...), and how many of them there are.

    diffrax takes states of floating-point numbers alone, so that the count is one.
    """

    eps: Float[Array, "3 b ..."]
    known: Float[Array, ""]


def no_history(x: Batch) -> History:
    """Returns the history before the first step."""
    return History(jnp.zeros((3, *x.shape), x.dtype), jnp.zeros((), x.dtype))


def extrapolated(
    process: NoiseSchedule, x: Batch, t: Time, s: Time, end: Scalar, predictor: Predictor, history: History
) -> tuple[Prediction, History]:
    """Returns the prediction that a step from t to s uses, and the history for the next step.

    The history keeps the model's eps, not the extrapolated one. One evaluation; at the first step two, of which the
    second is at s, but at t where s is the end of the grid.

    Args:
      process: where x comes from.
      x: state (b, ...).
      t: its times (b,).
      s: times to go to (b,).
      end: the last time of the grid, at which the model is never evaluated.
      predictor: the model.
      history: of the steps before.
    """
    found = predictor(x, t)
    recent = jnp.concatenate([found.eps[None], history.eps])

    def improved_euler(_):
        there, _ = ddim(process)(lambda j: x, x, t, s, lambda x, t: found)
        return (found.eps + predictor(there, jnp.where(s > end, s, t)).eps) / 2

    def multistep(_):
        weights = jnp.asarray(_WEIGHTS, x.dtype)[history.known.astype(int)]
        return jnp.sum(broadcast_right(weights, recent) * recent, axis=0)

    eps = jax.lax.cond(history.known == 0, improved_euler, multistep, None)
    return from_eps(eps, x, t, process), History(recent[:3], jnp.minimum(history.known + 1, 3))


def plms(process: NoiseSchedule, end: Scalar) -> RememberingStep:
    """Makes a step of PLMS, which begins with `no_history`: deterministic, without a draw.

    Args:
      process: where x comes from.
      end: the last time of the grid.
    """

    def step(noise: Noise, x: Batch, t: Time, s: Time, predictor: Predictor, history: History):
        prediction, history = extrapolated(process, x, t, s, end, predictor, history)
        x, _ = ddim(process)(noise, x, t, s, lambda x, t: prediction)
        return x, x, history

    return step
