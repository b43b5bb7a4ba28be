"""Adams' rule: its order, its cost, and what it says of its error."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.errors import InputError
from score_jax.samplers.ode import AdaptiveODE, EvenODE, solve

RATES = np.array([0.7, 1.3])


def turning(t, y, rate):
    """dy/dt of a state of two leaves: y0 = exp(sin(rate t)), and the integral of cos(rate t) y0."""
    return y[0] * rate * jnp.cos(rate * t), y[0] * jnp.cos(rate * t)


def solved(num_steps, solver="adams", t0=0.0, t1=3.0):
    start = (jnp.exp(jnp.sin(RATES * t0)), jnp.exp(jnp.sin(RATES * t0)) / RATES)  # the integral is y0 / rate
    found = jax.jit(
        lambda y: solve(turning, y, RATES, t0, t1, EvenODE(num_steps, solver), measured=lambda error: error[1])
    )(start)
    truth = jnp.exp(jnp.sin(RATES * t1)) / RATES
    assert found.ok.all()
    return np.abs(np.asarray(found.y[1] - truth)), np.asarray(found.error), np.asarray(found.nfe)


def test_it_costs_one_evaluation_a_step_and_has_order_three(x64):
    (coarse, _, nfe), (fine, _, _) = solved(60), solved(120)
    np.testing.assert_array_equal(nfe, 61)
    ratio = coarse / fine
    assert ((ratio > 7) & (ratio < 22)).all()
    assert (coarse < 2e-4).all()


def test_integrals_have_order_four_from_the_first_step(x64):
    def error(num_steps):
        found = solve(lambda t, y, rate: jnp.exp(rate * t), jnp.zeros(2), RATES, 0.0, 2.0, EvenODE(num_steps))
        return np.abs(found.y - (jnp.exp(2 * RATES) - 1) / RATES)

    for num_steps in (3, 4, 5):  # cubic polynomials are exact
        cubic = solve(lambda t, y, rate: rate * t**3, jnp.zeros(2), RATES, 0.0, 2.0, EvenODE(num_steps))
        np.testing.assert_allclose(cubic.y, 4 * RATES, rtol=1e-13)
    ratio = error(20) / error(40)
    assert ((ratio > 13) & (ratio < 19)).all()  # 2 to the fourth is 16


@pytest.mark.parametrize(("solver", "falls"), [("adams", 4), ("heun", 1.9), ("bosh3", 3), ("dopri5", 8)])
def test_the_error_that_is_told_falls_with_the_steps(solver, falls, x64):
    error, told, _ = solved(40, solver)
    assert (solved(80, solver)[1] < told / falls).all()
    if solver != "dopri5":  # whose error is that of the path, and not of the integral along it
        assert ((error < told) & (told < 1e4 * error)).all()


def test_it_walks_back_too(x64):
    error, _, _ = solved(120, t0=3.0, t1=0.0)
    assert (error < 1e-4).all()


def test_adaptive_steps_tell_no_such_error():
    rates = jnp.asarray(RATES)  # in float32, also where a test before it solved in float64
    start = (jnp.ones(2), 1 / rates)
    found = solve(turning, start, rates, 0.0, 1.0, AdaptiveODE("dopri5", 1e-3, 1e-3), measured=lambda error: error[1])
    assert np.isnan(found.error).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((4, "kvaerno5"), "Unknown ODE solver on a grid"), ((0, "adams"), "give at least one")],
)
def test_what_cannot_be_is_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        EvenODE(*arguments)
