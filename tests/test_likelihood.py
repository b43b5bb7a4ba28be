"""Likelihood where it is known in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.data.toys import four_gaussians
from score_jax.data.transforms import log_bin_width
from score_jax.divergence import Divergence
from score_jax.errors import InputError
from score_jax.likelihood import bits_per_dim, log_prob
from score_jax.predictor import score_predictor
from score_jax.processes.gaussian import EDM, VE, VP, Cosine, Flow, LinearVE, SubVP
from score_jax.samplers.ode import AdaptiveODE

PROCESSES = {
    "ve": VE(0.01, 10.0),
    "vp": VP(),
    "sub_vp": SubVP(),
    "linear_ve": LinearVE(10.0),
    "edm": EDM(),
    "flow": Flow(),
    "cosine": Cosine(),
}
T_MIN = 1e-5


@pytest.mark.parametrize("name", PROCESSES)
def test_mixture_equals_the_closed_form(name, x64):
    process, mixture = PROCESSES[name], four_gaussians(jnp.float64)
    x = mixture.sample(jax.random.key(0), 32)
    keys = jax.random.split(jax.random.key(1), 32)

    @jax.jit
    def run(x):
        return log_prob(
            score_predictor(lambda y, t: mixture.score(y, t, process), process),
            process,
            keys,
            x,
            divergence=Divergence("exact"),
            ode=AdaptiveODE("tsit5", 1e-7, 1e-7),
            t_min=T_MIN,
            terminal_log_prob=lambda z: mixture.log_prob(z, jnp.full_like(z[:, 0], process.t_max), process),
        )

    result = run(x)
    exact = mixture.log_prob(x, jnp.full_like(x[:, 0], T_MIN), process)
    assert result.ok.all()
    np.testing.assert_allclose(result.log_prob, exact, atol=1e-5)
    np.testing.assert_allclose(result.log_prob, result.prior_log_prob + result.divergence, rtol=1e-12)


def linear_case(divergence, count, seed=0):
    """Data N(0, C) with a correlated C: the score is linear, its divergence one number."""
    process, dim = VP(), 4
    root = jnp.tril(0.3 * jnp.ones((dim, dim))) + 0.3 * jnp.eye(dim)
    covariance = root @ root.T

    def score(x, t):
        def one(x, t):
            marginal = process.alpha(t) ** 2 * covariance + process.sigma(t) ** 2 * jnp.eye(dim)
            return -jnp.linalg.solve(marginal, x)

        return jax.vmap(one)(x, t)

    x = jnp.tile((root @ jax.random.normal(jax.random.key(3), (dim,)))[None], (count, 1))
    result = jax.jit(
        lambda keys: log_prob(
            score_predictor(score, process),
            process,
            keys,
            x,
            divergence=Divergence(divergence),
            ode=AdaptiveODE("dopri5", 1e-5, 1e-5),
            t_min=T_MIN,
        )
    )(jax.random.split(jax.random.key(seed), count))
    exact = jax.scipy.stats.multivariate_normal.logpdf(x[0], jnp.zeros(dim), covariance)
    return np.asarray(result.log_prob), float(exact)


@pytest.mark.parametrize("divergence", ["rademacher", "gaussian"])
def test_hutchinson_is_unbiased(divergence):
    values, exact = linear_case(divergence, 600)
    error = values.std(ddof=1) / len(values) ** 0.5
    assert error > 1e-3  # the estimator is random indeed
    assert abs(values.mean() - exact) < 3 * error + 2e-3


def test_exact_divergence_does_not_depend_on_the_key():
    (first, exact), (second, _) = linear_case("exact", 2), linear_case("exact", 2, seed=9)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(first, exact, atol=5e-3)


@pytest.mark.parametrize("value_range", [(-1.0, 1.0), (0.0, 1.0), (-0.5, 3.5)])
@pytest.mark.parametrize("bits", [8, 5])
def test_uniform_data_has_as_many_bits_as_levels(value_range, bits):
    """The uniform density over the range is the uniform law over 2^bits levels."""
    dim, (low, high) = 12, value_range
    log_prob = jnp.full((3,), -dim * np.log(high - low))
    np.testing.assert_allclose(bits_per_dim(log_prob, dim, log_bin_width(value_range, bits)), bits, rtol=1e-6)


def test_unknown_estimator_is_refused():
    with pytest.raises(InputError, match="Did you mean 'rademacher'"):
        log_prob(
            score_predictor(lambda x, t: -x, VP()),
            VP(),
            jax.random.split(jax.random.key(0), 1),
            jnp.zeros((1, 2)),
            divergence=Divergence("rademacker"),
            ode=AdaptiveODE(),
            t_min=1e-5,
        )
