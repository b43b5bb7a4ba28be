"""DEIS (Zhang and Chen 2022, arXiv 2204.13902): x / alpha is an integral of eps over sigma / alpha.

The eps of the last steps are extrapolated by a polynomial in t, whose integral over a step is exact (tAB-DEIS).
"""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float

from score_jax.arrays import broadcast_right
from score_jax.prediction.predictor import Predictor
from score_jax.processes.gaussian import GaussianProcess, NoiseSchedule
from score_jax.processes.noise import Noise
from score_jax.samplers.exponential import Answers, mean_over_step
from score_jax.samplers.steps import ddim
from score_jax.typing import Batch, Time

Level = Float[Array, "..."]


def _coordinate(process: NoiseSchedule) -> tuple[Callable[[Time], Time], Callable[[Level], Level]]:
    """From t to the polynomial's variable, and from there to sigma / alpha.

    A chain has no levels between those of its steps; there it is the logarithm of sigma / alpha.
    """
    if isinstance(process, GaussianProcess):
        return lambda t: t, process.noise_to_signal
    return lambda t: jnp.log(process.noise_to_signal(t)), jnp.exp


def deis(process: NoiseSchedule, order: int = 3):
    """Makes a step of tAB-DEIS (algorithm 1, eqs 14 and 15): one evaluation, no draw.

    Args:
      process: where x comes from; on a chain the polynomial is one in log(sigma / alpha).
      order: how many answers the polynomial goes through; 3 is the paper's tAB2. The first steps have the order that
        their memory allows, the one into the data is of first order.

    Returns:
      `step(noise, x, t, s, predictor, memory) -> (x, mean, memory)`, which begins with `no_answers(x, order - 1)`.
    """
    place_of, ratio_at = _coordinate(process)

    def step(noise: Noise, x: Batch, t: Time, s: Time, predictor: Predictor, memory: Answers):
        first, last = process.noise_to_signal(t), process.noise_to_signal(s)

        def after(place: Level) -> Level:
            return (ratio_at(place) - last[None]) / (first - last)[None]

        prediction = predictor(x, t)
        answers = memory.with_newest(prediction.eps, place_of(t))
        mean = mean_over_step(answers, jnp.where(last > 0, place_of(s), jnp.inf), after)
        # Equation (2) as what it adds to DDIM's step, which is also defined where x_t has no signal.
        x, _ = ddim(process)(noise, x, t, s, lambda x, t: prediction)
        gained = jnp.where(jnp.isfinite(first), process.alpha(s) * (last - first), 0.0)
        x = x + broadcast_right(gained, x) * (mean - prediction.eps)
        return x, x, answers.newest(order - 1)

    return step
