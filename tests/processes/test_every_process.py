"""What holds to rounding for every process and every schedule of a chain."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gaussian_processes import every_process

from score_jax.processes.binomial import binomial_chain
from score_jax.processes.chain import Chain, ve_chain, vp_chain
from score_jax.processes.interpolated import Interpolated
from score_jax.processes.schedules import BETAS

PROCESSES = every_process(50.0)
CHAINS = {name: vp_chain(name, 50) for name in BETAS} | {
    "ve_chain": ve_chain(0.01, 50.0, 50),
    "uniform_ve_chain": ve_chain(0.01, 50.0, 50, "uniform"),
}


def closed_form_sde(name, t):
    """(f, g²) as the papers state them: Song et al. 2021, eqs 30 to 33; of the others by hand from alpha and sigma."""
    beta, integral = 0.1 + t * 19.9, 0.1 * t + 0.5 * t**2 * 19.9
    low, high, quarter = 0.002 ** (1 / 7), 80.0 ** (1 / 7), np.pi / 2
    return {
        "ve": lambda: (0 * t, (0.01 * 5000**t) ** 2 * 2 * np.log(5000)),
        "vp": lambda: (-0.5 * beta, beta),
        "sub_vp": lambda: (-0.5 * beta, beta * (1 - np.exp(-2 * integral))),
        "edm": lambda: (0 * t, 14 * (high - low) * (low + t * (high - low)) ** 13),
        "linear_ve": lambda: (0 * t, 2 * t),
        "flow": lambda: (-1 / (1 - t), 2 * t / (1 - t)),
        "cosine": lambda: (-quarter * np.tan(quarter * t), 2 * quarter * np.tan(quarter * t)),
    }[name]()


@pytest.mark.parametrize("name", PROCESSES)
def test_the_sde_is_the_papers_to_rounding(name, x64):
    process = PROCESSES[name]
    t = np.linspace(0.05, 0.95, 19) * process.t_max
    f, g2 = closed_form_sde(name, t)
    np.testing.assert_allclose(process.drift_rate(jnp.asarray(t)), f, rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(process.diffusion_squared(jnp.asarray(t)), g2, rtol=1e-11)


@pytest.mark.parametrize("name", PROCESSES)
def test_kernels_compose_and_the_flow_is_half_the_sde(name, x64):
    process = PROCESSES[name]
    r, s, t = (jnp.asarray(v * process.t_max) for v in (0.1, 0.4, 0.9))
    (a1, v1), (a2, v2), (a, v) = process.kernel(s, r), process.kernel(t, s), process.kernel(t, r)
    np.testing.assert_allclose((a1 * a2, a2**2 * v1 + v2), (a, v), rtol=1e-11)
    np.testing.assert_allclose((a * process.sigma(r)) ** 2 + v, process.sigma(t) ** 2, rtol=1e-11)
    # Of x = alpha x0 + sigma eps, whose score is -eps / sigma: f x - g² score / 2 = alpha' x0 + sigma' eps.
    alpha_rate, sigma_rate = process.rates(t)
    f, g2 = process.drift_rate(t), process.diffusion_squared(t)
    np.testing.assert_allclose(f * process.alpha(t), alpha_rate, rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(f * process.sigma(t) + 0.5 * g2 / process.sigma(t), sigma_rate, rtol=1e-11)


@pytest.mark.parametrize("name", PROCESSES)
def test_the_posterior_is_bayes_rule_and_time_at_inverts(name, x64):
    process = PROCESSES[name]
    s, t = (jnp.asarray([v * process.t_max]) for v in (0.3, 0.8))
    a, b2 = process.kernel(t, s)
    x, x0 = jnp.array([[0.7]]), jnp.array([[-0.4]])
    mean, variance = process.posterior(x, x0, t, s)
    precision = a**2 / b2 + 1 / process.sigma(s) ** 2
    expected = (a * x[0] / b2 + process.alpha(s) * x0[0] / process.sigma(s) ** 2) / precision
    np.testing.assert_allclose((mean[0], variance), (expected, 1 / precision), rtol=1e-10)
    np.testing.assert_allclose(process.time_at(process.noise_to_signal(t)), t, rtol=1e-10)


@pytest.mark.parametrize("name", BETAS)
def test_a_chain_is_made_of_its_betas_to_rounding(name, x64):
    chain, betas = CHAINS[name], BETAS[name](50)
    t = jnp.arange(50.0)
    np.testing.assert_allclose(chain.alpha(t) ** 2 + chain.sigma(t) ** 2, 1.0, rtol=1e-14)
    # From one level to the next; "jsd" ends without signal, whose logarithm is infinite.
    a, b2 = chain.kernel(t[:-1], t[:-1] - 1)
    np.testing.assert_allclose((a**2, b2), (1 - betas[:-1], betas[:-1]), rtol=1e-10)
    np.testing.assert_allclose(chain.alpha(t) ** 2, np.cumprod(1 - betas), rtol=1e-10, atol=1e-15)


def test_schedules_with_a_closed_form_have_it(x64):
    t = np.arange(50)
    np.testing.assert_allclose(CHAINS["jsd"].alpha(jnp.arange(50.0)) ** 2, (49 - t) / 50, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(CHAINS["const"].log_alpha(jnp.arange(50.0)), 0.5 * (t + 1) * np.log(0.6), rtol=1e-12)
    assert (np.diff(BETAS["warmup10"](50))[:4] > 0).all() and (BETAS["warmup10"](50)[5:] == 0.4).all()
    for name in ("linear", "quad"):
        np.testing.assert_allclose(BETAS[name](1000)[[0, -1]], (1e-4, 0.02), rtol=1e-12)
    np.testing.assert_allclose(np.diff(np.sqrt(BETAS["quad"](1000))), (0.02**0.5 - 0.01) / 999, rtol=1e-9)


OF_TIME = ("log_alpha", "sigma", "time_at", "alpha", "noise_to_signal", "log_snr")
OF_CONTINUOUS_TIME = ("drift_rate", "diffusion_squared", "rates")
ALL = PROCESSES | CHAINS | {"interpolated": Interpolated(CHAINS["linear"])}


@pytest.mark.parametrize("name", ALL)
def test_whole_times_may_be_integers(name):
    process = ALL[name]
    whole = jnp.array([1, 0])
    continuous = () if isinstance(process, Chain) else OF_CONTINUOUS_TIME
    for function in (*OF_TIME, *continuous):
        of = getattr(process, function)
        jax.tree.map(np.testing.assert_array_equal, of(whole), of(whole.astype(float)))
    x0, eps = jnp.full((2, 3), 0.5), jnp.full((2, 3), -1.0)
    t, s = jnp.array([2, 1]), jnp.array([1, 0])
    assert process.sigma(t).dtype == jnp.float32
    for function, args in (
        ("kernel", (t, s)),
        ("posterior_coefficients", (t, s)),
        ("perturb", (x0, t, eps)),
        ("posterior", (eps, x0, t, s)),
    ):
        of = getattr(process, function)
        floats = [a.astype(float) for a in args]
        jax.tree.map(np.testing.assert_array_equal, of(*args), of(*floats))


def test_integers_of_numpy_and_python_are_times_too():
    chain = vp_chain()
    expected = chain.sigma(jnp.arange(3.0))
    assert (expected > 0).all()
    np.testing.assert_array_equal(chain.sigma(np.arange(3)), expected)
    np.testing.assert_array_equal(chain.sigma(2), expected[2])
    bits = binomial_chain(10)
    np.testing.assert_array_equal(bits.survival(jnp.arange(3)), bits.survival(jnp.arange(3.0)))
    np.testing.assert_allclose(bits.beta(jnp.arange(3)), 1 / np.arange(10, 7, -1), rtol=1e-6)
