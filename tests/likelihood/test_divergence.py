"""Estimates of a trace that is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.errors import InputError
from score_jax.likelihood.divergence import Divergence, cheaper_derivative, student_factor

SHAPE = (2, 3)
MATRIX = jax.random.normal(jax.random.key(0), (6, 6)) + jnp.diag(jnp.arange(6.0))
TRACE = float(jnp.trace(MATRIX))


def drift(x):
    """Of which MATRIX is the Jacobian at 0."""
    flat = MATRIX @ x.ravel()
    return (flat + jnp.sin(flat) ** 2).reshape(SHAPE)


def estimates(divergence, count, fn=drift):
    """Values (n, m) at x = 0."""
    x = jnp.zeros(SHAPE)
    run = jax.jit(jax.vmap(lambda key: divergence.of(fn, x, divergence.draw(key, x))[1]))
    return run(jax.random.split(jax.random.key(1), count))


@pytest.mark.parametrize("derivative", ["forward", "reverse"])
@pytest.mark.parametrize(
    ("name", "probes"), [("rademacher", 1), ("gaussian", 4), ("orthogonal", 3), ("hutch_plus_plus", 6)]
)
def test_estimates_are_unbiased_and_know_their_error(name, probes, derivative):
    divergence, count = Divergence(name, probes, derivative=derivative), 4000
    parts = estimates(divergence, count)
    assert parts.shape == (count, divergence.parts)
    values = np.asarray(parts.mean(axis=1))
    spread = values.std(ddof=1)
    assert spread > 0.1
    assert abs(values.mean() - TRACE) < 4 * spread / count**0.5
    errors = np.asarray(divergence.standard_error(parts, 6))
    if divergence.parts == 1:
        assert np.isnan(errors).all()
    else:
        np.testing.assert_allclose(np.sqrt(np.mean(errors**2)), spread, rtol=0.1)


@pytest.mark.parametrize("probes", [2, 3, 10])
@pytest.mark.parametrize("name", ["rademacher", "gaussian", "orthogonal"])
def test_students_t_covers_where_two_standard_errors_do_not(name, probes):
    """Of a symmetric matrix of 40 dimensions, whose quadratic forms are nearly normal."""
    half = np.random.default_rng(0).normal(size=(40, 40))
    matrix = jnp.asarray(half + half.T, jnp.float32)
    divergence, x = Divergence(name, probes), jnp.zeros(40)
    run = jax.jit(jax.vmap(lambda key: divergence.of(lambda x: matrix @ x, x, divergence.draw(key, x))[1]))
    parts = run(jax.random.split(jax.random.key(1), 4000))
    off = np.abs(np.asarray(parts.mean(axis=1)) - float(jnp.trace(matrix)))
    error = np.asarray(divergence.standard_error(parts, 40))
    covered = (off < student_factor(divergence.degrees_of_freedom) * error).mean()
    assert 0.93 < covered < 0.97
    if probes < 10:
        assert (off < 2 * error).mean() < 0.85


def test_students_factors_are_those_of_the_tables():
    np.testing.assert_allclose([student_factor(d) for d in (1, 2, 9, 1e6)], (12.706, 4.303, 2.262, 1.960), atol=1e-3)
    np.testing.assert_allclose(student_factor(5, 0.99), 4.032, atol=1e-3)
    assert np.isnan(student_factor(0))


@pytest.mark.parametrize("derivative", ["forward", "reverse"])
@pytest.mark.parametrize("divergence", [("exact", 1), ("orthogonal", 6)])
def test_as_many_directions_as_dimensions_are_exact(divergence, derivative):
    chosen = Divergence(*divergence, derivative=derivative)
    parts = estimates(chosen, 3)
    np.testing.assert_allclose(parts.mean(axis=1), TRACE, rtol=1e-5)
    np.testing.assert_allclose(chosen.standard_error(parts, 6), 0.0, atol=1e-5)


def test_hutch_plus_plus_is_exact_for_low_rank():
    left, right = jax.random.normal(jax.random.key(2), (2, 6, 2))
    matrix = left @ right.T

    def low_rank(x):
        return (matrix @ x.ravel()).reshape(SHAPE)

    parts = estimates(Divergence("hutch_plus_plus", 6), 5, low_rank)
    np.testing.assert_allclose(parts, jnp.trace(matrix), rtol=1e-3)


def test_the_drift_comes_with_its_divergence():
    x = jnp.arange(6.0).reshape(SHAPE)
    for name, derivative in (("exact", "forward"), ("rademacher", "reverse")):
        divergence = Divergence(name, derivative=derivative)
        value, _ = divergence.of(drift, x, divergence.draw(jax.random.key(0), x))
        np.testing.assert_allclose(value, drift(x), rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(name="rademacker"), "Did you mean 'rademacher'"),
        (dict(probes=0), "give at least one"),
        (dict(name="hutch_plus_plus", probes=4), "give 3, 6, ... instead of 4"),
        (dict(derivative="backward"), "Unknown derivative 'backward'"),
    ],
)
def test_what_cannot_be_is_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        Divergence(**arguments)


def test_more_orthogonal_probes_than_dimensions_are_refused():
    with pytest.raises(InputError, match="7 orthogonal probes in 6 dimensions"):
        Divergence("orthogonal", 7).draw(jax.random.key(0), jnp.zeros(SHAPE))


def test_the_cheaper_mode_is_found_from_shapes_alone():
    def layers(x, weights):
        return jnp.tanh(x @ weights) @ weights.T

    shapes = jax.ShapeDtypeStruct((8,), jnp.float32), jax.ShapeDtypeStruct((8, 64), jnp.float32)
    assert cheaper_derivative(layers, *shapes) == "forward"


def test_a_function_without_a_forward_mode_takes_the_other():
    @jax.custom_vjp
    def square(x):
        return x**2

    square.defvjp(lambda x: (x**2, x), lambda x, cotangent: (2 * x * cotangent,))
    assert cheaper_derivative(square, jnp.ones(3)) == "reverse"
