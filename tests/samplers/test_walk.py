"""A walk down a grid against a loop in Python."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.prediction.predictor import Prediction
from score_jax.processes.gaussian import VE
from score_jax.processes.noise import replay
from score_jax.samplers.chain import run_chain
from score_jax.samplers.sample import FixedSteps, Sampler, sample

GRID = np.array([0.9, 0.7, 0.4, 0.3, 0.05])
X = np.array([[1.0, -2.0], [0.5, 3.0]])
Z = np.random.default_rng(0).normal(size=(4, 2, 2))


def never(x, t):
    raise AssertionError("These rules ask no model.")


def step(noise, x, t, s, predictor):
    mean = 0.8 * x + (3 * t - s)[:, None]
    return mean + s[:, None] * noise(0), mean


def step_that_remembers(noise, x, t, s, predictor, memory):
    x, mean = step(noise, x, t, s, predictor)
    return x + memory, mean, memory + x


def loop(remembers):
    """States and means, the start first."""
    x, memory, states, means = X, np.zeros_like(X), [X], [X]
    for i, (t, s) in enumerate(itertools.pairwise(GRID)):
        mean = 0.8 * x + 3 * t - s
        x = mean + s * Z[i]
        if remembers:
            x, memory = x + memory, memory + x
        states.append(x)
        means.append(mean)
    return np.stack(states), np.stack(means)


@pytest.mark.parametrize("remembers", [False, True])
@pytest.mark.parametrize("kept", [(), (0, 2, 4), (1, 3)])
def test_a_walk_is_the_loop(remembers, kept, x64):
    rule, memory = (step_that_remembers, jnp.zeros((2, 2))) if remembers else (step, None)
    walk = run_chain(rule, never, replay(jnp.asarray(Z), 1), jnp.asarray(X), jnp.asarray(GRID), kept, memory)
    states, means = loop(remembers)
    np.testing.assert_allclose(walk.x, states[-1], rtol=1e-12)
    np.testing.assert_allclose(walk.mean, means[-1], rtol=1e-12)
    np.testing.assert_allclose(walk.kept, states[list(kept)], rtol=1e-12)
    np.testing.assert_allclose(walk.kept_means, means[list(kept)], rtol=1e-12)


def test_a_sampler_scales_its_start_and_keeps_evenly_spaced_states(x64):
    """Of 4 steps 3 states: the start, the second and the last, which is the mean of its step."""

    def halve(noise, x, t, s, predictor):
        return 0.5 * x, 0.25 * x

    sampler = Sampler(
        FixedSteps(halve, jnp.asarray(GRID), 7), 0.05, False, lambda keys, like: jnp.full_like(like, 6.0), 0.5
    )
    drawn = sample(never, VE(), sampler, jax.random.key(0), jnp.arange(2), (3,), num_saved=3)
    np.testing.assert_allclose(drawn.trajectory[:, 0, 0], (3, 3 / 4, 3 / 32), rtol=1e-12)
    np.testing.assert_allclose(drawn.x, np.full((2, 3), 3 / 32), rtol=1e-12)
    np.testing.assert_allclose(drawn.times, GRID[[0, 2, 4]])
    np.testing.assert_array_equal(drawn.nfe, (7, 7))


def test_denoising_ends_in_what_the_model_believes_at_the_end(x64):
    def model(x, t):
        return Prediction(10 * x + t[:, None], x, x)

    sampler = Sampler(FixedSteps(step, jnp.asarray(GRID), 4), 0.05, True, lambda keys, like: jnp.full_like(like, 6.0))
    plain = dataclasses.replace(sampler, denoise=False)
    drawn, before = (sample(model, VE(), each, jax.random.key(0), jnp.arange(2), (3,)) for each in (sampler, plain))
    np.testing.assert_allclose(drawn.x, 10 * before.x + 0.05, rtol=1e-12)
    np.testing.assert_array_equal(drawn.nfe, (5, 5))
