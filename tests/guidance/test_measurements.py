"""Measurements that are held: algebra, and normal data whose unknown half is known given the other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.errors import InputError
from score_jax.guidance import measurements
from score_jax.prediction.predictor import score_predictor
from score_jax.processes.chain import Chain
from score_jax.processes.gaussian import VP
from score_jax.processes.noise import brownian
from score_jax.samplers import grids
from score_jax.samplers.chain import run_chain
from score_jax.samplers.langevin import by_std, langevin
from score_jax.samplers.steps import ancestral, predictor_corrector

PROCESS = VP()
BASIS = np.array([[1.0, 2.0, 0.0], [0.0, 1.0, 1.0], [1.0, 0.0, 3.0]])


@pytest.mark.parametrize(
    "measurement",
    [
        measurements.mask(np.array([[[1.0], [0.0]], [[0.0], [1.0]]])[None]),
        measurements.grey(),
        measurements.in_basis(BASIS, 1),
    ],
    ids=["mask", "grey", "basis"],
)
def test_what_is_replaced_is_measured(measurement):
    x, y = jax.random.normal(jax.random.key(0), (2, 3, 2, 2, 3))
    known = measurement.operator(y)
    replaced = measurements.replace(measurement, x, known)
    np.testing.assert_allclose(measurement.operator(replaced), known, atol=1e-5)
    # Once more changes nothing, and what is not measured is kept.
    np.testing.assert_allclose(measurements.replace(measurement, replaced, known), replaced, atol=1e-5)
    unseen = x - measurement.seen(x)
    np.testing.assert_allclose(replaced - measurement.seen(replaced), unseen, atol=1e-5)


def test_any_matrix_is_a_measurement():
    rows = np.random.default_rng(0).normal(size=(3, 8))
    measurement, x = measurements.matrix(rows), jax.random.normal(jax.random.key(1), (5, 8))
    known = jnp.ones((5, 3))
    np.testing.assert_allclose(measurements.replace(measurement, x, known) @ rows.T, known, atol=1e-5)
    with pytest.raises(InputError, match="not linearly independent"):
        measurements.matrix(np.ones((2, 8)))
    with pytest.raises(InputError, match="needs an inverse"):
        measurements.in_basis(np.ones((3, 3)), 0)


def correlated(correlation):
    """The score of pairs (a, b), each N(0, 1), with this correlation."""
    covariance = jnp.array([[1.0, correlation], [correlation, 1.0]])

    def score(x, t):
        alpha2, sigma2 = PROCESS.alpha(t) ** 2, PROCESS.sigma(t) ** 2
        total = alpha2[:, None, None] * covariance[None] + sigma2[:, None, None] * jnp.eye(2)[None]
        return -jnp.linalg.solve(total, x[..., None])[..., 0]

    return score_predictor(score, PROCESS)


@pytest.mark.slow
@pytest.mark.parametrize("at_start", [False, True])
def test_the_unknown_follows_the_known(at_start):
    """b given a = 1 has mean 0.8; replacement approaches it from below, and a corrector brings it nearer."""
    count, measurement = 2048, measurements.mask(np.array([[1.0, 0.0]]))
    y = jnp.tile(jnp.array([[1.0, 0.0]]), (count, 1))
    keys = jax.random.split(jax.random.key(0), count)
    x = jax.random.normal(jax.random.key(1), (count, 2))

    def final(correct):
        hold = lambda step, draws: measurements.held_after(  # noqa: E731
            step, PROCESS, measurement, y, draws, at_start=at_start
        )
        step = hold(ancestral(PROCESS), 1)
        if correct:
            step = predictor_corrector(step, hold(langevin(by_std(PROCESS, 0.3), 2), 2), 3)
        run = jax.jit(lambda: run_chain(step, correlated(0.8), brownian(keys, x), x, grids.uniform(200, 1e-3)).mean)
        return np.asarray(run())

    plain, corrected = final(False), final(True)
    for end in (plain, corrected):
        np.testing.assert_allclose(end[:, 0], 1.0, atol=0.01)
    assert 0.4 < plain[:, 1].mean() < 0.8
    assert abs(corrected[:, 1].mean() - 0.8) < abs(plain[:, 1].mean() - 0.8)
    np.testing.assert_allclose(corrected[:, 1].mean(), 0.8, atol=0.12)


def test_slerp_keeps_the_norm_and_meets_both_ends():
    a, b = jax.random.normal(jax.random.key(0), (2, 3, 4096))
    np.testing.assert_allclose(measurements.slerp(a, b, 0.0), a, atol=1e-5)
    np.testing.assert_allclose(measurements.slerp(a, b, 1.0), b, atol=1e-5)
    half = measurements.slerp(a, b, 0.5)
    np.testing.assert_allclose(jnp.linalg.norm(half, axis=1), jnp.linalg.norm(a, axis=1), rtol=0.03)
    np.testing.assert_allclose(measurements.slerp(a, a, 0.3), a, atol=1e-5)


@pytest.mark.parametrize("weight", [0.25, 0.6])
@pytest.mark.parametrize("degrees", [60.0, 90.0, 150.0])
def test_slerp_turns_at_a_constant_rate(weight, degrees, x64):
    """In the plane, from one radius of a circle to another."""
    angle, radius = np.deg2rad(degrees), 3.0
    a, b = (radius * jnp.array([[jnp.cos(turn), jnp.sin(turn)]]) for turn in (0.2, 0.2 + angle))
    expected = radius * np.array([[np.cos(0.2 + weight * angle), np.sin(0.2 + weight * angle)]])
    np.testing.assert_allclose(measurements.slerp(a, b, weight), expected, rtol=1e-10)


def test_slerp_along_a_ray_is_a_straight_line(x64):
    a = jnp.array([[[1.0, 2.0], [-3.0, 0.5]]])
    np.testing.assert_allclose(measurements.slerp(a, 2 * a, 0.3), 1.3 * a, rtol=1e-6)


def test_a_measurement_is_noised_as_the_process_noises(x64):
    process, t = VP(), jnp.array([0.4])
    x0, z = jnp.array([[1.0, -2.0, 0.5]]), jnp.array([[0.3, 0.7, -1.0]])
    half = measurements.matrix(np.array([[0.6, 0.8, 0.0], [0.0, 0.0, 2.0]]))
    found = measurements.noised(process, half, half.operator(x0), t, z)
    np.testing.assert_allclose(found, half.operator(process.perturb(x0, t, z)), rtol=1e-12)
    held = measurements.replace(half, z, half.operator(x0))
    np.testing.assert_allclose(half.operator(held), half.operator(x0), rtol=1e-12)
    unseen = np.array([0.8, -0.6, 0.0])  # orthogonal to what is measured
    np.testing.assert_allclose(held @ unseen, z @ unseen, rtol=1e-12)


def never(x, t):
    raise AssertionError("These rules ask no model.")


def counted(noise, x, t, s, predictor):
    """A step whose results tell which state it began with."""
    return x + 1, x + 2


FIRST = np.array([[1.0, 0.0]])
"""The first of two numbers is known."""


def test_a_state_is_held_before_a_step_and_after_it_where_asked(x64):
    first, x, t = measurements.mask(FIRST), jnp.array([[5.0, 7.0]]), jnp.array([0.5])

    def known(noise, t):
        return noise(0) * t[:, None]

    def noise(j):
        return jnp.array([[20.0, 40.0]])

    step = measurements.held_before(counted, first, known)
    np.testing.assert_allclose(jnp.stack(step(noise, x, t, 0 * t, never)), [[[11, 8]], [[12, 9]]])
    step = measurements.held_before(counted, first, known, after=True)
    np.testing.assert_allclose(jnp.stack(step(noise, x, t, 0 * t, never)), [[[10, 8]], [[10, 9]]])


@pytest.mark.parametrize("at_start", [False, True])
def test_a_result_is_held_at_the_level_of_its_end_or_of_its_start(at_start, x64):
    """At alpha 0.8 and sigma 0.6, or at 0.6 and 0.8, with the second draw of a step that has one."""
    chain, first = Chain(np.log([0.8, 0.6]), np.array([0.6, 0.8])), measurements.mask(FIRST)
    x, y, t = jnp.array([[5.0, 7.0]]), jnp.array([[10.0, 0.0]]), jnp.array([1.0])

    def noise(j):
        return jnp.array([[100.0 * j, 1.0]])

    held = measurements.held_after(counted, chain, first, y, 1, at_start=at_start)
    noised, clean = (6 + 80, 6) if at_start else (8 + 60, 8)
    expected = [[[noised, 8]], [[clean, 8 if at_start else 9]]]
    np.testing.assert_allclose(jnp.stack(held(noise, x, t, t - 1, never)), expected, rtol=1e-12)
    blended = measurements.blended_after(counted, chain, first, y, 1)
    np.testing.assert_allclose(jnp.stack(blended(noise, x, t, t - 1, never)), [[[86, 8]], [[7, 9]]], rtol=1e-12)
