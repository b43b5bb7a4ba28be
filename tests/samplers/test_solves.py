"""The ODE solve without a model: steps of a grid by hand, the exponential by adaptive ones."""

import jax.numpy as jnp
import numpy as np
import pytest
from gaussian_processes import every_process

from score_jax.errors import InputError
from score_jax.prediction.predictor import from_eps
from score_jax.samplers.ode import AdaptiveODE, GridODE, probability_flow_drift, solve

TIMES = (0.0, 0.1, 0.4, 1.0)
RATES, START = np.array([1.0, -0.5]), np.array([2.0, 3.0])


def decay(t, y, rate):
    return -rate * y


def heun_steps(lengths):
    """Products of 1 - h r + (h r)² / 2, and the states on the way."""
    factors = [1 - h * RATES + (h * RATES) ** 2 / 2 for h in lengths]
    return START * np.cumprod(factors, axis=0)


@pytest.mark.parametrize("forward", [True, False])
def test_a_grid_is_walked_in_both_directions(forward, x64):
    t0, t1 = (0.0, 1.0) if forward else (1.0, 0.0)
    lengths = np.diff(TIMES if forward else TIMES[::-1])
    saved = jnp.asarray([0.1, 0.4] if forward else [0.4, 0.1])
    solved = solve(decay, jnp.asarray(START), jnp.asarray(RATES), t0, t1, GridODE(TIMES, "heun"), saved)
    states = heun_steps(lengths)
    np.testing.assert_allclose(solved.y, states[-1], rtol=1e-12)
    np.testing.assert_allclose(solved.kept, states[:2].T, rtol=1e-12)
    np.testing.assert_array_equal(solved.nfe, (6, 6))
    assert solved.ok.all()


def test_a_grid_has_the_ends_of_the_solve():
    for t0, t1 in ((0.0, 0.9), (0.1, 1.0), (0.9, 0.0)):
        with pytest.raises(InputError, match="A grid from 0.0 to 1.0 for a solve between"):
            solve(decay, jnp.ones(2), jnp.ones(2), t0, t1, GridODE(TIMES, "heun"))


@pytest.mark.parametrize("control", ["example", "batch"])
@pytest.mark.parametrize("forward", [True, False])
def test_adaptive_steps_reach_the_exponential_and_spend_what_it_asks(forward, control, x64):
    t0, t1 = (0.0, 3.0) if forward else (3.0, 0.0)
    rates = jnp.array([20.0, 0.1]) if forward else jnp.array([-20.0, -0.1])
    saved = jnp.asarray([1.0, 2.0] if forward else [2.0, 1.0])
    ode = AdaptiveODE("dopri5", 1e-8, 1e-10, control=control)
    solved = solve(decay, jnp.asarray(START), rates, t0, t1, ode, saved)
    exact = START * np.exp(-np.abs(np.asarray(rates)) * np.array([[1.0], [2.0], [3.0]]))
    np.testing.assert_allclose(solved.kept, exact[:2].T, rtol=1e-4, atol=1e-8)
    np.testing.assert_allclose(solved.y, exact[2], rtol=1e-4, atol=1e-8)
    assert solved.ok.all()
    # One state has the steps of the fast example; examples of their own have their own.
    assert (solved.nfe[0] == solved.nfe[1]) == (control == "batch")


def test_a_solve_that_is_given_up_is_reported(x64):
    ode = AdaptiveODE("dopri5", 1e-8, 1e-10, max_steps=20)
    solved = solve(decay, jnp.asarray(START), jnp.array([500.0, 1e-3]), 0.0, 1.0, ode)
    np.testing.assert_array_equal(solved.ok, (False, True))


@pytest.mark.parametrize("name", every_process(10.0))
def test_the_drift_of_a_known_point_is_the_rate_of_its_path(name, x64):
    """d/dt of alpha x0 + sigma eps, by a central difference."""
    process = every_process(10.0)[name]
    x0, eps = jnp.array([[0.3, -1.0]]), jnp.array([[0.7, 0.2]])
    t, h = 0.6 * process.t_max, 1e-5

    def at(t):
        return process.perturb(x0, jnp.array([t]), eps)

    drift = probability_flow_drift(lambda x, t: from_eps(eps, x, t, process), process, at(t), jnp.array([t]))
    np.testing.assert_allclose(drift, (at(t + h) - at(t - h)) / (2 * h), rtol=1e-6)
