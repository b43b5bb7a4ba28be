"""The binomial chain by enumeration."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.processes.binomial import BinomialChain, binomial_chain

CHAIN = BinomialChain(np.cumprod(1 - np.array([0.1, 0.3, 0.25])), 0.3)


def kernel(beta):
    """q(x_t | x_{t-1}) as a matrix [before, after]."""
    return np.array([[1 - beta * 0.3, beta * 0.3], [beta * 0.7, 1 - beta * 0.7]])


def test_marginals_and_posteriors_are_those_of_the_matrices(x64):
    betas = [0.1, 0.3, 0.25]
    np.testing.assert_allclose(CHAIN.beta(jnp.arange(3.0)), betas, rtol=1e-10)
    to = [np.linalg.multi_dot([np.eye(2), *[kernel(b) for b in betas[: t + 1]], np.eye(2)]) for t in range(3)]
    for t, x0, x in itertools.product(range(3), (0.0, 1.0), (0.0, 1.0)):
        bit, time = (jnp.full((1, 1), v) for v in (x0, x)), jnp.full(1, float(t))
        x0_bit, x_bit = bit
        np.testing.assert_allclose(CHAIN.of_value(x_bit, x0_bit, time), to[t][int(x0), int(x)], rtol=1e-10)
        before = np.eye(2) if t == 0 else to[t - 1]
        joint = before[int(x0)] * kernel(betas[t])[:, int(x)]
        changed = joint[1 - int(x)] / joint.sum()
        np.testing.assert_allclose(CHAIN.change(x_bit, x0_bit, time), changed, rtol=1e-9, atol=1e-15)


def test_the_papers_schedule_erases_equal_shares():
    chain = binomial_chain(50, 0.2)
    np.testing.assert_allclose(chain.survival(jnp.arange(-1.0, 50)), np.arange(50, -1, -1) / 50, atol=1e-6)
    assert chain.survival(jnp.array([49.0])).item() == 0.0


def test_draws_have_their_probabilities():
    keys = jax.random.split(jax.random.key(0), 4000)
    x0 = jnp.tile(jnp.array([[1.0, 0.0]]), (4000, 1))
    x = CHAIN.perturb(keys, x0, jnp.full(4000, 1.0))
    np.testing.assert_allclose(x.mean(axis=0), CHAIN.probability(x0, jnp.full(4000, 1.0))[0], atol=0.03)
    np.testing.assert_allclose(CHAIN.prior_sample(keys, x0).mean(), 0.3, atol=0.02)
    assert CHAIN.prior_log_prob(x0)[0] == pytest.approx(np.log(0.3) + np.log(0.7), rel=1e-5)
