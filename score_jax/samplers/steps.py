"""Step rules of Song et al. 2021 (arXiv 2011.13456): how x at time t becomes x at time s < t.

A step is a pure function `step(keys, x, t, s, predictor) -> (x, mean)` where `mean` is x without its last noise. Steps
see the process through its pair of levels and the model through its predictor, so each is written once for VE, VP and
sub-VP.
"""

from collections.abc import Callable

import jax.numpy as jnp

from score_jax.arrays import broadcast_right, fold_in_each, normal_per_example, sum_per_example
from score_jax.predictor import Predictor
from score_jax.processes.gaussian import GaussianProcess, NoiseSchedule
from score_jax.typing import Batch, KeyBatch, Time

Step = Callable[[KeyBatch, Batch, Time, Time, Predictor], tuple[Batch, Batch]]


def euler_maruyama(process: GaussianProcess) -> Step:
    """Euler-Maruyama on the reverse SDE: x + (f x - g² score)(s - t) + g sqrt(t - s) z. One evaluation."""

    def step(keys: KeyBatch, x: Batch, t: Time, s: Time, predictor: Predictor) -> tuple[Batch, Batch]:
        drift_rate = broadcast_right(process.drift_rate(t), x)
        g2 = broadcast_right(process.diffusion_squared(t), x)
        dt = broadcast_right(t - s, x)
        mean = x - (drift_rate * x - g2 * predictor(x, t).score) * dt
        return mean + jnp.sqrt(g2 * dt) * normal_per_example(keys, x), mean

    return step


def ancestral(process: NoiseSchedule) -> Step:
    """A draw from q(x_s | x_t, x0) at the model's x0: DDPM's (Ho et al. 2020, eq. 7, the smaller variance), and NCSN's.

    One evaluation.
    """

    def step(keys: KeyBatch, x: Batch, t: Time, s: Time, predictor: Predictor) -> tuple[Batch, Batch]:
        mean, variance = process.posterior(x, predictor(x, t).x0, t, s)
        return mean + jnp.sqrt(broadcast_right(variance, x)) * normal_per_example(keys, x), mean

    return step


def reverse_diffusion(process: NoiseSchedule) -> Step:
    """The forward kernel x_t = a x_s + b z, reversed: (2 - a) x + b² score + b z (appendix E, eq. 46). One evaluation.

    a and b² are the process's own between t and s, which the original approximates for VP by beta(t) / N.
    """

    def step(keys: KeyBatch, x: Batch, t: Time, s: Time, predictor: Predictor) -> tuple[Batch, Batch]:
        a, b2 = (broadcast_right(level, x) for level in process.kernel(t, s))
        mean = (2 - a) * x + b2 * predictor(x, t).score
        return mean + jnp.sqrt(b2) * normal_per_example(keys, x), mean

    return step


def langevin(process: NoiseSchedule, snr: float, num_steps: int) -> Step:
    """`num_steps` Langevin steps at time t (algorithms 4 and 5): x + h score + sqrt(2 h) z. `num_steps` evaluations.

    h = 2 a² snr² d / ||score||², with a² the squared scale of the kernel from s to t (1 for VE, 1 - beta_i for VP) and
    d the dimension, the paper's choice for ||z||² in small batches. The score's norm is the example's own, so that no
    example depends on its neighbours; the original averages it over the batch. In a few dimensions, where a score can
    vanish by chance, the step is then erratic: this is a rule for images.
    """

    def step(keys: KeyBatch, x: Batch, t: Time, s: Time, predictor: Predictor) -> tuple[Batch, Batch]:
        a, _ = process.kernel(t, s)
        mean = x
        for i in range(num_steps):
            score = predictor(x, t).score
            z = normal_per_example(fold_in_each(keys, i), x)
            h = broadcast_right(2 * a**2 * snr**2 * z[0].size / sum_per_example(score**2), x)
            mean = x + h * score
            x = mean + jnp.sqrt(2 * h) * z
        return x, mean

    return step


def predictor_corrector(predict: Step, correct: Step) -> Step:
    """The corrector, then the predictor, both at t: the order of the original code (its algorithm 1 has the other)."""

    def step(keys: KeyBatch, x: Batch, t: Time, s: Time, predictor: Predictor) -> tuple[Batch, Batch]:
        x, _ = correct(fold_in_each(keys, 1), x, t, s, predictor)
        return predict(fold_in_each(keys, 0), x, t, s, predictor)

    return step
