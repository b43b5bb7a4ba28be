"""DPM-Solver++ (Lu et al. 2022, arXiv 2211.01095): exponential integrators of the flow in lambda = log(alpha / sigma).

    x_s = (sigma_s / sigma_t) x_t - alpha_s (e^-h - 1) D,   h = lambda_s - lambda_t

with D the data prediction, or a second-order estimate of its mean over the step. A step into the data (h infinite) is
of first order: x_s = D.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from score_jax.arrays import broadcast_right
from score_jax.prediction.predictor import Predictor
from score_jax.processes.gaussian import NoiseSchedule
from score_jax.processes.noise import Noise
from score_jax.samplers.steps import Step
from score_jax.typing import Batch, Time


def _half_log_snr(process: NoiseSchedule, t: Time) -> Time:
    return 0.5 * process.log_snr(t)


def _exponential(process: NoiseSchedule, x: Batch, x0: Batch, t: Time, s: Time) -> Batch:
    """The step of first order: DDIM."""
    kept = process.sigma(s) / process.sigma(t)
    gained = process.alpha(s) - kept * process.alpha(t)
    return broadcast_right(kept, x) * x + broadcast_right(gained, x) * x0


class Memory(NamedTuple):
    """The step before: its data prediction (b, ...), the length of its step in lambda (b,), 0 before the first."""

    x0: Batch
    h: Float[Array, "b"]


def no_memory(x: Batch) -> Memory:
    """Returns the memory before the first step."""
    return Memory(jnp.zeros_like(x), jnp.zeros(x.shape[0], x.dtype))


def multistep(process: NoiseSchedule):
    """Makes the step of 2M (algorithm 2), of second order by the last prediction: one evaluation, no draw.

    Returns:
      `step(noise, x, t, s, predictor, memory) -> (x, mean, memory)`, which begins with `no_memory`; the first step and
      the one into the data are of first order.
    """

    def step(noise: Noise, x: Batch, t: Time, s: Time, predictor: Predictor, memory: Memory):
        x0 = predictor(x, t).x0
        h = _half_log_snr(process, s) - _half_log_snr(process, t)
        usable = (memory.h > 0) & jnp.isfinite(h)
        weight = jnp.where(usable, 0.5 * h / jnp.where(memory.h > 0, memory.h, 1.0), 0.0)
        ahead = x0 + broadcast_right(weight, x) * (x0 - memory.x0)
        x = _exponential(process, x, ahead, t, s)
        return x, x, Memory(x0, h)

    return step


def singlestep(process: NoiseSchedule) -> Step:
    """Makes the step of 2S (algorithm 1), of second order by an evaluation halfway in lambda: two evaluations, no draw.

    On a chain "halfway" is the nearest level. The step into the data has one evaluation.
    """

    def step(noise: Noise, x: Batch, t: Time, s: Time, predictor: Predictor) -> tuple[Batch, Batch]:
        x0 = predictor(x, t).x0

        def first(_):
            return _exponential(process, x, x0, t, s)

        def second(_):
            middle = 0.5 * (_half_log_snr(process, t) + _half_log_snr(process, s))
            between = process.time_at(jnp.exp(-middle))
            there = predictor(_exponential(process, x, x0, t, between), between).x0
            start = _half_log_snr(process, t)
            share = (_half_log_snr(process, between) - start) / (_half_log_snr(process, s) - start)
            # 1 but for a chain's rounding; where its nearest level is t itself nothing is learnt.
            weight = broadcast_right(jnp.where(share > 0.1, 0.5 / jnp.maximum(share, 0.1), 0.0), x)
            return _exponential(process, x, x0 + weight * (there - x0), t, s)

        x = jax.lax.cond(jnp.all(process.sigma(s) > 0), second, first, None)
        return x, x

    return step
