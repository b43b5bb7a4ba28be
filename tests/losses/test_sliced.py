"""Sliced score matching against denoising score matching and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.losses import loss_history, sliced, weighting
from score_jax.losses.score_matching import denoising
from score_jax.prediction.predictor import score_predictor
from score_jax.processes.chain import ve_chain, vp_chain
from score_jax.processes.gaussian import VP, Flow

COUNT, DIM = 20_000, 6


def linear(scale):
    return lambda x: -scale * x


@pytest.mark.parametrize("name", ["rademacher", "sphere", "gaussian"])
@pytest.mark.parametrize("reduced", [True, False])
def test_the_objective_of_a_linear_score(name, reduced):
    """For data N(0, 1) and s = -a x: E[||s||²/2 + tr J] = d (a²/2 - a), smallest at the true a = 1."""
    x = jax.random.normal(jax.random.key(0), (COUNT, DIM))
    v = sliced.directions(jax.random.split(jax.random.key(1), COUNT), x, sliced.PROJECTIONS[name])
    values = {}
    for scale in (0.7, 1.0, 1.3):
        norm, bend = sliced.sliced(linear(scale), x, v, variance_reduced=reduced)
        values[scale] = float((norm + bend).mean())
        np.testing.assert_allclose(values[scale], DIM * (scale**2 / 2 - scale), atol=0.15)
    assert values[1.0] < min(values[0.7], values[1.3])


def test_finite_differences_approach_the_derivative():
    x, v = jax.random.normal(jax.random.key(0), (2, 16, DIM))
    score = lambda x: jnp.tanh(x) * jnp.cos(x)  # noqa: E731
    exact = sliced.sliced(score, x, v, variance_reduced=True)
    for epsilon, tolerance in ((0.1, 0.4), (0.01, 4e-3)):
        near = sliced.sliced(score, x, v, variance_reduced=True, curvature=sliced.finite_difference(epsilon))
        np.testing.assert_allclose(near[1], exact[1], atol=tolerance)


def test_sliced_and_denoising_objectives_differ_by_a_constant():
    """Of two scores the same one is better, and by as much (Vincent 2011)."""
    chain = ve_chain(0.1, 1.0, 5)
    key = jax.random.key(0)
    x0 = jax.random.normal(key, (COUNT, DIM))
    noise = jax.random.normal(jax.random.fold_in(key, 1), x0.shape)
    t = jnp.full(COUNT, 3.0)
    v = sliced.rademacher(jax.random.normal(jax.random.fold_in(key, 2), x0.shape))
    by_slices, by_noise = [], []
    for scale in (0.5, 0.8):
        score = lambda x, t, scale=scale: -scale * x  # noqa: E731
        by_slices.append(sliced.annealed(score, chain, x0, t, noise, v).mean())
        by_noise.append(0.5 * denoising(score_predictor(score, chain), chain, x0, t, noise).mean())
    np.testing.assert_allclose(by_slices[0] - by_slices[1], by_noise[0] - by_noise[1], atol=0.03)


@pytest.mark.parametrize("process", [VP(), Flow()], ids=["vp", "flow"])
def test_weights_turn_one_error_into_another(process):
    x0, noise = jax.random.normal(jax.random.key(0), (2, 5, DIM))
    t = jnp.array([0.05, 0.3, 0.5, 0.8, 0.95])
    alpha, sigma = process.alpha(t)[:, None], process.sigma(t)[:, None]
    model = score_predictor(lambda x, t: -0.5 * x, process)
    prediction = model(process.perturb(x0, t, noise), t)
    alpha_rate, sigma_rate = (rate[:, None] for rate in process.rates(t))
    errors = {
        "eps": prediction.eps - noise,
        "x0": prediction.x0 - x0,
        "v": alpha * (prediction.eps - noise) - sigma * (prediction.x0 - x0),
        "velocity": alpha_rate * (prediction.x0 - x0) + sigma_rate * (prediction.eps - noise),
    }
    for name, error in errors.items():
        weighted = denoising(model, process, x0, t, noise, weighting.WEIGHTINGS[name])
        np.testing.assert_allclose(weighted, jnp.sum(error**2, axis=1), rtol=1e-3)
    snr = (alpha / sigma)[:, 0] ** 2
    x0_error = jnp.sum(errors["x0"] ** 2, axis=1)
    for name, weight in (("min_snr", jnp.minimum(snr, 5.0)), ("truncated_snr", jnp.maximum(snr, 1.0))):
        weighted = denoising(model, process, x0, t, noise, weighting.WEIGHTINGS[name])
        np.testing.assert_allclose(weighted, weight * x0_error, rtol=1e-3)


def test_times_are_drawn_by_their_losses_once_all_are_known():
    history = loss_history.empty_history(4, history=2)
    t, factors = loss_history.draw(history, jax.random.key(0), 1000)
    np.testing.assert_allclose(factors, 1.0, rtol=1e-6)
    np.testing.assert_allclose(np.bincount(np.asarray(t, int)), 250, rtol=0.2)
    losses = jnp.array([1.0, 2.0, 3.0, 4.0])
    for _ in range(2):
        history = loss_history.remember(history, jnp.arange(4.0), losses)
    assert loss_history.warmed_up(history)
    t, factors = loss_history.draw(history, jax.random.key(1), 20_000)
    np.testing.assert_allclose(np.bincount(np.asarray(t, int)) / 20_000, losses / 10, atol=0.02)
    # The mean of the weighted losses is that of uniform times.
    np.testing.assert_allclose((factors * losses[t.astype(int)]).mean(), losses.mean(), rtol=1e-2)


def test_a_full_history_forgets_its_oldest():
    history = loss_history.empty_history(2, history=2)
    for loss in (1.0, 2.0, 3.0):
        history = loss_history.remember(history, jnp.zeros(1), jnp.array([loss]))
    np.testing.assert_array_equal(history.losses[0], [2.0, 3.0])
    np.testing.assert_array_equal(history.counts, [2, 0])
    assert vp_chain("linear", 30).num_levels == 30


def test_until_every_level_is_known_times_are_uniform():
    history = loss_history.empty_history(2, history=2)
    for loss in (1.0, 9.0):
        history = loss_history.remember(history, jnp.zeros(1), jnp.array([loss]))
    assert not loss_history.warmed_up(history)
    np.testing.assert_allclose(loss_history.importance(history, jnp.array([0, 1])), (1, 1))
