"""Samplers where the answer is known: Gaussian data with its exact score."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.errors import InputError
from score_jax.prediction.predictor import score_predictor
from score_jax.processes.gaussian import EDM, VE, VP, SubVP
from score_jax.runtime.sharding import make_mesh, over_batch
from score_jax.samplers import grids, steps
from score_jax.samplers.langevin import by_snr, langevin
from score_jax.samplers.ode import AdaptiveODE, GridODE, integrate_drift
from score_jax.samplers.reverse_sde import AdaptiveSDE
from score_jax.samplers.sample import FixedSteps, Sampler, sample

PROCESSES = {"ve": VE(0.01, 10.0), "vp": VP(), "sub_vp": SubVP(), "edm": EDM(0.002, 10.0)}
MEAN, STD, DIM = 0.4, 0.3, 32


def marginal_std(process, t):
    return jnp.sqrt((process.alpha(t) * STD) ** 2 + process.sigma(t) ** 2)


def gaussian_predictor(process):
    def score(x, t):
        return -(x - process.alpha(t)[:, None] * MEAN) / marginal_std(process, t)[:, None] ** 2

    return score_predictor(score, process)


def methods(process):
    reverse, correct = steps.reverse_diffusion(process), langevin(by_snr(process, 0.1))
    grid = grids.uniform(300, 1e-3)
    return {
        "ancestral": FixedSteps(steps.ancestral(process), grid, 300),
        "euler_maruyama": FixedSteps(steps.euler_maruyama(process), grid, 300),
        "reverse_diffusion": FixedSteps(reverse, grid, 300),
        "predictor_corrector": FixedSteps(steps.predictor_corrector(reverse, correct, 1), grid, 600),
        "ode": AdaptiveODE("tsit5", 1e-4, 1e-4),
        "sde": AdaptiveSDE(0.1, 0.1),
    }


@functools.cache
def jitted(name, method, denoise=False, num_saved=0):
    process = PROCESSES[name]
    sampler = Sampler(methods(process)[method], 1e-3, denoise)
    return jax.jit(
        lambda key, indices: sample(
            gaussian_predictor(process), process, sampler, key, indices, (DIM,), num_saved=num_saved
        )
    )


# All four take three quarters of a minute together.
@pytest.mark.parametrize(
    "name", ["vp", *(pytest.param(name, marks=pytest.mark.slow) for name in PROCESSES if name != "vp")]
)
@pytest.mark.parametrize("method", methods(VP()))
def test_samples_have_the_law_of_the_data(name, method):
    result = jitted(name, method)(jax.random.key(0), jnp.arange(512))
    assert result.ok.all()
    # 16384 independent numbers; the first-order steps are biased by a few percent at 300 steps.
    np.testing.assert_allclose(result.x.mean(), MEAN, atol=0.02)
    np.testing.assert_allclose(result.x.std(), STD, rtol=0.06)
    covariance = np.corrcoef(result.x, rowvar=False)
    assert np.abs(covariance - np.eye(DIM)).max() < 0.25


@pytest.mark.parametrize("rule", [steps.ancestral, steps.euler_maruyama, steps.reverse_diffusion])
def test_steps_converge_with_order_one_in_law(rule, x64):
    """Linear steps keep a Gaussian Gaussian, so one unit's mean and variance can be carried exactly through a chain."""
    process = VP()

    def final_std(num_steps):
        grid = jnp.linspace(1.0, 0.05, num_steps + 1)

        def advance(variance, pair):
            t, s = pair[:1], pair[1:]

            def mean_of(x):
                predictor = score_predictor(lambda x, t: -x / marginal_std(process, t)[:, None] ** 2, process)
                return rule(process)(lambda j: jnp.ones_like(x), x, t, s, predictor)

            x, mean = mean_of(jnp.ones((1, 1)))
            noise = x - mean
            return (mean[0, 0] ** 2) * variance + noise[0, 0] ** 2, None

        start = marginal_std(process, jnp.ones(())) ** 2
        end = jax.lax.scan(advance, start, jnp.stack([grid[:-1], grid[1:]], axis=1))[0]
        return jnp.sqrt(end)

    exact = marginal_std(process, jnp.asarray(0.05))
    coarse, fine = (abs(float(jax.jit(final_std, static_argnums=0)(n) - exact)) for n in (200, 400))
    assert fine < 0.02
    np.testing.assert_allclose(coarse / fine, 2.0, rtol=0.15)


