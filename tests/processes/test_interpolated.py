"""A chain in continuous time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.processes.chain import chain_at, ve_chain, vp_chain
from score_jax.processes.gaussian import VE, VP
from score_jax.processes.interpolated import Interpolated

CHAINS = {"vp": vp_chain("linear", 100), "cosine": vp_chain("cosine", 100), "ve": ve_chain(0.01, 10.0, 50)}


@pytest.mark.parametrize("name", CHAINS)
def test_whole_numbers_are_the_levels(name):
    chain = CHAINS[name]
    process, t = Interpolated(chain), jnp.arange(float(chain.num_levels))
    np.testing.assert_allclose(process.sigma(t), chain.sigma(t), rtol=1e-5)
    np.testing.assert_allclose(process.log_alpha(t), chain.log_alpha(t), rtol=1e-5, atol=1e-7)
    assert process.t_max == chain.t_max
    assert process.prior_std == chain.prior_std


@pytest.mark.parametrize("name", CHAINS)
def test_levels_change_smoothly_and_one_way(name):
    process = Interpolated(CHAINS[name])
    t = jnp.linspace(0.0, process.t_max, 5001)
    ratio = process.noise_to_signal(t)
    assert (jnp.diff(ratio) > 0).all()
    np.testing.assert_allclose(process.time_at(ratio), t, atol=0.5)
    slope = jax.vmap(jax.grad(lambda t: process.log_alpha(t) - jnp.log(process.sigma(t))))
    at_level = jnp.arange(1.0, process.t_max)
    np.testing.assert_allclose(slope(at_level - 1e-3), slope(at_level + 1e-3), rtol=0.05, atol=1e-3)


def test_a_dense_chain_is_the_process_it_was_taken_from(x64):
    for original in (VP(), VE(0.01, 10.0)):
        times = np.linspace(0.01, 1.0, 400)
        process = Interpolated(chain_at(original, times))
        t = jnp.linspace(2.0, 398.0, 300)
        real = times[0] + t / 399 * (times[-1] - times[0])
        np.testing.assert_allclose(process.sigma(t), original.sigma(real), rtol=1e-4)
        np.testing.assert_allclose(process.alpha(t), original.alpha(real), rtol=1e-4)
        # Of the drift f x - g² score / 2, in the chain's own time.
        stretch = (times[-1] - times[0]) / 399
        rate = jax.vmap(process.diffusion_squared)(t)
        np.testing.assert_allclose(rate, stretch * jax.vmap(original.diffusion_squared)(real), rtol=1e-2)
