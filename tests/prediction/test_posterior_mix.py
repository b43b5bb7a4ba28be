"""A variance between the two fixed ones is each of them at its ends."""

import jax.numpy as jnp
import numpy as np

from score_jax.prediction.posterior_mix import posterior_mix
from score_jax.prediction.reverse import VARIANCES
from score_jax.processes.chain import vp_chain


def test_ends_and_middle():
    chain, t = vp_chain(num_levels=8, beta_max=2.0), jnp.arange(1.0, 8.0)
    x = jnp.zeros((7, 2))
    mixed = [posterior_mix(share) for share in (0.0, 0.5, 1.0)]
    small, large, first, middle, last = (
        variance(chain, None, x, t, t - 1)[0]
        for variance in (VARIANCES["fixed_small"], VARIANCES["fixed_large"], *mixed)
    )
    np.testing.assert_allclose(first, small, rtol=1e-6)
    np.testing.assert_allclose(last, large, rtol=1e-6)
    np.testing.assert_allclose(middle, (small + large) / 2, rtol=1e-6)


def test_the_last_step_has_a_floor_in_its_logarithm():
    chain, zero = vp_chain(num_levels=8, beta_max=2.0), jnp.zeros(1)
    variance, log_variance = posterior_mix(0.0)(chain, None, jnp.zeros((1, 2)), zero, zero - 1)
    assert variance[0, 0] == 0.0
    np.testing.assert_allclose(log_variance, np.log(1e-20), rtol=1e-6)
