"""Errors of a reconstruction as the two kinds of first stages count them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.errors import InputError
from score_jax.losses.first_stage import errors, mean_nll, summed_nll

X, Y = jax.random.uniform(jax.random.key(0), (2, 3, 4, 5, 3), minval=-1)
PERCEPTUAL = jnp.array([0.0, 0.5, 2.0])


def test_errors_are_of_numbers_with_the_perceptual_distance_in_each():
    np.testing.assert_allclose(errors(X, Y), np.abs(X - Y))
    np.testing.assert_allclose(errors(X, Y, kind="l2"), (X - Y) ** 2)
    found = errors(X, Y, PERCEPTUAL, kind="l2", perceptual_weight=3.0) - errors(X, Y, kind="l2")
    np.testing.assert_allclose(found, np.broadcast_to([[[[0]]], [[[1.5]]], [[[6]]]], X.shape), rtol=1e-5)
    with pytest.raises(InputError, match="Unknown loss.pixels 'l3'.*l1, l2"):
        errors(X, Y, kind="l3")


def test_a_perceptual_distance_counts_once_in_a_mean_and_for_each_number_in_a_sum():
    of_pixels, both = errors(X, Y), errors(X, Y, PERCEPTUAL)
    np.testing.assert_allclose(mean_nll(both) - mean_nll(of_pixels), PERCEPTUAL, atol=1e-6)
    np.testing.assert_allclose(summed_nll(both) - summed_nll(of_pixels), 60 * PERCEPTUAL, atol=1e-4)


def test_log_variance_divides_the_errors_and_is_added_to_each(x64):
    e = errors(X.astype(jnp.float64), Y.astype(jnp.float64))
    sums, log_variance = np.asarray(e).sum((1, 2, 3)), jnp.asarray(np.log(4.0))
    np.testing.assert_allclose(summed_nll(e, log_variance), sums / 4 + 60 * np.log(4), rtol=1e-12)
    weights = jnp.array([0.0, 1.0, 2.0])
    weighted = summed_nll(e, log_variance, weights)
    np.testing.assert_allclose(weighted, weights * (sums / 4 + 60 * np.log(4)), rtol=1e-12)
    # It is least where the variance is the mean error.
    best = jnp.log(jnp.mean(e))
    gradient = jax.grad(lambda log_variance: jnp.mean(summed_nll(e, log_variance)))(best)
    assert abs(float(gradient)) < 1e-12
