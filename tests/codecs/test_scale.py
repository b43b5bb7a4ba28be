"""Scaled latents have unit variance."""

import jax
import jax.numpy as jnp
import numpy as np

from score_jax.codecs.scale import scale_by_std


def test_scaled_latents_have_unit_variance_wherever_their_mean_is():
    latents = 3.0 * jax.random.normal(jax.random.key(0), (2, 3, 3, 4)) + jnp.arange(4.0).reshape(1, 1, 1, 4)
    scale = scale_by_std(latents)
    np.testing.assert_allclose(np.std(np.asarray(scale * latents), ddof=1), 1.0, rtol=1e-6)
    np.testing.assert_allclose(scale_by_std(latents + 7.0), scale, rtol=1e-5)
    np.testing.assert_allclose(scale_by_std(jnp.array([[0.0], [2.0]])), 2**-0.5, rtol=1e-6)
