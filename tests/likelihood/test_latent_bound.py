"""The bound on images where all of it is known: a linear decoder with normal noise, under a normal prior."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from score_jax.errors import InputError
from score_jax.likelihood.bits import importance_weighted
from score_jax.likelihood.divergence import Divergence
from score_jax.likelihood.latent_bound import (
    DISTRIBUTIONS,
    LevelDecoder,
    activity,
    level_log_prob,
    terms,
    widened,
)
from score_jax.likelihood.latent_calibration import best_width, fit_decoder
from score_jax.likelihood.ode import log_prob
from score_jax.models.autoencoders.posterior import Posterior
from score_jax.prediction.predictor import score_predictor
from score_jax.processes.gaussian import VP
from score_jax.samplers.ode import AdaptiveODE

SHAPE, LATENT, SCALE, NOISE = (4, 4, 1), (2, 2, 1), 0.7, 0.3
X0_STD = 0.6
PRECISION = (SCALE / X0_STD) ** 2
"""Of z under the prior."""
D, DIM = 16, 4


@dataclasses.dataclass(frozen=True)
class Linear:
    """x = W z + b + noise, where x0 = SCALE z is normal of X0_STD; the columns of W are orthogonal."""

    weights: jax.Array
    shift: jax.Array

    def decode(self, z):
        return (z.reshape(len(z), DIM) @ self.weights.T + self.shift[None]).reshape(len(z), *SHAPE)

    def posterior(self, x):
        precision = PRECISION + jnp.sum(self.weights**2, axis=0) / NOISE**2
        mean = (x.reshape(len(x), D) - self.shift[None]) @ self.weights / NOISE**2 / precision[None]
        log_var = jnp.broadcast_to(-jnp.log(precision)[None], mean.shape)
        return Posterior(mean.reshape(-1, *LATENT), log_var.reshape(-1, *LATENT))

    def log_prob(self, x):
        covariance = self.weights @ self.weights.T / PRECISION + NOISE**2 * np.eye(D)
        law = scipy.stats.multivariate_normal(self.shift, covariance)
        return law.logpdf(np.asarray(x).reshape(len(x), D))

    def draw(self, count):
        z, noise = (jax.random.normal(jax.random.key(i), (count, size)) for i, size in ((0, DIM), (1, D)))
        return self.decode(z / PRECISION**0.5) + NOISE * noise.reshape(count, *SHAPE)


def linear():
    generator = np.random.default_rng(3)
    basis, _ = np.linalg.qr(generator.normal(size=(D, DIM)))
    return Linear(jnp.asarray(basis * np.array([0.4, 0.7, 1.0, 1.5])), jnp.asarray(generator.normal(size=D)))


def by_formula(x0):
    return jax.scipy.stats.norm.logpdf(x0, 0.0, X0_STD).sum(axis=(1, 2, 3)), None


@jax.jit
def by_ode(x0):
    """By the true score."""

    def score(x, t):
        variance = (process.alpha(t) * X0_STD) ** 2 + process.sigma(t) ** 2
        return -x / variance[:, None, None, None]

    process = VP()
    found = log_prob(
        score_predictor(score, process),
        process,
        jax.random.split(jax.random.key(5), len(x0)),
        x0,
        divergence=Divergence("exact"),
        ode=AdaptiveODE("dopri5", 1e-7, 1e-7),
        t_min=1e-5,
    )
    return found.log_prob, found.nfe


def weights(model, x, q, draws, prior=by_formula, level=None):
    """log w (n, draws) with the continuous density of the decoder, or with levels of a width."""

    def log_likelihood(z):
        means = model.decode(z)
        if level is None:
            return jax.scipy.stats.norm.logpdf(x, means, NOISE).sum(axis=(1, 2, 3))
        middle = 2**20  # so that no level is an outer one
        levels = jnp.round(x / level) + middle
        log_scale = jnp.full((1,) * 4, math.log(NOISE / level))
        each = level_log_prob(levels, means / level + middle, log_scale, "gaussian", 2 * middle)
        return each.sum(axis=(1, 2, 3)) - D * math.log(level)

    found = []
    for k in range(draws):
        eps = jax.random.normal(jax.random.key(100 + k), q.mean.shape)
        found.append(terms(q, eps, SCALE, log_prob=prior, log_likelihood=log_likelihood)[0].log_weight)
    return jnp.stack(found, axis=1)


def test_the_true_posterior_makes_the_bound_exact_at_every_number_of_draws(x64):
    model = linear()
    x = model.draw(3)
    found = weights(model, x, model.posterior(x), 3, by_ode)
    exact = model.log_prob(x)
    assert np.ptp(exact) > 1
    for k in (1, 2, 3):
        np.testing.assert_allclose(
            importance_weighted(found[:, :k]), exact, atol=2e-4
        )  # the prior at the end, and t_min


def test_levels_become_the_density_as_they_become_fine(x64):
    """With the square of their width."""
    model, errors = linear(), []
    for level in (0.1, 0.05, 0.025):
        x = jnp.round(model.draw(40) / 0.1) * 0.1  # levels of each width
        found = weights(model, x, model.posterior(x), 4, level=level)
        errors.append(float(np.sqrt(np.mean((importance_weighted(found) - model.log_prob(x)) ** 2))))
    assert 2e-3 < errors[0] < 0.2
    np.testing.assert_allclose([errors[0] / errors[1], errors[1] / errors[2]], 4.0, rtol=0.05)


@pytest.mark.parametrize("factor", [2.0, 0.6])
def test_another_posterior_loses_its_divergence_and_more_draws_win_it_back(factor, x64):
    """E log w = log p(x) - KL(q || p(z | x)), which is d (c² - 1 - 2 log c) / 2."""
    model = linear()
    x = jnp.broadcast_to(model.draw(1), (400, *SHAPE))
    q = widened(model.posterior(x), "widened", math.log(factor))
    found, exact = weights(model, x, q, 64), float(model.log_prob(x)[0])
    gap = DIM * (factor**2 - 1 - 2 * math.log(factor)) / 2
    error = float(found.std()) / found.size**0.5
    assert abs(float(found.mean()) - (exact - gap)) < 4 * error < 0.1 * gap
    bounds = [float(importance_weighted(found.reshape(-1, k)).mean()) for k in (1, 4, 16, 64)]
    assert sorted(bounds) == bounds
    assert exact - 0.25 * gap < bounds[-1] < exact + 0.02


@pytest.mark.parametrize("kind", ["widened", "constant"])
def test_a_width_is_found_that_makes_up_for_what_the_encoder_says(kind, x64):
    model = linear()
    x = model.draw(200)
    true = model.posterior(x)
    said = Posterior(true.mean, true.log_var - 2 * math.log(30.0))
    found, tried = best_width(
        lambda log_width: float(weights(model, x, widened(said, kind, log_width), 4).mean()), -6.0, 6.0
    )
    assert dict(tried)[found] == max(bound for _, bound in tried)
    if kind == "widened":
        assert abs(found - math.log(30.0)) < 0.1
        return
    # The best constant c of a diagonal posterior: 1 / c² is the mean of the precisions.
    precision = float(jnp.mean(jnp.exp(-true.log_var)))
    assert abs(found + 0.5 * math.log(precision)) < 0.1
    with pytest.raises(InputError, match="Did you mean 'widened'"):
        widened(said, "widend", 0.0)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("mean", [-7.0, 0.2, 100.4, 255.0, 300.0])
def test_probabilities_of_levels_are_those_of_intervals_and_sum_to_one(distribution, mean, x64):
    levels, law = jnp.arange(256), {"logistic": scipy.stats.logistic, "gaussian": scipy.stats.norm}[distribution]
    for scale in (0.05, 1.3, 40.0):
        found = level_log_prob(levels, jnp.full(256, mean), jnp.log(jnp.full(256, scale)), distribution)
        np.testing.assert_allclose(np.exp(found).sum(), 1.0, rtol=1e-9)
        edges = law.cdf((np.arange(1, 256) - 0.5 - mean) / scale)
        expected = np.diff(np.concatenate([[0.0], edges, [1.0]]))
        np.testing.assert_allclose(np.exp(found), expected, atol=1e-12)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_in_float32_no_level_is_impossible(distribution, x64):
    def of(dtype, mean, log_scale):
        means, scales = (jnp.full(256, value, dtype) for value in (mean, log_scale))
        return level_log_prob(jnp.arange(256), means, scales, distribution)

    for numbers in ((3.7, -3.0), (250.0, 0.0), (128.0, 6.0)):
        found, exact = of(jnp.float32, *numbers), of(jnp.float64, *numbers)
        assert found.dtype == jnp.float32 and np.isfinite(found).all()
        np.testing.assert_allclose(found, exact, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_scales_are_found_for_each_channel_and_group(distribution):
    generator = np.random.default_rng(0)
    changes = np.concatenate([np.full(5000, 0.5), np.full(5000, 3.0)]).astype(np.float32)
    changes += generator.uniform(0, 0.1, 10000).astype(np.float32)
    scales = np.array([[1.0, 2.0], [5.0, 12.0]])
    means = generator.uniform(60, 190, (10000, 2)).astype(np.float32)
    draw = {"logistic": generator.logistic, "gaussian": generator.normal}[distribution]
    levels = np.rint(means + scales.repeat(5000, axis=0) * draw(size=means.shape)).clip(0, 255).astype(np.uint8)
    decoder, value = fit_decoder(levels, means, changes, distribution, 2)
    np.testing.assert_allclose(np.exp(decoder.log_scale), scales, rtol=0.05)
    assert 0.6 < float(decoder.edges[0]) < 3.0
    _, pooled = fit_decoder(levels, means, changes, distribution, 1)
    assert value > pooled + 0.05


def test_the_groups_are_those_of_the_decoded_image():
    ramp = jnp.broadcast_to(2.0 * jnp.arange(8.0)[None, None, :, None], (1, 8, 8, 1))
    np.testing.assert_allclose(activity(ramp)[0, 4, 1:5], 2.0)
    np.testing.assert_allclose(activity(jnp.full((1, 4, 4, 3), 7.0)), 0.0)
    images = jnp.zeros((1, 8, 8, 1), jnp.uint8)
    decoder = LevelDecoder(jnp.array([[0.0], [3.0]]), jnp.array([1.0]))
    assert (np.asarray(decoder.groups(activity(ramp))[0, :, :6]) == 1).all()
    flat = jnp.full((1, 8, 8, 1), 4.0)
    each = level_log_prob(images, flat, jnp.zeros_like(flat))
    np.testing.assert_allclose(decoder.log_prob(images, flat), each.sum(axis=(1, 2, 3)), rtol=1e-6)
