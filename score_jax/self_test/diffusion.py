"""A sampler and the likelihood by the ODE, of Gaussian data with their exact score under VP."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from score_jax.arrays import broadcast_right
from score_jax.likelihood.divergence import Divergence
from score_jax.likelihood.ode import log_prob
from score_jax.prediction.predictor import Predictor, score_predictor
from score_jax.processes.gaussian import VP
from score_jax.samplers.heun import second_order
from score_jax.samplers.ode import AdaptiveODE
from score_jax.samplers.sample import FixedSteps, Sampler, sample
from score_jax.self_test.check import EPS, Check, Measured, compared
from score_jax.typing import Batch, Time

_MEAN, _STD = 0.3, 0.5
_BETA_MIN, _BETA_MAX = 0.1, 20.0
_PROCESS = VP(_BETA_MIN, _BETA_MAX)
_T_MIN = 1e-3
_STEPS = 12
Level = Float[np.ndarray, "..."]


def exact_score(x: Batch, t: Time) -> Batch:
    """Of x_t (b, ...), whose elements are N(alpha mean, alpha² std² + sigma²)."""
    alpha, sigma = (broadcast_right(level, x) for level in (_PROCESS.alpha(t), _PROCESS.sigma(t)))
    return (alpha * _MEAN - x) / (alpha**2 * _STD**2 + sigma**2)


def _predictor() -> Predictor:
    return score_predictor(exact_score, _PROCESS)


def _law(t: float) -> tuple[float, float]:
    """Mean and variance of each element of x_t."""
    alpha = math.exp(-0.25 * t**2 * (_BETA_MAX - _BETA_MIN) - 0.5 * t * _BETA_MIN)
    return alpha * _MEAN, alpha**2 * _STD**2 + 1 - alpha**2


def _slope(x: Level, t: float) -> Level:
    """dx/dt = -beta (x + score) / 2 (Song et al. 2021, eqs 11 and 13)."""
    beta = _BETA_MIN + t * (_BETA_MAX - _BETA_MIN)
    mean, variance = _law(t)
    return -0.5 * beta * (x + (mean - x) / variance)


def heun_steps() -> Measured:
    """Heun's steps from noise to data beside the same steps in NumPy, of which each is a closed form.

    Relative to the data's standard deviation. What rounding does grows with |x| and beta: bound 64 eps, several times
    what float32 gives.
    """
    grid = np.linspace(1.0, _T_MIN, _STEPS + 1).astype(np.float32)
    start = np.linspace(-2, 2, 24).reshape(2, 3, 4, 1).astype(np.float32)
    sampler = Sampler(FixedSteps(second_order(_PROCESS), jnp.asarray(grid), 2 * _STEPS), _T_MIN, denoise=False)

    @jax.jit
    def drawn(start: Array) -> Array:
        indices = jnp.arange(2)
        return sample(_predictor(), _PROCESS, sampler, jax.random.key(0), indices, start.shape[1:], initial=start).x

    want = start.astype(np.float64)
    times = grid.astype(np.float64)
    for t, s in itertools.pairwise(times):
        first = _slope(want, t)
        second = _slope(want + (s - t) * first, s)
        want = want + (s - t) * (first + second) / 2
    return compared(drawn(start), want, _STD, 64 * EPS)


def gaussian_likelihood() -> Measured:
    """log p by the ODE with the exact divergence beside the Gaussian's, in nats; bound 1e-3, as in the README.

    The solver's tolerance is 1e-5, and x has 4 dimensions.
    """
    x = np.linspace(-1, 1, 12).reshape(3, 2, 2, 1).astype(np.float32)
    mean_end, variance_end = _law(1.0)

    def terminal(latent: Batch) -> Float[Array, "b"]:
        return jnp.sum(jax.scipy.stats.norm.logpdf(latent, mean_end, variance_end**0.5), axis=(1, 2, 3))

    @jax.jit
    def measured(x: Array) -> Array:
        return log_prob(
            _predictor(),
            _PROCESS,
            jax.random.split(jax.random.key(0), len(x)),
            x,
            divergence=Divergence("exact"),
            ode=AdaptiveODE("tsit5", rtol=1e-5, atol=1e-5),
            t_min=_T_MIN,
            terminal_log_prob=terminal,
        ).log_prob

    mean, variance = _law(_T_MIN)
    want = -0.5 * np.sum((x.astype(np.float64) - mean) ** 2 / variance + np.log(2 * np.pi * variance), axis=(1, 2, 3))
    return compared(measured(x), want, 1.0, 1e-3)


CHECKS = (
    Check("Heun's steps", heun_steps, "The sampler's steps are wrong, and so are samples"),
    Check("likelihood of a Gaussian", gaussian_likelihood, "The likelihood by the ODE is wrong"),
)
