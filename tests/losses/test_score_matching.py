"""Denoising score matching where the best score and its loss are known: Gaussian data."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.losses import weighting
from score_jax.losses.score_matching import denoising
from score_jax.losses.time_sampling import TIME_SAMPLINGS, stratified, stratified_mixture
from score_jax.prediction.predictor import score_predictor
from score_jax.processes.gaussian import VE, VP, SubVP

STD, DIM, COUNT = 0.5, 6, 20_000


def exact_score(process):
    def score(x, t):
        return -x / ((process.alpha(t) * STD) ** 2 + process.sigma(t) ** 2)[:, None]

    return score


@pytest.mark.parametrize("process", [VE(0.01, 5.0), VP(), SubVP()], ids=lambda p: type(p).__name__)
def test_loss_at_the_true_score_is_the_posterior_variance(process):
    """E ||eps - E[eps | x_t]||² = d (alpha s)² / ((alpha s)² + sigma²) for data N(0, s²)."""
    data_key, noise_key = jax.random.split(jax.random.key(0))
    x0 = STD * jax.random.normal(data_key, (COUNT, DIM))
    eps = jax.random.normal(noise_key, (COUNT, DIM))
    t = jnp.full((COUNT,), 0.3)
    signal, noise = (process.alpha(t[0]) * STD) ** 2, process.sigma(t[0]) ** 2
    predictor = score_predictor(exact_score(process), process)
    values = denoising(predictor, process, x0, t, eps)
    expected = DIM * signal / (signal + noise)
    assert values.shape == (COUNT,)
    np.testing.assert_allclose(values.mean(), expected, rtol=0.02)
    worse = score_predictor(lambda x, t: 0.8 * exact_score(process)(x, t), process)
    assert denoising(worse, process, x0, t, eps).mean() > values.mean()
    weighted = denoising(predictor, process, x0, t, eps, weighting.likelihood)
    np.testing.assert_allclose(weighted / values, process.diffusion_squared(t) / noise, rtol=1e-4)


def test_likelihood_weighted_loss_is_the_kl_divergence():
    """KL(p_0 || q_0) - KL(p_1 || q_1) = 1/2 E int g² ||score_p - score_q||² (Song et al. 2021b, theorem 1).

    The denoising loss differs from that integrand by its value at the true score.
    """
    process, count = VP(), 4000
    q_std = 0.7
    key = jax.random.key(1)
    x0 = STD * jax.random.normal(key, (count, DIM))
    eps = jax.random.normal(jax.random.fold_in(key, 1), (count, DIM))
    grid = (jnp.arange(200) + 0.5) / 200

    def q_score(x, t):
        return -x / ((process.alpha(t) * q_std) ** 2 + process.sigma(t) ** 2)[:, None]

    @jax.jit
    def excess(t):
        t = jnp.full((count,), t)
        losses = [
            denoising(score_predictor(s, process), process, x0, t, eps, weighting.likelihood)
            for s in (q_score, exact_score(process))
        ]
        return (losses[0] - losses[1]).mean()

    def kl(p, q):
        return 0.5 * DIM * (p / q - 1 - np.log(p / q))

    integral = 0.5 * np.mean([excess(t) for t in grid])
    a2, s2 = process.alpha(jnp.ones(())) ** 2, process.sigma(jnp.ones(())) ** 2
    expected = kl(STD**2, q_std**2) - kl(a2 * STD**2 + s2, a2 * q_std**2 + s2)
    np.testing.assert_allclose(integral, expected, rtol=0.02)


@pytest.mark.parametrize("name", ["uniform", "stratified"])
def test_times_are_uniform(name):
    draws = np.concatenate([TIME_SAMPLINGS[name](jax.random.key(i), 64, 0.1) for i in range(200)])
    assert draws.min() >= 0.1 and draws.max() <= 1.0
    quantiles = np.quantile(draws, [0.1, 0.5, 0.9])
    np.testing.assert_allclose(quantiles, [0.19, 0.55, 0.91], atol=0.02)


def test_stratified_times_cover_every_stratum_in_each_batch():
    t = np.sort((stratified(jax.random.key(3), 50, 0.0) * 50).astype(int))
    np.testing.assert_array_equal(t, np.arange(50))


def test_mixture_spends_half_of_the_batch_on_small_times():
    t = stratified_mixture(jax.random.key(0), 1000, 1e-5)
    below = 500 * (1 - np.log(1e-3) / np.log(1e-5)) + 500 * 1e-3
    np.testing.assert_allclose((t < 1e-3).sum(), below, atol=2)
