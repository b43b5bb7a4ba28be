"""Guidance by text where distances and gradients are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.guidance import text as text_guidance
from score_jax.guidance.classifier import by_gradient
from score_jax.guidance.measurements import blended_after, ending_in_x0, mask
from score_jax.prediction.predictor import score_predictor
from score_jax.processes.chain import vp_chain
from score_jax.processes.gaussian import VP
from score_jax.processes.noise import replay
from score_jax.samplers.chain import run_chain
from score_jax.samplers.grids import levels
from score_jax.samplers.steps import ancestral, ddim, pulled_ancestral

PROCESS = VP()
NORMAL = score_predictor(lambda x, t: -x, PROCESS)  # of data N(0, 1): so is x_t, and x0 is alpha x_t
MASK = jnp.zeros((1, 4, 4, 1)).at[:, 1:3].set(1.0)


def test_the_distance_is_half_the_squared_angle(x64):
    angles = jnp.array([0.0, 1e-3, 0.5, np.pi / 2, 3.0])
    x = jnp.stack([jnp.cos(angles), jnp.sin(angles)], axis=1)
    found = text_guidance.spherical_distance(7 * x, jnp.array([[0.1, 0.0]]))
    np.testing.assert_allclose(found, angles**2 / 2, rtol=1e-9, atol=1e-12)


def test_at_no_distance_the_gradient_is_zero():
    gradient = jax.grad(lambda x: text_guidance.spherical_distance(x, x[::-1]).sum())(jnp.ones((2, 3)))
    np.testing.assert_array_equal(gradient, jnp.zeros((2, 3)))


def test_the_range_loss_is_of_what_leaves_the_range():
    images = jnp.stack([jnp.full((2, 2, 1), value) for value in (1.0, -0.3, 3.0)])
    np.testing.assert_allclose(text_guidance.beyond_range(images), [0.0, 0.0, 4.0])


def test_an_image_has_the_mean_distance_of_its_own_views(x64):
    """Views of an image are itself turned by given angles."""
    turns = jnp.array([0.0, 0.2, 0.4])
    angles = jnp.array([0.1, 1.0])
    images = jnp.stack([jnp.cos(angles), jnp.sin(angles)], axis=1)[:, None, None] * 2 - 1

    def views(x, t):
        a, b = (x[..., 0] + 1) / 2, (x[..., 1] + 1) / 2
        turned = [jnp.stack([jnp.cos(u) * a - jnp.sin(u) * b, jnp.sin(u) * a + jnp.cos(u) * b], -1) for u in turns]
        return jnp.concatenate(turned) * 2 - 1

    distance = text_guidance.distance_to_text(lambda x: x.reshape(len(x), -1), jnp.array([[1.0, 0.0]]), views)
    expected = ((angles[:, None] + turns[None]) ** 2 / 2).mean(axis=1)
    np.testing.assert_allclose(distance(images, jnp.zeros(2)), expected, rtol=1e-9)

    own = jnp.stack([jnp.array([1.0, 0.0]), jnp.array([jnp.cos(0.5), jnp.sin(0.5)])])
    distance = text_guidance.distance_to_text(lambda x: x.reshape(len(x), -1), own, views)
    expected = ((angles[:, None] + turns[None] - jnp.array([[0.0], [0.5]])) ** 2 / 2).mean(axis=1)
    np.testing.assert_allclose(distance(images, jnp.zeros(2)), expected, rtol=1e-9)


def test_the_gradient_goes_through_the_model_and_stays_within_the_mask(x64):
    """Of a quadratic in what is seen, c x_t with c = sigma alpha + 1 - sigma where data are N(0, 1)."""

    def square(image, t):
        return jnp.sum(image**2, axis=(1, 2, 3)) / 2

    x, t = jax.random.normal(jax.random.key(0), (2, 4, 4, 3)), jnp.array([0.2, 0.9])
    loss = text_guidance.edit_loss(square, MASK, text_scale=3.0, range_scale=0.0)
    prediction, gradient = text_guidance.pull(loss, NORMAL, PROCESS)(x, t)
    alpha, sigma = PROCESS.alpha(t)[:, None, None, None], PROCESS.sigma(t)[:, None, None, None]
    np.testing.assert_allclose(gradient, -3 * (sigma * alpha + 1 - sigma) ** 2 * x * MASK, rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(prediction.x0, NORMAL(x, t).x0)


@pytest.mark.parametrize("rule", ["ancestral", "ddim"])
def test_one_evaluation_guides_as_two_do(rule):
    """A model evaluated once for what it predicts and for the gradient: the step of the two taken apart."""
    chain = vp_chain("linear", 100)
    predictor = score_predictor(lambda x, t: -jnp.tanh(x), chain)
    loss = text_guidance.edit_loss(
        lambda image, t: jnp.sum(image**3, axis=(1, 2, 3)), MASK, text_scale=0.5, range_scale=1.0
    )
    x, z = jax.random.normal(jax.random.key(0), (2, 2, 4, 4, 3))
    t = jnp.array([3.0, 70.0])

    def gradient(x, t):
        return text_guidance.pull(loss, predictor, chain)(x, t)[1]

    if rule == "ancestral":
        found = pulled_ancestral(chain, loss)(lambda j: z, x, t, t - 1, predictor)
        expected = ancestral(chain, gradient=gradient)(lambda j: z, x, t, t - 1, predictor)
        belief = predictor(x, t).x0
    else:
        once = text_guidance.pulled(loss, predictor, chain)
        apart = by_gradient(predictor, chain, gradient)
        found, expected = (ending_in_x0(ddim(chain))(lambda j: z, x, t, t - 1, model) for model in (once, apart))
        belief = apart(x, t).x0
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found[1], belief, rtol=1e-5, atol=1e-6)


def test_the_background_is_held_outside_the_mask():
    image = jnp.full((1, 4, 4, 3), 0.5)
    seen = jnp.where(MASK > 0, 9.0, 0.5) * jnp.ones((2, 4, 4, 3))
    loss = text_guidance.background_loss(
        lambda a, b: jnp.abs(a - b).mean((1, 2, 3)), image, MASK, perceptual_scale=2.0, square_scale=10.0
    )
    # Half of the image is masked, and is compared as 0 with 0.5.
    np.testing.assert_allclose(loss(seen, seen, jnp.zeros(2)), 2 * 0.25 + 10 * 0.125, rtol=1e-6)


@pytest.mark.slow
def test_a_blended_walk_has_the_image_at_the_level_it_came_from_and_ends_in_the_belief():
    chain = vp_chain("linear", 100)
    predictor = score_predictor(lambda x, t: -x, chain)
    count = 3
    image, start = jnp.full((2, 4, 4, 3), 0.5), jax.random.normal(jax.random.key(1), (2, 4, 4, 3))
    stored = jax.random.normal(jax.random.key(2), (2 * count, 2, 4, 4, 3))
    outside = mask(1 - MASK)
    step = blended_after(ending_in_x0(ddim(chain)), chain, outside, outside.operator(image), 1)
    grid = levels(np.arange(count))
    walk = run_chain(step, predictor, replay(stored, 2), start, grid, tuple(range(count + 1)))
    for i in range(count):
        t = jnp.full(2, grid[i])
        state, before = walk.kept[i + 1], walk.kept[i]
        noised = chain.perturb(image, t, stored[2 * i + 1])
        np.testing.assert_allclose(outside.seen(state), outside.seen(noised), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(walk.kept_means[i + 1], predictor(before, t).x0, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(walk.mean, walk.kept_means[-1], rtol=1e-6)
