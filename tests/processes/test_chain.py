"""Discrete chains against the closed forms of their papers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.arrays import keys_per_example
from score_jax.errors import InputError
from score_jax.losses.time_sampling import uniform_index
from score_jax.prediction.predictor import score_predictor
from score_jax.processes.chain import DATA, ve_chain, vp_chain
from score_jax.processes.gaussian import VP
from score_jax.processes.levels import NoiseLevels
from score_jax.samplers import steps
from score_jax.samplers.grids import levels
from score_jax.samplers.sample import FixedSteps, Sampler, sample


def test_ddpms_levels(x64):
    """Ho et al. 2020: betas from 1e-4 to 0.02, and alpha_bar of the last level 4.0358e-5."""
    chain = vp_chain("linear", 1000)
    t = jnp.arange(1000.0)
    abar = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))
    np.testing.assert_allclose(chain.alpha(t) ** 2, abar, rtol=1e-10)
    np.testing.assert_allclose(chain.sigma(t) ** 2, 1 - abar, rtol=1e-10)
    np.testing.assert_allclose(abar[-1], 4.0358e-5, rtol=1e-4)
    assert chain.t_max == 999.0


def test_the_cosine_schedule_ends_in_noise_and_its_steps_are_cut(x64):
    chain = vp_chain("cosine", 4000)
    t = jnp.arange(4000.0)
    beta = 1 - chain.alpha(t[1:]) ** 2 / chain.alpha(t[:-1]) ** 2
    assert chain.alpha(t)[-1] < 1e-3 and np.diff(chain.sigma(t)).min() > -1e-12
    np.testing.assert_allclose(beta[-1], 0.999, rtol=1e-6)
    u = (np.arange(1, 4001) / 4000 + 0.008) / 1.008
    f0 = np.cos(0.008 / 1.008 * np.pi / 2) ** 2
    np.testing.assert_allclose(chain.alpha(t)[:3999] ** 2, (np.cos(u * np.pi / 2) ** 2 / f0)[:3999], rtol=1e-8)


def test_the_posterior_is_ddpms(x64):
    """Ho et al. 2020, eq. 7, with its own names."""
    chain, rng = vp_chain("linear", 1000), np.random.default_rng(0)
    x, x0 = rng.normal(size=(2, 3, 5))
    t = np.array([1, 500, 999])
    beta = np.linspace(1e-4, 0.02, 1000)
    abar = np.cumprod(1 - beta)
    before, now = abar[t - 1], abar[t]
    c0, cx = np.sqrt(before) * beta[t] / (1 - now), np.sqrt(1 - beta[t]) * (1 - before) / (1 - now)
    mean, variance = chain.posterior(jnp.asarray(x), jnp.asarray(x0), jnp.asarray(t, float), jnp.asarray(t - 1, float))
    np.testing.assert_allclose(mean, c0[:, None] * x0 + cx[:, None] * x, rtol=1e-8)
    np.testing.assert_allclose(variance, beta[t] * (1 - before) / (1 - now), rtol=1e-8)


def test_ncsns_levels_count_from_the_most_noise(x64):
    levels, chain = NoiseLevels(50.0, 0.01, 232), ve_chain(0.01, 50.0, 232)
    assert levels.sigmas[0] == pytest.approx(50.0) and levels.sigmas[-1] == pytest.approx(0.01)
    np.testing.assert_allclose(levels.sigmas[:-1] / levels.sigmas[1:], 5000 ** (1 / 231), rtol=1e-10)
    np.testing.assert_allclose(chain.sigma(jnp.arange(232.0)), levels.sigmas[::-1], rtol=1e-12)
    np.testing.assert_allclose(NoiseLevels(1.0, 0.1, 10, "uniform").sigmas, np.arange(10, 0, -1) / 10, rtol=1e-12)


def test_an_index_between_two_levels_is_the_lower_one():
    chain = vp_chain("linear", 1000)
    np.testing.assert_array_equal(
        chain.sigma(jnp.array([499.99, 500.0, 500.7])), chain.sigma(jnp.array([499.0, 500, 500]))
    )


def test_ancestral_sampling_draws_the_data():
    """N(0.4, 0.3²) through 1000 levels: every level is visited once, the last step is the model's x0."""
    chain, seen = vp_chain("linear", 1000), []

    def score(x, t):
        jax.debug.callback(lambda t: seen.append(float(t)), t[0])
        alpha, sigma = chain.alpha(t)[:, None], chain.sigma(t)[:, None]
        return -(x - 0.4 * alpha) / ((0.3 * alpha) ** 2 + sigma**2)

    sampler = Sampler(FixedSteps(steps.ancestral(chain), levels(np.arange(1000)), 1000), DATA, denoise=False)
    drawn = sample(score_predictor(score, chain), chain, sampler, jax.random.key(0), jnp.arange(256), (16,))
    jax.effects_barrier()
    assert sorted(seen) == list(range(1000)) and (drawn.nfe == 1000).all()
    np.testing.assert_allclose((drawn.x.mean(), drawn.x.std()), (0.4, 0.3), atol=0.01)


def test_ddpms_chain_is_a_discretised_vp():
    chain, process = vp_chain("linear", 1000), VP()
    t = jnp.arange(99.0, 1000.0, 100)
    np.testing.assert_allclose(chain.log_alpha(t), process.log_alpha((t + 1) / 1000), rtol=0.01)


def test_indices_are_uniform_over_all_levels():
    drawn = uniform_index(jax.random.key(0), 20_000, 0.0, num_levels=10)
    np.testing.assert_allclose(np.bincount(np.asarray(drawn, int), minlength=10), 2000, rtol=0.1)


def test_perturbation_has_the_levels_law():
    chain = ve_chain(0.01, 50.0, 10)
    keys = keys_per_example(jax.random.key(0), jnp.arange(4))
    assert np.std(chain.prior_sample(keys, jnp.zeros((4, 4096)))) == pytest.approx(50.0, rel=0.03)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: vp_chain("cosin"), "Did you mean 'cosine'"),
        (lambda: vp_chain("cosine", beta_min=0.1), "The cosine schedule has no beta_min"),
        (lambda: vp_chain("linear", 6), "6 levels have betas from 0.0166667 to 3.33333"),
        (lambda: ve_chain(0.01, 1.0, 10, "geometrical"), "Did you mean 'geometric'"),
    ],
)
def test_mistakes_are_answered(make, message):
    with pytest.raises(InputError, match=message):
        make()
