"""The Gaussian concept against the SDEs of Song et al. 2021 and against its own invariants."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from score_jax.processes.gaussian import EDM, VE, VP, SubVP

PROCESSES = {"ve": VE(0.01, 50.0), "vp": VP(0.1, 20.0), "sub_vp": SubVP(0.1, 20.0), "edm": EDM(0.002, 80.0)}
T = jnp.linspace(1e-3, 1.0, 33)


def closed_form_sde(name, t):
    """(f, g²) as the paper states them, eqs 30 to 33 and 12; of EDM the derivative of sigma²."""
    beta = 0.1 + t * 19.9
    integral = 0.1 * t + 0.5 * t**2 * 19.9
    if name == "edm":
        low, high = 0.002 ** (1 / 7), 80.0 ** (1 / 7)
        root = low + t * (high - low)
        return np.zeros_like(t), 14 * (high - low) * root**13
    if name == "ve":
        return np.zeros_like(t), (0.01 * 5000**t) ** 2 * 2 * np.log(5000)
    if name == "vp":
        return -0.5 * beta, beta
    return -0.5 * beta, beta * (1 - np.exp(-2 * integral))


@pytest.mark.parametrize("name", PROCESSES)
def test_derived_sde_is_the_papers(name):
    f, g2 = closed_form_sde(name, np.asarray(T, np.float64))
    np.testing.assert_allclose(PROCESSES[name].drift_rate(T), f, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(PROCESSES[name].diffusion_squared(T), g2, rtol=1e-5)


@pytest.mark.parametrize("name", PROCESSES)
def test_kernels_compose(name, x64):
    """q(x_t | x_s) after q(x_s | x_r) is q(x_t | x_r), and q(x_t | x_0) for r -> 0."""
    process = PROCESSES[name]
    r, s, t = (jnp.asarray(v) for v in (0.1, 0.4, 0.9))
    (a1, v1), (a2, v2), (a, v) = process.kernel(s, r), process.kernel(t, s), process.kernel(t, r)
    np.testing.assert_allclose((a1 * a2, a2**2 * v1 + v2), (a, v), rtol=1e-12)
    np.testing.assert_allclose(process.alpha(r) * a, process.alpha(t), rtol=1e-12)
    assert v > 0


@pytest.mark.parametrize("name", PROCESSES)
def test_simulated_sde_has_the_stated_marginal(name):
    process, steps = PROCESSES[name], 2000
    x0, dt = 0.7, 1.0 / 2000

    def step(x, i):
        t = (i + 0.5) * dt
        key = jax.random.fold_in(jax.random.key(0), i)
        noise = jnp.sqrt(process.diffusion_squared(t) * dt) * jax.random.normal(key, x.shape)
        return x + process.drift_rate(t) * x * dt + noise, None

    # sigma(0) is not 0 for VE: begin at its law.
    start = x0 + process.sigma(jnp.zeros(())) * jax.random.normal(jax.random.key(1), (20_000,))
    end = jax.jit(lambda x: jax.lax.scan(step, x, jnp.arange(steps))[0])(start)
    one = jnp.ones(())
    np.testing.assert_allclose(end.mean(), x0 * process.alpha(one), atol=4 * process.sigma(one) / 20_000**0.5)
    np.testing.assert_allclose(end.std(), process.sigma(one), rtol=0.03)


def test_variance_is_preserved(x64):
    vp, sub_vp = PROCESSES["vp"], PROCESSES["sub_vp"]
    t = jnp.linspace(1e-6, 1, 50)
    np.testing.assert_allclose(vp.alpha(t) ** 2 + vp.sigma(t) ** 2, 1, rtol=1e-12)
    np.testing.assert_allclose(sub_vp.sigma(t), vp.sigma(t) ** 2, rtol=1e-12)


@pytest.mark.parametrize("name", PROCESSES)
def test_log_snr_falls_and_small_times_keep_their_digits(name):
    process = PROCESSES[name]
    assert (np.diff(process.log_snr(T)) < 0).all()
    small = jnp.asarray(1e-6)
    integral = 0.1e-6 + 0.5e-12 * 19.9
    expected = {
        "ve": 0.01 * 5000**1e-6,
        "vp": np.sqrt(-np.expm1(-integral)),
        "sub_vp": -np.expm1(-integral),
        "edm": 0.002 * (1 + 1e-6 * ((80 / 0.002) ** (1 / 7) - 1)) ** 7,
    }[name]
    np.testing.assert_allclose(process.sigma(small), expected, rtol=2e-6)


@pytest.mark.parametrize("name", PROCESSES)
def test_prior(name):
    process = PROCESSES[name]
    keys = jax.random.split(jax.random.key(0), 512)
    x = process.prior_sample(keys, jnp.zeros((512, 4, 4, 2)))
    np.testing.assert_allclose(x.std(), process.prior_std, rtol=0.03)
    expected = stats.norm(scale=process.prior_std).logpdf(np.asarray(x, np.float64)).sum((1, 2, 3))
    np.testing.assert_allclose(process.prior_log_prob(x), expected, rtol=1e-5)


def test_a_schedule_can_be_learned():
    """Processes are pytrees: a gradient reaches their parameters."""
    grad = jax.grad(lambda p: p.log_snr(jnp.asarray(0.5)))(VP(jnp.asarray(0.1), jnp.asarray(20.0)))
    assert grad.beta_max < 0
