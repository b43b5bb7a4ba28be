"""Adversarial losses by hand, and the weight that balances them with the rest."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.losses.adversarial import adaptive_weight, factor_at, generator, hinge, vanilla, weighted

REAL = jnp.array([[2.0, 0.0], [-1.0, 1.0]]).reshape(2, 1, 2, 1)
FAKE = jnp.array([[-3.0, 0.0], [-1.0, 2.0]]).reshape(2, 1, 2, 1)


def test_discriminator_losses_by_hand(x64):
    """Hinge: reals (0 + 1) / 2 and (2 + 0) / 2, fakes (0 + 1) / 2 and (0 + 3) / 2."""
    np.testing.assert_allclose(hinge(REAL, FAKE), [0.5, 1.25], rtol=1e-12)
    of_reals = np.log1p(np.exp([[-2.0, 0.0], [1.0, -1.0]])).mean(1)
    of_fakes = np.log1p(np.exp([[-3.0, 0.0], [-1.0, 2.0]])).mean(1)
    np.testing.assert_allclose(
        vanilla(REAL.astype(jnp.float64), FAKE.astype(jnp.float64)), (of_reals + of_fakes) / 2, rtol=1e-12
    )
    undecided = jnp.zeros((1, 3, 3, 1))
    np.testing.assert_allclose(vanilla(undecided, undecided), [np.log(2)], rtol=1e-6)
    np.testing.assert_allclose(hinge(undecided, undecided), [1.0])


def test_generator_raises_the_mean_logit():
    np.testing.assert_allclose(generator(FAKE), [1.5, -0.5])
    gradient = jax.grad(lambda logits: jnp.mean(generator(logits)))(FAKE)
    np.testing.assert_allclose(gradient, jnp.full_like(FAKE, -1 / 4))


def test_mean_of_weighted_values_is_their_average():
    values, weights = jnp.array([1.0, 2.0, 5.0]), jnp.array([3.0, 0.0, 1.0])
    assert float(jnp.mean(weighted(values, weights))) == pytest.approx((3 * 1 + 5) / 4)
    np.testing.assert_allclose(weighted(values, jnp.full(3, 0.2)), values, rtol=1e-6)


def test_adaptive_weight_is_the_ratio_of_norms(x64):
    nll, adversarial = jnp.array([[3.0, 0.0], [0.0, 4.0]]), jnp.array([[0.0, 0.3], [0.4, 0.0]])
    assert float(adaptive_weight(nll, adversarial)) == pytest.approx(5 / (0.5 + 1e-4), rel=1e-12)
    assert float(adaptive_weight(nll, adversarial, 0.75)) == pytest.approx(0.75 * 5 / (0.5 + 1e-4), rel=1e-12)
    assert float(adaptive_weight(nll, adversarial, 0.75, most=8.0)) == pytest.approx(6.0, rel=1e-12)
    assert float(adaptive_weight(jnp.zeros(3), jnp.zeros(3))) == 0.0


def test_adaptive_weight_without_an_adversarial_gradient(x64):
    """It is ||nll|| / 1e-4 then, up to the cap of 1e4, which the constant factor comes after."""
    nothing = jnp.zeros(2)
    assert float(adaptive_weight(jnp.array([0.0, 0.5]), nothing)) == pytest.approx(5e3, rel=1e-12)
    assert float(adaptive_weight(jnp.array([3.0, 4.0]), nothing)) == 1e4
    assert float(adaptive_weight(jnp.array([3.0, 4.0]), nothing, 0.5)) == 5e3


def test_adaptive_weight_is_a_constant_for_gradients():
    def value(scale):
        return adaptive_weight(scale * jnp.ones(3), jnp.ones(3) / scale)

    assert float(jax.grad(value)(2.0)) == 0.0 and value(3.0) > value(2.0)


def test_discriminator_counts_from_its_start():
    found = [float(factor_at(jnp.int32(step), 5, 0.8)) for step in (0, 4, 5, 6)]
    np.testing.assert_allclose(found, [0, 0, 0.8, 0.8])
    assert float(factor_at(0, 0)) == 1.0
