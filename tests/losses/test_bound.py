"""The bound of 2015: identities, closed forms, and the exact optimum of the heartbeat."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.special import rel_entr
from true_reverse import true_reverse

from score_jax.arrays import fold_in_each, keys_per_example
from score_jax.losses import bound
from score_jax.processes.binomial import BinomialChain, binomial_chain
from score_jax.processes.chain import Chain
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
    result = jax.jit(lambda x0: bound.gaussian_bound(true_reverse(chain, std), chain, x0, path_for(x0)))(x0)
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
        _, variance = true_reverse(chain, std)(jnp.zeros((len(t), 1)), t)
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
        mean, variance = true_reverse(chain, std)(x, t)
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


def test_of_a_model_that_knows_the_example_entropies_are_left(x64):
    """Its divergences are 0: K has H(X_T | X_0) - H(X_1 | X_0), and the prior's part by round numbers."""
    chain = Chain(np.log([0.8, 0.6, 0.28]), np.array([0.6, 0.8, 0.96]))
    x0 = jnp.array([[1.0, -1.0, 1.0], [0.5, 2.0, 0.0]])

    def reverse(x, t):
        mean, variance = chain.posterior(x, x0, t, t - 1)
        return mean, jnp.broadcast_to(variance[:, None], x.shape)

    result = bound.gaussian_bound(reverse, chain, x0, path_for(x0))
    np.testing.assert_allclose(result.kl, np.zeros((2, 2)), atol=1e-12)
    entropy = stats.norm.entropy() * 3
    np.testing.assert_allclose(result.equation_14, 3 * np.log(1.6) - entropy, rtol=1e-12)
    np.testing.assert_allclose(result.null, stats.norm.logpdf(x0).sum(axis=1), rtol=1e-12)
    # E log pi(x_t) = -(alpha² |x0|² + d sigma² + d log 2 pi) / 2, where |x0|² is 3 the same at all t.
    excess = np.array([0.0, 1.25])
    np.testing.assert_allclose(
        result.exact - result.equation_14, -0.5 * excess * (0.28**2 + 1 - 0.8**2), rtol=1e-9, atol=1e-12
    )
    off = bound.gaussian_bound(lambda x, t: (reverse(x, t)[0] + 0.5, reverse(x, t)[1]), chain, x0, path_for(x0))
    posterior = np.array([0.36 * (1 - 0.5625) / 0.64, 0.64 * (1 - (0.28 / 0.6) ** 2) / 0.96**2])
    np.testing.assert_allclose(off.kl, np.tile(1.5 * 0.25 / posterior, (2, 1)), rtol=1e-9)
    np.testing.assert_allclose(off.exact - result.exact, -off.kl.sum(axis=1), rtol=1e-9)


def test_of_bits_too(x64):
    chain = BinomialChain(np.array([0.8, 0.5, 0.1]), 0.3)
    x0 = jnp.array([[1.0, 0.0, 1.0, 1.0]])
    keys = keys_per_example(jax.random.key(0), jnp.arange(1))

    def another(r):
        return jnp.clip(0.5 * r + 0.2, 0, 1)

    exact = bound.binomial_bound(lambda x, t: chain.change(x, x0, t), chain, x0, keys)
    np.testing.assert_allclose(exact.kl, np.zeros((1, 2)), atol=1e-9)
    first, last = ([survival * bit + (1 - survival) * 0.3 for bit in (1, 0, 1, 1)] for survival in (0.8, 0.1))
    entropies = [stats.bernoulli.entropy(p).sum() for p in (np.array(first), np.array(last), np.full(4, 0.3))]
    np.testing.assert_allclose(exact.equation_14, entropies[1] - entropies[0] - entropies[2], rtol=1e-8)
    np.testing.assert_allclose(exact.null, 3 * np.log(0.3) + np.log(0.7), rtol=1e-12)
    log_odds = np.log(0.3 / 0.7)  # E log pi is linear in the probability of a 1
    gained = (np.sum(last) + 3 - np.sum(first) - 4 * 0.3) * log_odds
    np.testing.assert_allclose(exact.exact - exact.equation_14, gained, rtol=1e-8)
    off = bound.binomial_bound(lambda x, t: another(chain.change(x, x0, t)), chain, x0, keys)
    for i, t in enumerate((1, 2)):
        x = chain.perturb(fold_in_each(keys, t), x0, jnp.full(1, float(t)))
        r = np.asarray(chain.change(x, x0, jnp.full(1, float(t))))
        s = np.asarray(another(r))
        np.testing.assert_allclose(off.kl[0, i], (rel_entr(r, s) + rel_entr(1 - r, 1 - s)).sum(), rtol=1e-6)


def test_the_forward_kernel_as_model_has_one_weight_in_every_trajectory(x64):
    """N(0, 1) is left as it is by both, in detailed balance: each trajectory's weight is pi(x_0), without spread."""
    chain = Chain(np.log([0.8, 0.6, 0.28]), np.array([0.6, 0.8, 0.96]))
    x0 = jnp.array([[1.0, -1.0], [0.5, 2.0]])
    found, error = bound.importance_log_prob(forward(chain), chain, x0, path_for(x0), 3)
    np.testing.assert_allclose(found, stats.norm.logpdf(x0).sum(axis=1), rtol=1e-10)
    np.testing.assert_allclose(error, np.zeros(2), atol=1e-10)


def test_the_error_of_a_mean_of_weights_is_that_of_its_trajectories(x64):
    chain, x0 = chain_of_logits(log_spaced(4, BETA_1), BETA_1), jnp.array([[0.4, -0.2]])

    def narrow(x, t):
        mean, variance = forward(chain)(x, t)
        return mean, 0.7 * variance

    path = path_for(x0)
    one = [bound.importance_log_prob(narrow, chain, x0, lambda k, j=j: lambda _: path(k)(j), 1)[0] for j in range(3)]
    weights = np.exp(np.array(one))
    found, error = bound.importance_log_prob(narrow, chain, x0, path, 3)
    np.testing.assert_allclose(np.exp(found), weights.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(error, weights.std(axis=0) / weights.mean(axis=0) / 3**0.5, rtol=1e-9)
