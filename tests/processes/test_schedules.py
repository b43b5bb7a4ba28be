"""Tables of beta by their first, last and middle entries."""

import jax.numpy as jnp
import numpy as np

from score_jax.processes import schedules
from score_jax.processes.binomial import binomial_chain
from score_jax.processes.chain import DATA, ve_chain
from score_jax.processes.levels import NoiseLevels


def test_warm_ups_rise_over_their_share_and_stay():
    np.testing.assert_allclose(schedules.BETAS["warmup10"](50), [*np.linspace(0.002, 0.4, 5), *np.full(45, 0.4)])
    np.testing.assert_allclose(schedules.BETAS["warmup50"](50)[[0, 24, 25, 49]], (0.002, 0.4, 0.4, 0.4))
    np.testing.assert_allclose(schedules.warmup(10, 1.0, 3.0, 0.3), [0.1, 0.2, *np.full(8, 0.3)])


def test_square_roots_of_quad_are_even():
    np.testing.assert_allclose(schedules.quad(3, 3.0, 27.0), (1, 4, 9))
    # Latent diffusion's "linear", from 0.0015 to 0.0195; halfway the root is 0.0892 = (0.0387 + 0.1396) / 2.
    scaled = schedules.BETAS["scaled_linear"](1001, 1.5015, 19.5195)
    np.testing.assert_allclose(scaled[[0, 500, 1000]], (0.0015, 0.0079542, 0.0195), rtol=1e-4)
    np.testing.assert_allclose(schedules.BETAS["sqrt"](3, 0.03, 0.27), (0.1, 0.05**0.5, 0.3))
    np.testing.assert_allclose(schedules.linear(3, 3.0, 27.0), (1, 5, 9))
    np.testing.assert_allclose(schedules.const(4, 2.0), np.full(4, 0.5))
    np.testing.assert_allclose(schedules.jsd(4), (1 / 4, 1 / 3, 1 / 2, 1))


def test_betas_of_a_cosine_lead_along_it_and_are_cut():
    """Without an offset, of two levels: alpha² falls from 1 to cos²(pi / 4) = 1 / 2, and then to 0, which is cut."""
    np.testing.assert_allclose(schedules.cosine(2, offset=0.0, largest=0.9), (0.5, 0.9))
    # With the paper's 0.008 at 1000 levels, improved diffusion's table begins so.
    np.testing.assert_allclose(schedules.cosine(1000)[:3], (4.12842e-05, 4.61422e-05, 5.10031e-05), rtol=1e-4)
    np.testing.assert_allclose(schedules.cosine(1000)[-1], 0.999)


def test_levels_are_geometric_or_even_and_may_be_rounded():
    np.testing.assert_allclose(NoiseLevels(8.0, 1.0, 4).sigmas, (8, 4, 2, 1))
    np.testing.assert_allclose(NoiseLevels(7.0, 1.0, 4, "uniform").sigmas, (7, 5, 3, 1))
    exact, rounded = (NoiseLevels(50.0, 0.01, 10, rounded=rounded).sigmas for rounded in (False, True))
    assert rounded.dtype == np.float64
    np.testing.assert_array_equal(rounded, np.float32(exact))
    assert (rounded != exact).any()


def test_a_chain_of_sigmas_keeps_the_signal_and_begins_at_the_most_noise():
    chain, t = ve_chain(1.0, 8.0, 4), jnp.arange(-1.0, 4)
    np.testing.assert_array_equal(chain.alpha(t), np.ones(5))
    np.testing.assert_allclose(chain.sigma(t), (0, 1, 2, 4, 8), rtol=1e-6)
    np.testing.assert_allclose(chain.kernel(t[1:], t[:-1])[1], (1, 3, 12, 48), rtol=1e-6)
    assert (chain.prior_std, chain.t_max, DATA) == (8.0, 3.0, -1.0)
    np.testing.assert_array_equal(chain.time_at(jnp.array([0.1, 1.4, 1.6, 5.9, 6.1, 99.0])), (0, 0, 1, 2, 3, 3))


def test_bits_are_resampled_from_a_fair_coin():
    bits = binomial_chain(4)
    np.testing.assert_allclose(bits.prior_of_value(jnp.array([[0.0, 1.0]])), [[0.5, 0.5]])
    ones = jnp.ones((1, 1))
    np.testing.assert_allclose(bits.probability(ones, jnp.array([1.0])), [[0.75]])
    np.testing.assert_allclose(bits.prior_log_prob(jnp.ones((2, 3))), np.full(2, -3 * np.log(2)), rtol=1e-6)
