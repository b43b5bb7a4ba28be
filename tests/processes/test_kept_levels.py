"""Levels that notations of respacing keep, counted by hand, and the chain of them."""

import jax.numpy as jnp
import numpy as np

from score_jax.processes.chain import vp_chain
from score_jax.processes.respacing import kept_levels, respace


def test_the_first_sections_are_the_longer_ones():
    np.testing.assert_array_equal(kept_levels(11, "2,2,2"), [0, 3, 4, 7, 8, 10])
    np.testing.assert_array_equal(kept_levels(10, "3,2"), [0, 2, 4, 5, 9])
    np.testing.assert_array_equal(kept_levels(1000, "5"), [0, 250, 500, 749, 999])
    np.testing.assert_array_equal(kept_levels(11, "ddim4"), [0, 3, 6, 9])
    np.testing.assert_array_equal(kept_levels(1000, "quad5"), [0, 50, 200, 450, 800])
    np.testing.assert_array_equal(kept_levels(10, "quad4"), [0, 3, 8])  # 0, 0.9, 3.6 and 8


def test_a_respaced_chain_has_the_kept_levels_and_its_kernels_span_the_others(x64):
    chain = vp_chain(num_levels=50)
    kept = respace(chain, np.array([4, 20, 49]))
    t, were = jnp.arange(3.0), jnp.array([4.0, 20.0, 49.0])
    np.testing.assert_array_equal(kept.levels, were)
    np.testing.assert_allclose(kept.chain.alpha(t), chain.alpha(were), rtol=1e-12)
    np.testing.assert_allclose(kept.chain.kernel(t, t - 1)[1], chain.kernel(were, jnp.array([-1.0, 4, 20]))[1])
