"""Analytic variances of normal data, whose reverse kernels are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.errors import InputError
from score_jax.prediction.analytic_variance import Moments, analytic, moments_of, squared_eps, variance_of
from score_jax.prediction.predictor import from_score
from score_jax.prediction.reverse import VARIANCES
from score_jax.processes.chain import chain_at, ve_chain, vp_chain
from score_jax.processes.gaussian import VP
from score_jax.processes.respacing import respace
from score_jax.samplers.grids import even_levels
from score_jax.samplers.sample import FixedSteps, Sampler, sample
from score_jax.samplers.steps import ancestral

STD, STEPS = 0.3, 5
CHAINS = {
    "vp": lambda: vp_chain("linear", 1000),
    "cosine": lambda: vp_chain("cosine", 1000),
    "ve": lambda: ve_chain(0.01, 50.0, 1000),
    "no_signal_at_the_end": lambda: vp_chain("jsd", 1000),
    "continuous": lambda: chain_at(VP(), np.linspace(1e-3, 1.0, 1000)),
}


def strided(name, steps=STEPS):
    chain = CHAINS[name]()
    return respace(chain, even_levels(chain.num_levels, steps)).chain


def exact_moments(chain, std=STD):
    """Of data N(0, std²): eps_hat = sigma x / (alpha² std² + sigma²)."""
    t = jnp.arange(chain.num_levels - 1.0, -1.0, -1.0)
    mean = chain.sigma(t) ** 2 / ((chain.alpha(t) * std) ** 2 + chain.sigma(t) ** 2)
    return Moments(np.asarray(t), np.asarray(mean), std**2)


def predictor_of(chain, std=STD):
    def predict(x, t):
        variance = (chain.alpha(t) * std) ** 2 + chain.sigma(t) ** 2
        return from_score(-x / variance[:, None], x, t, chain)

    return predict


def true_variance(chain, t, std=STD):
    """Of x at the level below, given x at level t."""
    a, b2 = chain.kernel(t, t - 1)
    below = (chain.alpha(t - 1) * std) ** 2 + chain.sigma(t - 1) ** 2
    return below * b2 / (a**2 * below + b2)


@pytest.mark.parametrize("name", CHAINS)
def test_it_is_the_true_variance_of_every_strided_step(name, x64):
    chain = strided(name)
    t = jnp.arange(float(STEPS))
    found, logarithm = analytic(exact_moments(chain))(chain, None, jnp.zeros((STEPS, 2)), t, t - 1)
    np.testing.assert_allclose(found[:, 0], true_variance(chain, t), rtol=1e-6)
    np.testing.assert_allclose(logarithm, np.log(found), rtol=1e-12)


def test_it_is_theorem_1(x64):
    """As the paper writes it, with beta-bar = sigma² and Gamma = G / sigma², and any G."""
    chain, mean = strided("vp"), np.array([0.9, 0.7, 0.5, 0.2, 0.1])
    t = jnp.arange(1.0, STEPS)
    found, _ = analytic(Moments(np.arange(float(STEPS))[::-1], mean, 1e6))(
        chain, None, jnp.zeros((STEPS - 1, 1)), t, t - 1
    )
    ratio = np.asarray(chain.alpha(t) / chain.alpha(t - 1)) ** 2
    now, below = np.asarray(chain.sigma(t)) ** 2, np.asarray(chain.sigma(t - 1)) ** 2
    square = below / now * (1 - ratio)
    gamma = mean[::-1][1:] / now
    expected = square + (np.sqrt(now / ratio) - np.sqrt(below - square)) ** 2 * (1 - now * gamma)
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-9)


def variance_of_walk(chain, variance, std=STD):
    """Of what a walk from the prior ends with, N(0, .), by the exact mean of each step; its last step adds no noise."""
    now = chain.prior_std**2
    for level in range(chain.num_levels - 1, -1, -1):
        t = jnp.array([float(level)])
        a, _ = chain.kernel(t, t - 1)
        below, at = ((chain.alpha(u) * std) ** 2 + chain.sigma(u) ** 2 for u in (t - 1, t))
        added = variance(chain, None, jnp.zeros((1, 1)), t, t - 1)[0][0, 0]
        now = float((a * below / at)[0]) ** 2 * now + (float(added) if level else 0.0)
    return now


@pytest.mark.parametrize("name", ["vp", "cosine"])
def test_few_steps_keep_the_variance_of_the_data(name, x64):
    """All of it but what the last step leaves out, the variance of x0 given x at the first level."""
    chain = strided(name)
    left_out = float(true_variance(chain, jnp.array([0.0]))[0])
    found = variance_of_walk(chain, analytic(exact_moments(chain))) + left_out
    assert found == pytest.approx(STD**2, rel=1e-3)
    small, large = (variance_of_walk(chain, VARIANCES[name]) + left_out for name in ("fixed_small", "fixed_large"))
    assert small < 0.9 * STD**2 and large > 1.3 * STD**2


def test_a_sampler_draws_the_data_with_what_it_has_measured():
    chain, keys = strided("vp"), jax.random.split(jax.random.key(0), 4096)
    x0 = STD * jax.random.normal(jax.random.key(1), (4096, 64))
    times = jnp.arange(STEPS - 1.0, -1.0, -1.0)
    squared = squared_eps(predictor_of(chain), chain, times, x0, keys)
    assert squared.shape == (4096, STEPS)
    moments = moments_of(np.asarray(times), np.asarray(squared), np.asarray(jnp.mean(x0**2, axis=1)))
    np.testing.assert_allclose(moments.mean_squared_eps, exact_moments(chain).mean_squared_eps, atol=5e-3)
    spread = {}
    for name in ("analytic", "fixed_small"):
        method = FixedSteps(ancestral(chain, variance_of(name, moments)), jnp.append(times, -1.0), STEPS)
        walk = Sampler(method, t_min=-1.0, denoise=False)
        drawn = sample(predictor_of(chain), chain, walk, jax.random.key(2), jnp.arange(4096), (64,))
        spread[name] = float(jnp.std(drawn.x))
    assert spread["analytic"] == pytest.approx(STD, rel=0.02)
    assert spread["fixed_small"] < 0.95 * STD


def test_the_error_of_a_measured_moment_is_bounded_where_there_is_no_signal(x64):
    """At the last level of the cosine chain the noise is 20,000 times the signal."""
    chain = strided("cosine", 64)
    t = jnp.array([63.0])
    small = chain.posterior_coefficients(t, t - 1)[2][0]
    exact = exact_moments(chain)
    for off in (-0.01, 0.01):
        moments = Moments(exact.times, np.maximum(exact.mean_squared_eps + off, 0.0), STD**2)
        found = analytic(moments)(chain, None, jnp.zeros((1, 1)), t, t - 1)[0][0, 0]
        assert small <= found <= small + float(chain.alpha(t - 1)[0] * STD) ** 2 * (1 + 1e-9)


def test_moments_are_clipped(x64):
    """G in [0, 1]: above 1 nothing of x0 is unknown, below 0 there is no more than all of its noise."""
    chain, t = strided("vp"), jnp.arange(1.0, STEPS)
    x, times = jnp.zeros((STEPS - 1, 1)), np.arange(float(STEPS))[::-1]
    found = analytic(Moments(times, np.full(STEPS, 1.5), 1.0))(chain, None, x, t, t - 1)[0]
    np.testing.assert_allclose(found, VARIANCES["fixed_small"](chain, None, x, t, t - 1)[0], rtol=1e-12)
    few = moments_of(times, np.full((3, STEPS), -0.1), np.ones(3))
    np.testing.assert_array_equal(few.mean_squared_eps, 0.0)


@pytest.mark.parametrize(
    ("times", "means", "x0", "message"),
    [
        ([2.0, 1.0], [0.5], 1.0, "2 times have 1"),
        ([], [], 1.0, "0 times have 0"),
        ([1.0, 2.0], [0.5, 0.5], 1.0, "need decreasing times"),
        ([2.0, 1.0], [0.5, np.nan], 1.0, "finite and at least 0"),
        ([2.0, 1.0], [0.5, -0.1], 1.0, "finite and at least 0"),
        ([2.0, 1.0], [0.5, 0.5], np.inf, "finite and at least 0"),
    ],
)
def test_what_are_no_moments(times, means, x0, message):
    with pytest.raises(InputError, match=message) as found:
        Moments(np.array(times), np.array(means), x0)
    assert "\n" not in str(found.value)


def test_a_step_without_moments_says_that_they_are_missing():
    chain, t = strided("vp"), jnp.array([1.0])
    step = ancestral(chain, variance_of("analytic", None))
    with pytest.raises(InputError, match="sampler.variance=analytic takes moments"):
        step(lambda j: jnp.zeros((1, 1)), jnp.zeros((1, 1)), t, t - 1, predictor_of(chain))
