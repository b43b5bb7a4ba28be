"""UniPC (Zhao et al. 2023, arXiv 2302.04867): a predictor and a corrector that share their evaluations.

The predictor is that of DPM-Solver++ multistep. The model's answer at the predicted x_t then also corrects the step
that led there: the polynomial over that step goes through its end as well, which adds an order. So a step has one
evaluation. Where more than two answers are used, the published weights are those of this polynomial whatever their
function B(h); of two answers they are 1/2, that of B_2(h) = e^h - 1.
"""

from typing import NamedTuple

import jax.numpy as jnp

from score_jax.prediction.predictor import Predictor
from score_jax.processes.gaussian import NoiseSchedule
from score_jax.processes.noise import Noise
from score_jax.samplers.exponential import Answers, by_x0, half_log_snr, mean_of_x0, no_answers
from score_jax.typing import Batch, Time


class Before(NamedTuple):
    """The step before: the (corrected) state and the time (b,) where it began, and the last predictions of x0."""

    x: Batch
    t: Time
    answers: Answers


def nothing_before(x: Batch, order: int) -> Before:
    """Returns the memory before the first step."""
    return Before(jnp.zeros_like(x), jnp.zeros(x.shape[0], x.dtype), no_answers(x, order))


def _with_end(answers: Answers, end: Answers) -> Answers:
    """The answer at a step's end after that at its start, where polynomials over this step begin."""
    values = jnp.concatenate([answers.values[:1], end.values[:1], answers.values[1:]])
    places = jnp.concatenate([answers.places[:1], end.places[:1], answers.places[1:]])
    return Answers(values, places, answers.known + 1)


def unipc(process: NoiseSchedule, order: int = 3):
    """Makes a step of UniPC by data prediction (section 3.3, algorithms 5 and 7): one evaluation, no draw.

    Args:
      process: where x comes from.
      order: of the predictor; with the corrector one more. The first steps have the order that their memory allows, the
        one into the data is of first order.

    Returns:
      `step(noise, x, t, s, predictor, memory) -> (x, mean, memory)`, which begins with `nothing_before(x, order)`.
    """

    def step(noise: Noise, x: Batch, t: Time, s: Time, predictor: Predictor, memory: Before):
        end = half_log_snr(process, t)
        answers = memory.answers.with_newest(predictor(x, t).x0, end)
        began = memory.answers.known > 0
        # At the first step there is none before it: any time will do, since what it gives is not taken.
        last = jnp.where(began, memory.t, t)
        corrected = by_x0(process, memory.x, mean_of_x0(_with_end(memory.answers, answers), end, at_end=1), last, t)
        x = jnp.where(began, corrected, x)
        ahead = by_x0(process, x, mean_of_x0(answers.newest(order), half_log_snr(process, s)), t, s)
        return ahead, ahead, Before(x, t, answers.newest(order))

    return step
