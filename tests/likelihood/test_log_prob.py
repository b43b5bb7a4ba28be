"""Likelihood where it is known in closed form."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gaussian_processes import every_process

from score_jax.codecs.pixels import Pixels
from score_jax.data.toys import four_gaussians
from score_jax.likelihood.bits import bits_per_dim, importance_weighted
from score_jax.likelihood.divergence import Divergence
from score_jax.likelihood.ode import log_prob, truncation_bound
from score_jax.prediction.predictor import from_score, score_predictor
from score_jax.processes.chain import ve_chain, vp_chain
from score_jax.processes.gaussian import VE, VP
from score_jax.processes.interpolated import Interpolated
from score_jax.samplers.ode import AdaptiveODE, GridODE

PROCESSES = every_process(10.0)
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


def linear_case(divergence, count, seed=0, control="example"):
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
            divergence=divergence,
            ode=AdaptiveODE("dopri5", 1e-5, 1e-5, control=control),
            t_min=T_MIN,
        )
    )(jax.random.split(jax.random.key(seed), count))
    exact = jax.scipy.stats.multivariate_normal.logpdf(x[0], jnp.zeros(dim), covariance)
    return result, float(exact)


ESTIMATORS = {
    "rademacher": Divergence("rademacher"),
    "gaussian": Divergence("gaussian"),
    "orthogonal": Divergence("orthogonal", 2),
    "hutch_plus_plus": Divergence("hutch_plus_plus", 6),
    "fresh": Divergence("rademacher", 2, fresh=True),
    "reverse": Divergence("rademacher", 2, derivative="reverse"),
}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_estimates_are_unbiased_and_know_their_error(name):
    result, exact = linear_case(ESTIMATORS[name], 600)
    values = np.asarray(result.log_prob)
    error = values.std(ddof=1) / len(values) ** 0.5
    assert error > 1e-3  # the estimator is random indeed
    assert abs(values.mean() - exact) < 3 * error + 2e-3
    if ESTIMATORS[name].parts > 1:
        np.testing.assert_allclose(np.sqrt(np.mean(result.standard_error**2)), values.std(), rtol=0.15)
    else:
        assert np.isnan(result.standard_error).all()


def test_fresh_probes_average_their_noise_along_the_path():
    (fixed, _), (fresh, _) = (linear_case(Divergence("gaussian", fresh=fresh), 300) for fresh in (False, True))
    assert fresh.log_prob.std() < 0.7 * fixed.log_prob.std()
    np.testing.assert_array_equal(fresh.nfe, fresh.nfe[0])  # the noise does not touch the step sizes


def test_exact_divergence_does_not_depend_on_the_key():
    (first, exact), (second, _) = linear_case(Divergence("exact"), 2), linear_case(Divergence("exact"), 2, seed=9)
    np.testing.assert_array_equal(first.log_prob, second.log_prob)
    np.testing.assert_array_equal(first.standard_error, 0.0)
    np.testing.assert_allclose(first.log_prob, exact, atol=5e-3)


def test_a_batch_with_one_step_size_agrees():
    (alone, exact), (together, _) = (
        linear_case(Divergence("exact"), 3, control=control) for control in ("example", "batch")
    )
    np.testing.assert_allclose(together.log_prob, exact, atol=5e-3)
    np.testing.assert_allclose(together.log_prob, alone.log_prob, atol=1e-3)
    assert together.ok.all()
    assert together.nfe.shape == (3,)


def gaussian_model(process, variance, told=False):
    """The exact score of data N(mean, variance I), the mean being the condition where the model is told any."""

    def score(x, t, mean):
        alpha, sigma = process.alpha(t)[:, None], process.sigma(t)[:, None]
        return -(x - alpha * mean) / (alpha**2 * variance + sigma**2)

    if told:
        return lambda x, t, mean: from_score(score(x, t, mean), x, t, process)
    return score_predictor(lambda x, t: score(x, t, jnp.zeros_like(x)), process)


@pytest.mark.parametrize("control", ["example", "batch"])
def test_every_example_is_told_its_own_condition(control):
    process, variance = VP(), 0.25
    means = 0.3 * jnp.array([[0.0, 0.5], [1.0, -1.0], [-0.3, 0.2]])  # small, as the prior's mean is 0
    x = jnp.array([[0.1, 0.2], [0.3, -0.4], [0.0, 1.0]])
    run = jax.jit(
        lambda x, means: log_prob(
            gaussian_model(process, variance, told=True),
            process,
            jax.random.split(jax.random.key(0), 3),
            x,
            divergence=Divergence("exact"),
            ode=AdaptiveODE("tsit5", 1e-5, 1e-5, control=control),
            t_min=T_MIN,
            conditions=means,
        )
    )
    exact = jax.scipy.stats.norm.logpdf(x, means, variance**0.5).sum(axis=1)
    np.testing.assert_allclose(run(x, means).log_prob, exact, atol=5e-3)


def test_on_a_grid_the_error_falls_with_the_order_of_the_solver(x64):
    process, x = VP(), jnp.array([[0.1, 0.2], [0.5, -0.4]])
    model, keys = gaussian_model(process, 0.25), jax.random.split(jax.random.key(0), 2)
    # The law at t_min, and the true one at 1.
    early, late = (float(process.alpha(t) ** 2 * 0.25 + process.sigma(t) ** 2) ** 0.5 for t in jnp.array([T_MIN, 1.0]))

    def error(num_steps, divergence):
        times = np.geomspace(T_MIN, 1.0, num_steps + 1).tolist()
        found = jax.jit(
            lambda x: log_prob(
                model,
                process,
                keys,
                x,
                divergence=divergence,
                ode=GridODE((T_MIN, *times[1:-1], 1.0)),
                t_min=T_MIN,
                terminal_log_prob=lambda z: jax.scipy.stats.norm.logpdf(z, 0, late).sum(axis=1),
            )
        )(x)
        assert found.ok.all()
        np.testing.assert_array_equal(found.nfe, 1 + 6 * num_steps)
        return np.abs(found.log_prob - jax.scipy.stats.norm.logpdf(x, 0, early).sum(axis=1)).max()

    errors = [error(count, Divergence("exact")) for count in (24, 48)]
    assert 24 < errors[0] / errors[1] < 42  # 2 to the fifth is 32
    assert error(24, Divergence("orthogonal", 2)) == pytest.approx(errors[0], rel=1e-3)


def test_the_implicit_solver_agrees():
    process = VP()
    x = jnp.array([[0.1, 0.2], [0.5, -0.4]])
    run = jax.jit(
        lambda x: log_prob(
            gaussian_model(process, 0.25),
            process,
            jax.random.split(jax.random.key(0), 2),
            x,
            divergence=Divergence("exact"),
            ode=AdaptiveODE("kvaerno5", 1e-4, 1e-4),
            t_min=T_MIN,
        )
    )
    result = run(x)
    assert result.ok.all()
    np.testing.assert_allclose(result.log_prob, jax.scipy.stats.norm.logpdf(x, 0, 0.5).sum(axis=1), atol=1e-2)


def test_a_chain_has_the_likelihood_of_its_law(x64):
    """A model of DDPM's levels, asked between them; at level 0 its law is the data's with a little noise."""
    chain = vp_chain("linear", 1000)
    process, variance = Interpolated(chain), 0.25
    x = jnp.array([[0.1, 0.2], [0.5, -0.4]])
    result = jax.jit(
        lambda x: log_prob(
            gaussian_model(process, variance),
            process,
            jax.random.split(jax.random.key(0), 2),
            x,
            divergence=Divergence("exact"),
            ode=AdaptiveODE("dopri5", 1e-5, 1e-5),
            t_min=T_MIN,
        )
    )(x)
    first = float(chain.alpha(jnp.zeros(())) ** 2 * variance + chain.sigma(jnp.zeros(())) ** 2) ** 0.5
    assert result.ok.all()
    np.testing.assert_allclose(result.log_prob, jax.scipy.stats.norm.logpdf(x, 0, first).sum(axis=1), atol=1e-3)


EIGENVALUES = np.logspace(-4, 1, 10)


@functools.cache
def ten_dimensions(name, tol):
    """Largest error (nats) and mean evaluations of a Gaussian of very unlike axes by its exact score, in float64."""
    process = {
        "vp": lambda: VP(),
        "ve": lambda: VE(0.01, 50.0),
        "uniform_ve": lambda: Interpolated(ve_chain(0.01, 50.0, 1000, "uniform")),
    }.get(name, lambda: Interpolated(vp_chain(name, 1000)))()

    def variance(t):
        return process.alpha(t)[:, None] ** 2 * EIGENVALUES[None] + process.sigma(t)[:, None] ** 2

    early, late = (jnp.sqrt(variance(jnp.full((4,), t))) for t in (T_MIN, process.t_max))
    x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 10))) * early
    found = jax.jit(
        lambda x: log_prob(
            score_predictor(lambda x, t: -x / variance(t), process),
            process,
            jax.random.split(jax.random.key(0), 4),
            x,
            divergence=Divergence("exact"),
            ode=AdaptiveODE("dopri5", tol, tol),
            t_min=T_MIN,
            terminal_log_prob=lambda z: jax.scipy.stats.norm.logpdf(z, 0, late).sum(axis=1),
        )
    )(x)
    assert found.ok.all()
    exact = jax.scipy.stats.norm.logpdf(x, 0, early).sum(axis=1)
    return float(jnp.abs(found.log_prob - exact).max()), float(found.nfe.mean())


@pytest.mark.parametrize("tol", [1e-5, 1e-9])
@pytest.mark.parametrize(
    ("chain", "continuous"), [("linear", "vp"), ("cosine", "vp"), ("jsd", "vp"), ("uniform_ve", "ve")]
)
def test_a_chains_ode_costs_and_errs_like_a_continuous_one(chain, continuous, tol, x64):
    (error, nfe), (reference, reference_nfe) = (ten_dimensions(name, tol) for name in (chain, continuous))
    assert error < 2 * reference
    assert nfe < 2 * reference_nfe


def test_the_solve_can_be_differentiated():
    """d log N(x; 0, v) / dv, through the solve."""
    process, x = VP(), jnp.array([[0.3, -0.5]])

    def mean_log_prob(variance, differentiable=True):
        ode = AdaptiveODE("tsit5", 1e-5, 1e-5, max_steps=256, differentiable=differentiable)
        model, keys = gaussian_model(process, variance), jax.random.split(jax.random.key(0), 1)
        return log_prob(model, process, keys, x, divergence=Divergence("exact"), ode=ode, t_min=T_MIN).log_prob.mean()

    value, slope = jax.jit(jax.value_and_grad(mean_log_prob))(0.25)
    np.testing.assert_allclose(value, jax.scipy.stats.norm.logpdf(x, 0, 0.5).sum(), atol=5e-3)
    np.testing.assert_allclose(slope, -1 / 0.25 + (0.3**2 + 0.5**2) / (2 * 0.25**2), atol=2e-2)


def test_nothing_leaves_the_device_during_the_solve():
    process, x = VP(), jnp.array([[0.3, -0.5]])
    keys = jax.random.split(jax.random.key(0), 1)
    model = gaussian_model(process, 0.25)
    run = jax.jit(
        lambda keys, x: log_prob(model, process, keys, x, divergence=Divergence(), ode=AdaptiveODE(), t_min=T_MIN)
    )
    jax.block_until_ready(run(keys, x))
    with jax.transfer_guard("disallow"):
        jax.block_until_ready(run(keys, x))


@pytest.mark.parametrize("t_min", [1e-3, 1e-2])
def test_the_truncation_bound_is_below_the_density_and_near_it(t_min, x64):
    """Of a Gaussian everything is known: the bound falls short by the KL of the last step alone."""
    process, variance, count = VP(), 0.25, 20_000
    model = gaussian_model(process, variance)
    x0 = jnp.full((count, 2), 0.3)
    x, gain = truncation_bound(model, process, jax.random.split(jax.random.key(0), count), x0, t_min)
    t = jnp.full((count,), t_min)
    std = jnp.sqrt(process.alpha(t) ** 2 * variance + process.sigma(t) ** 2)[:, None]
    values = np.asarray(jax.scipy.stats.norm.logpdf(x, 0, std).sum(axis=1) + gain)
    exact = float(jax.scipy.stats.norm.logpdf(x0[0], 0, variance**0.5).sum())
    error = values.std(ddof=1) / count**0.5
    assert values.mean() < exact + 3 * error
    assert exact - values.mean() < 0.05 * exact if exact > 1 else exact - values.mean() < 0.05


def test_more_dequantisations_give_a_tighter_bound():
    """Levels of a Gaussian narrower than a bin: the mean over k of log-mean-exp rises to the log-probability."""
    draws = jax.random.uniform(jax.random.key(0), (4000, 16))
    density = jax.scipy.stats.norm.logpdf(draws, 0.3, 0.2)
    bounds = [float(importance_weighted(density[:, :k]).mean()) for k in (1, 2, 4, 16)]
    exact = float(jnp.log(jax.scipy.stats.norm.cdf(1.0, 0.3, 0.2) - jax.scipy.stats.norm.cdf(0.0, 0.3, 0.2)))
    assert (np.diff(bounds) > 0.05).all()
    assert bounds[-1] < exact < bounds[-1] + 0.1


@pytest.mark.parametrize("value_range", [(-1.0, 1.0), (0.0, 1.0), (-0.5, 3.5)])
@pytest.mark.parametrize("bits", [8, 5])
def test_uniform_data_has_as_many_bits_as_levels(value_range, bits):
    """The uniform density over the range is the uniform law over 2^bits levels."""
    dim, (low, high) = 12, value_range
    log_prob = jnp.full((3,), -dim * np.log(high - low))
    np.testing.assert_allclose(bits_per_dim(log_prob, dim, Pixels(*value_range, bits).log_bin_width), bits, rtol=1e-6)
