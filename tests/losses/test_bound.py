"""The bound of 2015: identities, closed forms, and the exact optimum of the heartbeat."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.arrays import keys_per_example
from score_jax.losses import bound
from score_jax.processes.binomial import binomial_chain
from score_jax.processes.learned import chain_of_logits, equal_shares, log_spaced
from score_jax.processes.noise import brownian

T, BETA_1 = 20, 1e-2


def path_for(x, seed=0):
    return brownian(keys_per_example(jax.random.key(seed), jnp.arange(len(x))), x)


def forward(chain):
    """The forward kernel as the reverse one: a model that has learnt nothing."""

    def reverse(x, t):
        a, beta = (level[:, None] for level in chain.kernel(t, t - 1))
        return a * x, beta * jnp.ones_like(x)

    return reverse


def best(chain, std):
    """The true reverse kernel of data N(0, std²)."""

    def reverse(x, t):
        a, _ = chain.kernel(t, t - 1)
        v_s, v_t = ((chain.alpha(u) * std) ** 2 + chain.sigma(u) ** 2 for u in (t - 1, t))
        return (a * v_s / v_t)[:, None] * x, (v_s - (a * v_s) ** 2 / v_t)[:, None] * jnp.ones_like(x)

    return reverse


@pytest.mark.parametrize("logits", [log_spaced(T, BETA_1), equal_shares(T)], ids=["log", "shares"])
def test_the_forward_kernel_as_model_gives_the_null(logits):
    chain = chain_of_logits(logits, BETA_1)
    x0 = jax.random.normal(jax.random.key(0), (4000, 3))
    result = jax.jit(lambda x0: bound.gaussian_bound(forward(chain), chain, x0, path_for(x0)))(x0)
    error = result.exact - result.null
    assert abs(error.mean()) < 4 * error.std() / len(x0) ** 0.5
    np.testing.assert_allclose(result.equation_14.mean(), result.exact.mean(), atol=0.06)  # data of variance 1


@pytest.mark.parametrize("std", [1.0, 0.3])
def test_of_the_true_model_the_bound_is_the_likelihood_up_to_its_first_step(std):
    """Normal data, true kernels: what is left is the edge rule, which takes the prior for the data's law at beta_1."""
    chain = chain_of_logits(log_spaced(T, 1e-4), 1e-4)
    x0 = std * jax.random.normal(jax.random.key(0), (4000, 2))
    result = jax.jit(lambda x0: bound.gaussian_bound(best(chain, std), chain, x0, path_for(x0)))(x0)
    log_prob = -0.5 * jnp.sum(x0**2, axis=1) / std**2 - jnp.log(2 * jnp.pi * std**2)
    gap = log_prob - result.exact
    assert abs(gap.mean()) < 4 * gap.std() / len(x0) ** 0.5
    if std == 1.0:
        np.testing.assert_allclose(result.equation_14.mean(), result.exact.mean(), atol=0.03)
    else:
        assert abs(result.equation_14.mean() - result.exact.mean()) < 1e-3  # A_T and beta_1 are small


def test_gradients_reach_the_schedule():
    x0 = 0.3 * jax.random.normal(jax.random.key(0), (256, 2))

    def k(logits):
        chain = chain_of_logits(logits, 1e-3)
        return bound.gaussian_bound(forward(chain), chain, x0, path_for(x0)).equation_14.mean()

    gradient = jax.jit(jax.grad(k))(log_spaced(8, 1e-3))
    assert gradient.shape == (7,) and (jnp.abs(gradient) > 0).all()


def test_the_entropy_of_a_reverse_step_is_between_its_bounds():
    """For normal data of variance 1 it is the forward step's, the upper bound; for narrower data it is less."""
    chain, t = chain_of_logits(log_spaced(T, BETA_1), BETA_1), jnp.arange(1.0, T)
    lower, upper = bound.reverse_entropy_bounds(chain, t)
    assert (lower < upper).all()
    for std in (1.0, 0.5, 0.05):
        _, variance = best(chain, std)(jnp.zeros((len(t), 1)), t)
        entropy = 0.5 * jnp.log(2 * jnp.pi * jnp.e * variance[:, 0])
        assert (entropy < upper + 1e-4).all() and (entropy > lower - 1e-4).all()
    posterior = chain.posterior_coefficients(t, t - 1)[2]
    np.testing.assert_allclose(lower, 0.5 * jnp.log(2 * jnp.pi * jnp.e * posterior), atol=1e-4)


def test_importance_sampling_tightens_the_bound_of_a_model_that_is_off():
    """One trajectory has K in the mean; more have more, up to the model's log-likelihood."""
    chain, std = chain_of_logits(log_spaced(6, BETA_1), BETA_1), 0.5
    x0 = std * jax.random.normal(jax.random.key(3), (1024, 2))
    path = path_for(x0)

    def wide(x, t):
        mean, variance = best(chain, std)(x, t)
        return mean, 1.6 * variance

    def estimate(count):
        return jax.jit(lambda x0: bound.importance_log_prob(wide, chain, x0, path, count))(x0)

    k = bound.gaussian_bound(wide, chain, x0, path).exact
    one, few, many = (estimate(count) for count in (1, 4, 32))
    noise = jnp.std(one[0] - k) / len(k) ** 0.5
    assert abs(one[0].mean() - k.mean()) < 4 * noise
    assert one[0].mean() + noise < few[0].mean() < many[0].mean()
    assert many[1].mean() < 0.8 * few[1].mean()  # the standard error falls with the trajectories


def heartbeat(count):
    """20 bits, one pulse in each five, of any phase."""
    phase = jnp.arange(count) % 5
    return (jnp.arange(20)[None] % 5 == phase[:, None]).astype(jnp.float32)


def test_a_coin_as_model_gives_the_null_of_bits():
    chain = binomial_chain(30, 0.2)
    x0 = heartbeat(2000)

    def reverse(x, t):  # the forward kernel: resampled with probability beta
        return chain.beta(t)[:, None] * chain.prior_of_value(1 - x)

    keys = keys_per_example(jax.random.key(0), jnp.arange(len(x0)))
    result = jax.jit(lambda x0: bound.binomial_bound(reverse, chain, x0, keys))(x0)
    np.testing.assert_allclose(bound.bits(result.null[0]), -20 * 0.7219281, rtol=1e-5)
    error = result.exact - result.null
    assert abs(error.mean()) < 4 * error.std() / len(x0) ** 0.5
    np.testing.assert_allclose(result.equation_14, result.exact, rtol=1e-4)  # the data's mean is the coin's


def test_the_heartbeats_optimum_is_known():
    """With the exact posterior of its five states and T = 50 levels: -3.490 +- 0.009 bits."""
    chain, states = binomial_chain(50, 0.2), heartbeat(5)

    def reverse(x, t):
        of_state = jax.vmap(
            lambda s: jnp.sum(jnp.log(jnp.maximum(chain.of_value(x, s[None] * jnp.ones_like(x), t), 1e-30)), axis=1)
        )
        weights = jax.nn.softmax(of_state(states), axis=0)
        one = jnp.einsum("kb,kd->bd", weights, states)
        ones, zeros = jnp.ones_like(x), jnp.zeros_like(x)
        return one * chain.change(x, ones, t) + (1 - one) * chain.change(x, zeros, t)

    x0 = heartbeat(4000)
    keys = keys_per_example(jax.random.key(0), jnp.arange(len(x0)))
    result = jax.jit(lambda x0: bound.binomial_bound(reverse, chain, x0, keys))(x0)
    np.testing.assert_allclose(bound.bits(result.exact.mean()), -3.490, atol=0.03)
