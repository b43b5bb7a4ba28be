"""At which times and levels a batch is trained: the laws that the papers state."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.losses import time_sampling

KEY = jax.random.key(5)


def test_edms_levels_are_log_normal_about_minus_1_2():
    """ln sigma ~ N(P_mean, P_std²) with -1.2 and 1.2 (Karras et al. 2022, table 1)."""
    np.testing.assert_allclose(
        time_sampling.log_normal_levels(jnp.array([-1.0, 0.0, 1.0])), [0.090718, 0.301194, 1], 1e-5
    )
    logarithms = np.log(time_sampling.log_normal_levels(jax.random.normal(KEY, (40_000,))))
    np.testing.assert_allclose((logarithms.mean(), logarithms.std()), (-1.2, 1.2), atol=0.03)
    np.testing.assert_allclose(time_sampling.log_normal_levels(jnp.array([2.0]), 0.5, 0.25), np.e, rtol=1e-6)


def test_ves_levels_are_even_in_their_logarithm():
    np.testing.assert_allclose(time_sampling.log_uniform_levels(jnp.array([0.0, 0.5, 1.0])), [0.02, 2**0.5, 100], 1e-5)


@pytest.mark.parametrize("count", [8, 9])
def test_half_of_a_mixture_is_even_in_time_and_half_in_its_logarithm(count):
    t_min, half = 1e-3, count // 2
    t = np.asarray(time_sampling.stratified_mixture(KEY, count, t_min), np.float64)
    assert t.shape == (count,) and t.min() >= t_min and t.max() <= 1
    gaps = np.diff(np.sort(np.log(t[:half])))
    np.testing.assert_allclose(gaps, np.log(1000) / half, rtol=1e-4)
    np.testing.assert_allclose(np.diff(np.sort(t[half:])), (1 - t_min) / (count - half), rtol=1e-4)


@pytest.mark.parametrize("count", [4096, 5])
@pytest.mark.parametrize("of", [lambda t: t, lambda t: 1 / t], ids=["t", "1/t"])
def test_the_factors_of_a_mixture_give_means_over_uniform_times(count, of):
    """E of t and 1 / t over U(t_min, 1): (1 + t_min) / 2 and -log t_min / (1 - t_min)."""
    t_min, repeats = 1e-2, 3 if count > 5 else 4000

    def mean(key):
        t = time_sampling.stratified_mixture(key, count, t_min)
        return jnp.mean(time_sampling.mixture_importance(t, t_min) * of(t))

    found = jax.vmap(mean)(jax.random.split(KEY, repeats)).mean()
    exact = 0.505 if of(0.5) < 1 else np.log(100) / 0.99
    np.testing.assert_allclose(found, exact, rtol=2e-3 if count > 5 else 2e-2)


@pytest.mark.parametrize("count", [10, 11])
def test_antithetic_levels_come_in_pairs_and_all_levels_are_drawn(count):
    levels = np.asarray(time_sampling.antithetic_index(KEY, count, 0.0, num_levels=7))
    assert levels.shape == (count,)
    half = -(-count // 2)
    np.testing.assert_array_equal(levels[half:], 6 - levels[: count - half])
    drawn = np.asarray(time_sampling.uniform_index(KEY, 7000, 0.0, num_levels=7))
    np.testing.assert_allclose(np.bincount(drawn.astype(int)), np.full(7, 1000), rtol=0.12)
