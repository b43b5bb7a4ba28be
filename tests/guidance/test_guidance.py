"""Guidance where the guided law is known: normal laws, whose products are normal."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.guidance import classifier, classifier_free
from score_jax.prediction.predictor import score_predictor
from score_jax.processes.gaussian import VP
from score_jax.samplers import grids
from score_jax.samplers.heun import second_order
from score_jax.samplers.sample import FixedSteps, Sampler, sample
from score_jax.samplers.steps import ancestral, ddim

PROCESS, STD = VP(), 0.5


def normal(mean, std=STD):
    """The predictor of N(mean, std²) data."""

    def score(x, t):
        alpha, sigma = PROCESS.alpha(t)[:, None], PROCESS.sigma(t)[:, None]
        return -(x - alpha * mean) / ((alpha * std) ** 2 + sigma**2)

    return score_predictor(score, PROCESS)


def likelihood_of(y, noise):
    """log p(y | x_t) for y = x0 + noise z, exactly: x0 | x_t is normal."""

    def log_prob(x, t):
        alpha, sigma = PROCESS.alpha(t)[:, None], PROCESS.sigma(t)[:, None]
        total = (alpha * STD) ** 2 + sigma**2
        mean, variance = alpha * STD**2 * x / total, STD**2 * sigma**2 / total + noise**2
        return jnp.sum(-((y - mean) ** 2) / (2 * variance), axis=1)

    return log_prob


def draw(predictor, step, num_steps=200):
    sampler = Sampler(FixedSteps(step, grids.uniform(num_steps, 1e-3), num_steps), 1e-3, denoise=True)
    run = jax.jit(lambda: sample(predictor, PROCESS, sampler, jax.random.key(0), jnp.arange(512), (16,)).x)
    return np.asarray(run())


@pytest.mark.parametrize("rule", ["score", "mean"])
def test_a_classifier_guides_to_the_posterior(rule):
    """Prior N(0, 1/4), observation 1 with noise 1/2: the posterior is N(1/2, 1/8)."""
    gradient = classifier.log_prob_gradient(likelihood_of(1.0, 0.5), 1.0)
    if rule == "score":
        x = draw(classifier.by_gradient(normal(0.0), PROCESS, gradient), ddim(PROCESS, 1.0), 600)
    else:
        x = draw(normal(0.0), ancestral(PROCESS, gradient=gradient), 600)
    np.testing.assert_allclose(x.mean(), 0.5, atol=0.03)
    np.testing.assert_allclose(x.std(), 8**-0.5, rtol=0.06)


def test_a_scale_of_zero_leaves_the_model():
    x, t = jax.random.normal(jax.random.key(0), (4, 3)), jnp.full(4, 0.4)
    gradient = classifier.log_prob_gradient(likelihood_of(1.0, 0.5), 0.0)
    guided = classifier.by_gradient(normal(0.2), PROCESS, gradient)(x, t)
    np.testing.assert_allclose(guided.x0, normal(0.2)(x, t).x0, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scale", [0.0, 1.0, 3.0])
def test_classifier_free_guidance_is_linear_in_every_coordinate(scale):
    x, t = jax.random.normal(jax.random.key(0), (4, 3)), jnp.array([0.1, 0.4, 0.7, 1.0])
    told, untold = normal(0.7), normal(-0.1, 0.8)
    guided = classifier_free.classifier_free(told, untold, classifier_free.constant(scale))(x, t)
    for name in ("x0", "eps", "score"):
        expected = (1 - scale) * getattr(untold(x, t), name) + scale * getattr(told(x, t), name)
        np.testing.assert_allclose(getattr(guided, name), expected, rtol=1e-4, atol=1e-4)
    # The three are still one belief.
    np.testing.assert_allclose(PROCESS.perturb(guided.x0, t, guided.eps), x, rtol=1e-4, atol=1e-5)


def test_scale_one_draws_the_conditional_law_and_more_goes_further():
    """Equal widths: guidance by w moves the mean to untold + w (told - untold)."""
    for scale, mean in ((1.0, 0.4), (2.0, 0.8)):
        model = classifier_free.classifier_free(normal(0.4), normal(0.0), classifier_free.constant(scale))
        np.testing.assert_allclose(draw(model, second_order(PROCESS), 60).mean(), mean, atol=0.03)


def test_outside_its_interval_guidance_is_off():
    scale = classifier_free.in_interval(3.0, PROCESS, 0.2, 2.0)
    t = PROCESS.time_at(jnp.array([0.1, 0.2, 0.21, 1.0, 2.0, 2.1]))
    level = PROCESS.noise_to_signal(t)
    np.testing.assert_array_equal(scale(t), jnp.where((level > 0.2) & (level <= 2.0), 3.0, 1.0))
    np.testing.assert_array_equal(np.asarray(scale(t))[[0, 2, 3, 5]], [1, 3, 3, 1])
