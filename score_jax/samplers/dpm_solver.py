"""DPM-Solver++ (Lu et al. 2022, arXiv 2211.01095): exponential integrators of the flow in lambda = log(alpha / sigma).

    x_s = (sigma_s / sigma_t) x_t - alpha_s (e^-h - 1) D,   h = lambda_s - lambda_t

with D the data prediction, or an estimate of higher order of its mean over the step. A step into the data (h infinite)
is of first order: x_s = D.
"""

import jax
import jax.numpy as jnp

from score_jax.arrays import broadcast_right
from score_jax.prediction.predictor import Predictor
from score_jax.processes.gaussian import NoiseSchedule
from score_jax.processes.noise import Noise
from score_jax.samplers.exponential import Answers, by_x0, half_log_snr, mean_of_x0
from score_jax.samplers.steps import Step
from score_jax.typing import Batch, Time


def multistep(process: NoiseSchedule, order: int = 2):
    """Makes the step of 2M (algorithm 2) or 3M, by the predictions of the last steps: one evaluation, no draw.

    The first steps are of the order that their memory allows, the one into the data is of first order. The published
    code of 3M takes half of the last divided difference, which makes it a rule of order 2; here it is whole.

    Returns:
      `step(noise, x, t, s, predictor, memory) -> (x, mean, memory)`, which begins with `no_answers(x, order - 1)`.
    """

    def step(noise: Noise, x: Batch, t: Time, s: Time, predictor: Predictor, memory: Answers):
        answers = memory.with_newest(predictor(x, t).x0, half_log_snr(process, t))
        x = by_x0(process, x, mean_of_x0(answers, half_log_snr(process, s)), t, s)
        return x, x, answers.newest(order - 1)

    return step


def sde_multistep(process: NoiseSchedule):
    """Makes the step of SDE-DPM-Solver++ (2M) (Lu et al. 2022, section 5): one evaluation, one draw.

    It draws from the posterior of x_s given x_t and x0, as the step of first order does, with x0 extrapolated as in 2M.

    Returns:
      `step(noise, x, t, s, predictor, memory) -> (x, mean, memory)`, which begins with `no_answers(x, 1)`.
    """

    def step(noise: Noise, x: Batch, t: Time, s: Time, predictor: Predictor, memory: Answers):
        answers = memory.with_newest(predictor(x, t).x0, half_log_snr(process, t))
        mean, variance = process.posterior(x, mean_of_x0(answers, half_log_snr(process, s)), t, s)
        return mean + jnp.sqrt(broadcast_right(variance, x)) * noise(0), mean, answers.newest(1)

    return step


def singlestep(process: NoiseSchedule) -> Step:
    """Makes the step of 2S (algorithm 1), of second order by an evaluation halfway in lambda: two evaluations, no draw.

    On a chain "halfway" is the nearest level. The step into the data has one evaluation.
    """

    def step(noise: Noise, x: Batch, t: Time, s: Time, predictor: Predictor) -> tuple[Batch, Batch]:
        x0 = predictor(x, t).x0

        def first(_):
            return by_x0(process, x, x0, t, s)

        def second(_):
            middle = 0.5 * (half_log_snr(process, t) + half_log_snr(process, s))
            between = process.time_at(jnp.exp(-middle))
            there = predictor(by_x0(process, x, x0, t, between), between).x0
            start = half_log_snr(process, t)
            share = (half_log_snr(process, between) - start) / (half_log_snr(process, s) - start)
            # 1 but for a chain's rounding; where its nearest level is t itself nothing is learnt.
            weight = broadcast_right(jnp.where(share > 0.1, 0.5 / jnp.maximum(share, 0.1), 0.0), x)
            return by_x0(process, x, x0 + weight * (there - x0), t, s)

        x = jax.lax.cond(jnp.all(process.sigma(s) > 0), second, first, None)
        return x, x

    return step
