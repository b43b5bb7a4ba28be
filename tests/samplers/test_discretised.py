"""score_sde's N steps, with the betas and sigmas that its classes hold, by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.errors import InputError
from score_jax.prediction.predictor import score_predictor
from score_jax.processes.gaussian import VE, VP, Flow, SubVP
from score_jax.samplers.discretised import discretised

COUNT, T_MIN = 31, 0.1
BETAS = np.linspace(0.1, 20.0, COUNT) / COUNT
X, Z = np.array([[0.7, -1.1]]), np.array([[0.4, 1.6]])


def step_of(rule, k):
    model = score_predictor(lambda x, t: -2 * x, VP())
    at = jnp.array([float(k)])
    end, mean = rule(lambda j: jnp.asarray(Z), jnp.asarray(X), at, at - 1, model)
    return mean / X, (end - mean) / Z


def test_the_time_of_a_step_is_even_from_t_min_to_one(x64):
    steps = discretised(VP(), COUNT, T_MIN)
    np.testing.assert_allclose(steps.time(jnp.arange(COUNT)), T_MIN + 0.03 * np.arange(COUNT), rtol=1e-12)
    k = jnp.array([0.0, 30.0])
    np.testing.assert_allclose(steps.view(discrete=False).time(k), (0.1, 1.0), rtol=1e-12)
    np.testing.assert_allclose(steps.view(discrete=True).time(k), (3.0, 30.0), rtol=1e-12)
    np.testing.assert_allclose(steps.marginals.sigma(k), VP().sigma(jnp.array([0.1, 1.0])), rtol=1e-12)
    np.testing.assert_allclose(steps.marginals.alpha(k), VP().alpha(jnp.array([0.1, 1.0])), rtol=1e-12)


@pytest.mark.parametrize("flow", [False, True])
def test_the_steps_of_vp_are_those_of_its_betas(flow, x64):
    """x - (f x - g² score) / N with beta(t_k); (2 - sqrt(1 - beta_k)) x + beta_k score; half of the score's part."""
    steps, share = discretised(VP(), COUNT, T_MIN), 0.5 if flow else 1.0
    for k in (3, 30):
        beta = 0.1 + 19.9 * (T_MIN + 0.03 * k)
        mean, noise = step_of(steps.euler_maruyama(probability_flow=flow), k)
        np.testing.assert_allclose(mean, 1 + (beta / 2 - share * beta * 2) / COUNT, rtol=1e-9)
        np.testing.assert_allclose(noise, 0 if flow else np.sqrt(beta / COUNT), rtol=1e-9)
        mean, noise = step_of(steps.reverse_diffusion(probability_flow=flow), k)
        np.testing.assert_allclose(mean, 2 - np.sqrt(1 - BETAS[k]) - share * BETAS[k] * 2, rtol=1e-9)
        np.testing.assert_allclose(noise, 0 if flow else np.sqrt(BETAS[k]), rtol=1e-9)


def test_the_steps_of_ve_are_those_of_its_sigmas(x64):
    """x + (sigma_k² - sigma_{k-1}²) score, geometric from 0.01 to 50."""
    steps = discretised(VE(0.01, 50.0), COUNT, T_MIN)
    for k in (1, 4):
        gained = 1e-4 * (5000 ** (k / 15) - 5000 ** ((k - 1) / 15))
        mean, noise = step_of(steps.reverse_diffusion(), k)
        np.testing.assert_allclose(mean, 1 - 2 * gained, rtol=1e-9)
        np.testing.assert_allclose(noise, np.sqrt(gained), rtol=1e-9)


def test_sub_vp_has_no_chain_and_steps_as_euler_does(x64):
    steps = discretised(SubVP(), COUNT, T_MIN)
    np.testing.assert_array_equal(step_of(steps.reverse_diffusion(), 5), step_of(steps.euler_maruyama(), 5))
    with pytest.raises(InputError, match="ve, vp and sub_vp"):
        discretised(Flow(), COUNT, T_MIN)
