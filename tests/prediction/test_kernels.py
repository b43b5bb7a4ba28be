"""Reverse kernels from readouts: what a readout of zero is, and what readouts mean."""

import jax
import jax.numpy as jnp
import numpy as np

from score_jax.models.unets.dpm2015 import NormalisedRBF
from score_jax.prediction.kernels import bit_reverse, blended_mean, data_mean, normal_reverse
from score_jax.processes.binomial import binomial_chain
from score_jax.processes.learned import chain_of_logits, log_spaced

CHAIN = chain_of_logits(log_spaced(10, 1e-3), 1e-3)


def test_a_readout_of_zero_is_the_forward_kernel():
    network = NormalisedRBF(10, 8)
    x, t = jax.random.normal(jax.random.key(0), (9, 2)), jnp.arange(1.0, 10)
    params = network.init(jax.random.key(1), x, t)
    mean, variance = normal_reverse(lambda x, t: network.apply(params, x, t), CHAIN)(x, t)
    a, beta = CHAIN.kernel(t, t - 1)
    np.testing.assert_allclose(mean, a[:, None] * x, rtol=1e-5)
    np.testing.assert_allclose(variance, jnp.tile(beta[:, None], (1, 2)), rtol=1e-4)


def test_means_from_a_readout():
    """The paper's moves by the share Sigma; the third is that of the posterior, exact where z is the data."""
    x, z, t = jnp.full((3, 2), 0.5), jnp.full((3, 2), -0.2), jnp.array([2.0, 5.0, 9.0])
    nothing = jnp.zeros_like(x)
    mean, variance = normal_reverse(lambda x, t: (z, nothing), CHAIN, blended_mean)(x, t)
    np.testing.assert_allclose(mean, x + variance * (z - x), rtol=1e-5)
    mean, _ = normal_reverse(lambda x, t: (z, nothing), CHAIN, data_mean)(x, t)
    np.testing.assert_allclose(mean, CHAIN.posterior(x, z, t, t - 1)[0], rtol=1e-6)


def test_logits_of_zero_are_the_forward_kernel_of_bits():
    """The bit alone is in detailed balance: its reverse is its forward kernel."""
    chain = binomial_chain(12, 0.2)
    x, t = (jnp.arange(24).reshape(12, 2)[1:] % 3 == 0).astype(jnp.float32), jnp.arange(1.0, 12)
    change = bit_reverse(lambda x, t: jnp.zeros_like(x), chain)(x, t)
    np.testing.assert_allclose(change, chain.beta(t)[:, None] * chain.prior_of_value(1 - x), rtol=1e-4)


def test_certain_logits_are_the_posterior_of_their_bit():
    chain = binomial_chain(12, 0.2)
    x, t = jnp.tile(jnp.array([[0.0, 1.0]]), (11, 1)), jnp.arange(1.0, 12)
    for bit in (0.0, 1.0):
        change = bit_reverse(lambda x, t, bit=bit: (2 * bit - 1) * 60 * jnp.ones_like(x), chain)(x, t)
        np.testing.assert_allclose(change, chain.change(x, jnp.full_like(x, bit), t), rtol=1e-4)