@pytest.mark.parametrize("name", PROCESSES)
def test_ode_follows_the_closed_form_map(name, x64):
    """The probability flow of Gaussian data is x_t = alpha m + (std_t / std_1)(x_1 - alpha_1 m)."""
    process = PROCESSES[name]
    x1 = process.prior_std * jax.random.normal(jax.random.key(2), (16, DIM), jnp.float64)
    ode, t = AdaptiveODE("dopri5", 1e-8, 1e-8), 1e-3
    solved = integrate_drift(gaussian_predictor(process), process, x1, 1.0, t, ode)
    one, end = jnp.ones(()), jnp.asarray(t)
    ratio = marginal_std(process, end) / marginal_std(process, one)
    expected = process.alpha(end) * MEAN + ratio * (x1 - process.alpha(one) * MEAN)
    np.testing.assert_allclose(solved.y, expected, atol=1e-6)
    back = integrate_drift(gaussian_predictor(process), process, solved.y, t, 1.0, ode)
    np.testing.assert_allclose(back.y, x1, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("solver", ["tsit5", "dopri5", "heun", "dopri8", "bosh3"])
def test_nfe_is_what_was_evaluated(solver):
    process, calls = VP(), []

    def score(x, t):
        jax.debug.callback(lambda: calls.append(1))
        return gaussian_predictor(process)(x, t).score

    x = jax.random.normal(jax.random.key(0), (1, DIM))
    ode = AdaptiveODE(solver, 1e-3, 1e-3)
    solved = integrate_drift(score_predictor(score, process), process, x, 1.0, 1e-3, ode)
    jax.effects_barrier()
    assert int(solved.nfe[0]) == len(calls)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["predictor_corrector", "ode", "sde"])
def test_a_sample_does_not_depend_on_its_batch_or_its_device(method):
    run = jitted("vp", method)
    whole = run(jax.random.key(7), jnp.arange(16))
    part = run(jax.random.key(7), jnp.array([11, 3]))
    np.testing.assert_allclose(part.x, whole.x[jnp.array([11, 3])], atol=1e-5)
    mesh = make_mesh()
    assert mesh.size == 8
    spread = run(jax.random.key(7), jax.device_put(jnp.arange(16), over_batch(mesh)))
    np.testing.assert_allclose(spread.x, whole.x, atol=1e-5)
    np.testing.assert_array_equal(spread.nfe, whole.nfe)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["euler_maruyama", "ode", "sde"])
def test_trajectory_leads_from_the_prior_to_the_sample(method):
    result = jitted("vp", method, denoise=True, num_saved=5)(jax.random.key(0), jnp.arange(256))
    plain = jitted("vp", method)(jax.random.key(0), jnp.arange(256))
    assert result.trajectory.shape == (5, 256, DIM)
    np.testing.assert_allclose(result.trajectory[0].std(), 1.0, rtol=0.05)
    np.testing.assert_allclose(result.trajectory[-1], result.x, rtol=1e-5)  # XLA may compute the same twice
    assert (np.diff(result.times) < 0).all()
    if method == "sde":  # whose steps end where states are kept
        assert result.nfe.mean() > plain.nfe.mean()
    else:
        np.testing.assert_array_equal(result.nfe, plain.nfe + 1)
    # Half way the states have the law of the process there.
    half = result.times[2]
    np.testing.assert_allclose(result.trajectory[2].std(), marginal_std(VP(), half), rtol=0.06)


def test_unknown_solver_is_answered_with_the_nearest():
    with pytest.raises(InputError, match="Did you mean 'tsit5'"):
        AdaptiveODE("tsit4")
    with pytest.raises(InputError, match="Unknown ODE solver on a grid 'kvaerno5'"):
        GridODE((0.0, 1.0), "kvaerno5")
