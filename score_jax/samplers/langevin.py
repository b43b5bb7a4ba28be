"""Langevin steps at a fixed time: x + h score + sqrt(2 h) z, with the step sizes h of the papers."""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float

from score_jax.arrays import broadcast_right, sum_per_example
from score_jax.prediction.predictor import Predictor
from score_jax.processes.gaussian import NoiseSchedule
from score_jax.processes.noise import Noise
from score_jax.samplers.steps import Step
from score_jax.typing import Batch, Time

StepSize = Callable[[Batch, Batch, Time, Time], Float[Array, "b"]]
"""`step_size(score, z, t, s)`: h of each example."""


def langevin(step_size: StepSize, num_steps: int = 1) -> Step:
    """Makes `num_steps` Langevin steps at t, with as many evaluations and draws."""

    def step(noise: Noise, x: Batch, t: Time, s: Time, predictor: Predictor) -> tuple[Batch, Batch]:
        mean = x
        for i in range(num_steps):
            score, z = predictor(x, t).score, noise(i)
            h = broadcast_right(step_size(score, z, t, s), x)
            mean = x + h * score
            x = mean + jnp.sqrt(2 * h) * z
        return x, mean

    return step


def by_snr(process: NoiseSchedule, snr: float) -> StepSize:
    """Returns step sizes h = 2 a² snr² d / ||score||², of each example's score (Song et al. 2021, algorithms 4 and 5).

    a² is the squared scale of the kernel from s to t (1 for VE, 1 - beta_i for VP) and d the dimension, the paper's
    choice for ||z||² in small batches. In a few dimensions, where a score can vanish by chance, the step is erratic:
    this is a rule for images.
    """

    def step_size(score: Batch, z: Batch, t: Time, s: Time) -> Float[Array, "b"]:
        a, _ = process.kernel(t, s)
        return 2 * a**2 * snr**2 * z[0].size / sum_per_example(score**2)

    return step_size


def by_batch_snr(process: NoiseSchedule, snr: float) -> StepSize:
    """Returns step sizes as `by_snr`, but from the batch's mean norms of noise and score, as score_sde does.

    For parity alone: a sample then depends on its batch.
    """

    def step_size(score: Batch, z: Batch, t: Time, s: Time) -> Float[Array, "b"]:
        a, _ = process.kernel(t, s)
        of_noise, of_score = (jnp.mean(jnp.sqrt(sum_per_example(v**2))) for v in (z, score))
        return 2 * a**2 * (snr * of_noise / of_score) ** 2

    return step_size


def by_std(process: NoiseSchedule, snr: float, std: Callable[[Time], Time] | None = None) -> StepSize:
    """Returns step sizes h = 2 a² (snr sigma)² (score_sde's annealed corrector "ald").

    Args:
      process: gives a², and sigma unless `std` does.
      snr: the ratio.
      std: sigma as a function of t, where it is not the process's own.
    """

    def step_size(score: Batch, z: Batch, t: Time, s: Time) -> Float[Array, "b"]:
        a, _ = process.kernel(t, s)
        return 2 * a**2 * (snr * (process.sigma if std is None else std)(t)) ** 2

    return step_size


def by_level(process: NoiseSchedule, step_lr: float, sigma_last: float) -> StepSize:
    """Returns step sizes h = step_lr (sigma / sigma_last)² (Song and Ermon 2019, algorithm 1: alpha / 2)."""

    def step_size(score: Batch, z: Batch, t: Time, s: Time) -> Float[Array, "b"]:
        return step_lr * (process.sigma(t) / sigma_last) ** 2

    return step_size


def rotated(p: Float[Array, "n b ..."], q: Float[Array, "n b ..."], count: int) -> Float[Array, "n m ..."]:
    """Returns cos(a) p + sin(a) q for `count` angles a from 0 to pi/2: noise (n, b * count, ...).

    The copies of an example lie next to each other; from equal starts they end in images between which there is a path
    (NCSNv2, Song and Ermon 2020, appendix; their code).
    """
    angle = jnp.linspace(0, jnp.pi / 2, count, dtype=p.dtype).reshape(count, *(1,) * (p.ndim - 2))
    mixed = p[:, :, None] * jnp.cos(angle) + q[:, :, None] * jnp.sin(angle)
    return mixed.reshape(p.shape[0], -1, *p.shape[2:])
