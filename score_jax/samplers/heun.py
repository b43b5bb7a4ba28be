"""Second-order steps along the probability flow, with EDM's churn (Karras et al. 2022, algorithms 1 to 3)."""

import dataclasses
import math

import jax
import jax.numpy as jnp

from score_jax.arrays import broadcast_right
from score_jax.prediction.predictor import Predictor
from score_jax.processes.gaussian import GaussianProcess
from score_jax.processes.noise import Noise
from score_jax.samplers.ode import probability_flow_drift
from score_jax.samplers.steps import Step
from score_jax.typing import Batch, Time


@dataclasses.dataclass(frozen=True)
class Churn:
    """Noise added before each step; 0 is deterministic.

    Attributes:
      amount: S_churn / N: the noise level is raised by this factor, at most sqrt(2) - 1.
      low: S_min: no churn at noise levels below.
      high: S_max: none above.
      noise: S_noise, standard deviation of the noise.
    """

    amount: float = 0.0
    low: float = 0.0
    high: float = math.inf
    noise: float = 1.0


def _churned(process: GaussianProcess, churn: Churn, z: Batch, x: Batch, t: Time) -> tuple[Batch, Time]:
    """x and t after noise is added: the scale of x is the process's at the later time."""
    level = process.noise_to_signal(t)
    gamma = jnp.where((level >= churn.low) & (level <= churn.high), min(churn.amount, math.sqrt(2) - 1), 0.0)
    # Without churn the state stays where it is: a model of few levels would else be evaluated at another one.
    later = jnp.where(gamma > 0, process.time_at(level * (1 + gamma)), t)
    growth = jnp.where(gamma > 0, process.noise_to_signal(later) / level - 1, 0.0)
    added = churn.noise * level * jnp.sqrt(jnp.maximum(growth * (2 + growth), 0.0))  # from level² to later's
    scale, unscale = process.alpha(later), 1 / process.alpha(t)
    return broadcast_right(scale, x) * (broadcast_right(unscale, x) * x + broadcast_right(added, x) * z), later


def second_order(process: GaussianProcess, alpha: float = 1.0, churn: Churn | None = None) -> Step:
    """Makes a step with two evaluations, at t and at t + alpha (s - t); one draw if there is churn.

    alpha = 1 is Heun, 1/2 the midpoint rule, 2/3 Ralston. The step into the data is Euler's, with one evaluation. In
    the coordinates of `LinearVE` this is EDM's sampler.
    """

    def step(noise: Noise, x: Batch, t: Time, s: Time, predictor: Predictor) -> tuple[Batch, Batch]:
        if churn is not None:
            x, t = _churned(process, churn, noise(0), x, t)
        h = s - t
        slope = probability_flow_drift(predictor, process, x, t)

        def euler(_):
            return x + broadcast_right(h, x) * slope

        def corrected(_):
            between = x + alpha * broadcast_right(h, x) * slope
            second = probability_flow_drift(predictor, process, between, t + alpha * h)
            mixed = (1 - 1 / (2 * alpha)) * slope + second / (2 * alpha)
            return x + broadcast_right(h, x) * mixed

        x = jax.lax.cond(jnp.all(process.sigma(s) > 0), corrected, euler, None)
        return x, x

    return step


def first_order(process: GaussianProcess, churn: Churn | None = None) -> Step:
    """Makes an Euler step along the flow in the process's own time: one evaluation, one draw if there is churn."""

    def step(noise: Noise, x: Batch, t: Time, s: Time, predictor: Predictor) -> tuple[Batch, Batch]:
        if churn is not None:
            x, t = _churned(process, churn, noise(0), x, t)
        x = x + broadcast_right(s - t, x) * probability_flow_drift(predictor, process, x, t)
        return x, x

    return step
