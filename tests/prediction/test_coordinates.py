"""A model of one process asked from another, where the answer is known: data in one point."""

import jax.numpy as jnp
import numpy as np
import pytest
from gaussian_processes import every_process

from score_jax.prediction.coordinates import between, itself, log_prob_seen, of_levels, seen
from score_jax.prediction.predictor import Prediction, score_predictor
from score_jax.processes.chain import vp_chain

PROCESSES = every_process(50.0)
POINT, EPS = 0.3, np.array([[0.7, -1.1, 0.2]])


def state(process, t):
    return process.alpha(t)[:, None] * POINT + process.sigma(t)[:, None] * EPS


def of_point(process):
    def score(x, t):
        return -(x - process.alpha(t)[:, None] * POINT) / process.sigma(t)[:, None] ** 2

    return score_predictor(score, process)


@pytest.mark.parametrize("of", ["vp", "sub_vp", "flow", "edm"])
@pytest.mark.parametrize("to", ["linear_ve", "cosine", "vp"])
def test_a_model_seen_from_another_process_has_its_score(of, to, x64):
    of, to = PROCESSES[of], PROCESSES[to]
    view, t = between(of, to), jnp.array([0.4 * to.t_max])
    np.testing.assert_allclose(of.noise_to_signal(view.time(t)), to.noise_to_signal(t), rtol=1e-9)
    x = state(to, t)
    np.testing.assert_allclose(view.scale(t)[:, None] * x, state(of, view.time(t)), rtol=1e-9)
    prediction, expected = seen(of_point(of), view)(x, t), of_point(to)(x, t)
    np.testing.assert_allclose(prediction.x0, expected.x0, rtol=1e-8)
    np.testing.assert_allclose(prediction.eps, expected.eps, rtol=1e-8)
    np.testing.assert_allclose(prediction.score, expected.score, rtol=1e-8)


def test_a_classifier_is_asked_about_the_models_state_and_time(x64):
    of, to = PROCESSES["vp"], PROCESSES["linear_ve"]
    view, t = between(of, to), jnp.array([3.0])
    found = log_prob_seen(lambda x, t: x[:, 0] * t, view)(state(to, t), t)
    # sigma / alpha = 3: alpha² is 1 / 10, whose logarithm is minus 0.1 t + 9.95 t².
    time = (-0.1 + np.sqrt(0.01 + 4 * 9.95 * np.log(10))) / (2 * 9.95)
    np.testing.assert_allclose(found, (POINT + 3 * EPS[0, 0]) / np.sqrt(10) * time, rtol=1e-9)


def test_of_a_chain_the_nearest_level_is_asked(x64):
    chain = vp_chain(num_levels=40)
    levels = chain.noise_to_signal(jnp.arange(40.0))
    asked = between(chain, PROCESSES["linear_ve"]).time(
        levels[10] + (levels[11] - levels[10]) * jnp.array([0.45, 0.55])
    )
    np.testing.assert_array_equal(asked, (10, 11))


def test_kept_levels_are_told_by_the_index_they_had():
    kept, t = of_levels(np.array([2, 5, 9])), jnp.array([0.0, 2.0])
    np.testing.assert_array_equal(kept.time(t), (2, 9))
    np.testing.assert_array_equal(kept.scale(t), (1, 1))
    np.testing.assert_array_equal(itself().time(t), t)


def test_what_a_view_scales_is_the_score_alone():
    def model(x, t):
        return Prediction(x, 2 * x, 3 * x, 4 * x)

    x, t = jnp.ones((1, 3)), jnp.array([0.5])
    view = between(PROCESSES["vp"], PROCESSES["linear_ve"])
    scale = float(PROCESSES["vp"].alpha(view.time(t))[0])
    found = seen(model, view)(x, t)
    for value, factor in ((found.x0, 1), (found.eps, 2), (found.score, 3 * scale), (found.variance, 4)):
        np.testing.assert_allclose(value, factor * scale * x, rtol=1e-6)
