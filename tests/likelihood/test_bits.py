"""Bits per dimension and means of densities, by round numbers."""

import jax.numpy as jnp
import numpy as np

from score_jax.likelihood.bits import bits_per_dim, importance_weighted


def test_bits_are_nats_over_the_dimensions_and_the_width_of_a_level(x64):
    """A density of 2^-6 in 3 dimensions is 2 bits each; levels of width 2^-7 add 7."""
    log_prob = jnp.log(2.0) * jnp.array([-6.0, 0.0, 9.0])
    np.testing.assert_allclose(bits_per_dim(log_prob, 3, 0.0), (2, 0, -3), rtol=1e-12)
    np.testing.assert_allclose(bits_per_dim(log_prob, 3, float(-7 * np.log(2))), (9, 7, 4), rtol=1e-12)


def test_densities_are_averaged_not_their_logarithms(x64):
    log_probs = jnp.log(jnp.array([[1.0, 3.0, 5.0], [2.0, 2.0, 2.0]]))
    np.testing.assert_allclose(importance_weighted(log_probs), np.log([3, 2]), rtol=1e-12)
