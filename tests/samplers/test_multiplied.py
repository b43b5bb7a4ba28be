"""The models of 2015 and their laws multiplied by another, against enumeration and normal laws."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from true_reverse import true_reverse

from score_jax.arrays import keys_per_example
from score_jax.processes.binomial import BinomialChain
from score_jax.processes.learned import chain_of_logits, log_spaced
from score_jax.samplers import multiplied

BETA_1 = 1e-3
CHAIN = chain_of_logits(log_spaced(12, BETA_1), BETA_1)
BITS = BinomialChain(np.cumprod(1 - np.array([0.1, 0.3, 0.5, 1.0])), 0.3)
DATA = {(1, 0, 1): 0.5, (0, 1, 0): 0.3, (1, 1, 1): 0.2}
STATES = list(itertools.product((0, 1), repeat=3))


def keys(count, seed=0):
    return keys_per_example(jax.random.key(seed), jnp.arange(count))


def moments_of_multiplied(chain, std, y, noise, shares):
    """Mean and variance of the multiplied chain's x_0, by its linear recursion; `shares` from level -1 up."""

    def times(offset, variance, share):
        gain = 1 / (1 + variance * share / noise**2)
        return gain, gain * offset + (1 - gain) * y, gain * variance

    t = jnp.arange(chain.num_levels, dtype=jnp.float32)
    a, beta = (np.asarray(v, float) for v in chain.kernel(t, t - 1))
    before, now = (np.asarray((chain.alpha(u) * std) ** 2 + chain.sigma(u) ** 2, float) for u in (t - 1, t))
    slope, spread = a * before / now, before - (a * before) ** 2 / now
    slope[0], spread[0] = a[0], beta[0]
    _, mean, variance = times(0.0, 1.0, shares[-1])
    for k in range(chain.num_levels - 1, -1, -1):
        gain, shift, own = times(0.0, spread[k], shares[k])
        mean, variance = gain * slope[k] * mean + shift, (gain * slope[k]) ** 2 * variance + own
    return mean, variance


def test_a_true_model_draws_its_data():
    x = multiplied.sample_gaussian(true_reverse(CHAIN, 0.4), CHAIN, keys(20_000), jnp.zeros((20_000, 2)))
    np.testing.assert_allclose((x.mean(), x.std()), (0.0, 0.4), atol=0.01)


@pytest.mark.parametrize("annealed", [False, True])
def test_the_law_of_the_multiplied_chain_is_that_of_its_recursion(annealed):
    share = multiplied.remaining(CHAIN.num_levels) if annealed else multiplied.constant
    shares = np.asarray(share(jnp.arange(-1.0, CHAIN.num_levels)))
    assert shares[0] == 1 and shares[-1] == pytest.approx(0.0 if annealed else 1.0)
    y = jnp.full((20_000, 1), 0.8)
    x = multiplied.sample_gaussian(
        true_reverse(CHAIN, 0.4), CHAIN, keys(20_000), y, multiplied.times_normal(y, 0.5, share)
    )
    mean, variance = moments_of_multiplied(CHAIN, 0.4, 0.8, 0.5, shares)
    np.testing.assert_allclose((x.mean(), x.var()), (mean, variance), atol=0.01)
    # The bias: of the true posterior the mean is 0.312, the variance 0.0976.
    assert abs(mean - 0.312) > 0.02


def test_with_the_exact_factor_the_posterior_is_exact():
    """r_t(x_t) = E[N(y; x_0, noise²) | x_t], known here, makes the product consistent from level to level."""
    std, noise, y = 0.4, 0.5, jnp.full((20_000, 1), 0.8)

    def factor(mean, variance, t):
        alpha, sigma2 = CHAIN.alpha(t), CHAIN.sigma(t) ** 2
        total = (alpha * std) ** 2 + sigma2
        slope, left = alpha * std**2 / total, std**2 * sigma2 / total
        return multiplied.times_normal(y / slope[:, None], (jnp.sqrt(noise**2 + left) / slope)[:, None])(
            mean, variance, t
        )

    # The last step is the forward kernel and no factor of the model; with beta_1 this small it hardly matters.
    x = multiplied.sample_gaussian(true_reverse(CHAIN, std), CHAIN, keys(20_000), y, factor)
    precision = std**-2 + noise**-2
    np.testing.assert_allclose((x.mean(), x.var()), (0.8 / noise**2 / precision, 1 / precision), atol=0.01)


def test_a_product_of_normal_laws_by_quadrature(x64):
    grid = np.linspace(-8, 8, 20_001)
    product = np.exp(-((grid - 0.3) ** 2) / (2 * 0.7) - 0.25 * (grid + 1.1) ** 2 / (2 * 0.5**2))
    product /= product.sum()
    mean = (grid * product).sum()
    factor = multiplied.times_normal(jnp.full((1, 1), -1.1), 0.5, lambda t: jnp.full_like(t, 0.25))
    ours = factor(jnp.full((1, 1), 0.3), jnp.full((1, 1), 0.7), jnp.zeros(1))
    np.testing.assert_allclose(jnp.stack(ours).ravel(), (mean, ((grid - mean) ** 2 * product).sum()), rtol=1e-8)


def test_a_smooth_factor_is_the_product_where_steps_are_narrow(x64):
    y, t = jnp.full((1, 1), -1.1), jnp.zeros(1)
    smooth = multiplied.times_smooth(lambda x: -(x - y) / 0.5**2)
    for variance, tolerance in ((1e-2, 1e-2), (1e-4, 1e-6)):
        law = jnp.full((1, 1), 0.3), jnp.full((1, 1), variance)
        exact = multiplied.times_normal(y, 0.5)(*law, t)[0]
        assert abs(smooth(*law, t)[0] - exact).item() < tolerance


def test_what_is_known_is_kept():
    values, mask = jnp.tile(jnp.array([[0.7, 0.0]]), (4000, 1)), jnp.tile(jnp.array([[1.0, 0.0]]), (4000, 1))
    x = multiplied.sample_gaussian(true_reverse(CHAIN, 0.4), CHAIN, keys(4000), values, multiplied.known(values, mask))
    assert (x[:, 0] == values[:, 0]).all()
    np.testing.assert_allclose(x[:, 1].std(), 0.4, atol=0.02)


def enumerate_chain(factor_at):
    """Law of x_0 under factorised reverse kernels of DATA multiplied bit by bit, as an exact sum over all states.

    Returns the reverse kernel, as probabilities that a bit changes, and the law (8,).
    """
    states = np.array(STATES, float)
    data = np.array([DATA.get(s, 0.0) for s in STATES])
    betas, rho = [0.1, 0.3, 0.5, 1.0], 0.3

    def kernel(beta, x):  # probability that the next bit is 1
        return x * (1 - beta) + rho * beta

    def transition(probability):
        return np.prod(np.where(states[None] > 0.5, probability[:, None], 1 - probability[:, None]), axis=2)

    forward = [transition(kernel(beta, states)) for beta in betas]
    marginals = [data]
    for matrix in forward:
        marginals.append(marginals[-1] @ matrix)
    # P(bit of x_{t-1} = 1 | x_t), t >= 1: the best factorised kernel.
    one = [(forward[t] * marginals[t][:, None]).T @ states / marginals[t + 1][:, None] for t in range(1, len(betas))]
    law = transition(factor_at(np.full((1, 3), rho), 3))[0]
    for t in (3, 2, 1):
        law = law @ transition(factor_at(one[t - 1], t - 1))
    law = law @ transition(factor_at(kernel(betas[0], states), -1))
    change = np.abs(states[None] - np.stack(one))
    table = jnp.asarray(change, jnp.float32)

    def reverse(x, t):
        return table[t.astype(jnp.int32) - 1, (x @ jnp.array([4.0, 2.0, 1.0])).astype(jnp.int32)]

    return reverse, law


def frequencies(x):
    index = np.asarray(x @ jnp.array([4.0, 2.0, 1.0]), int)
    return np.bincount(index, minlength=8) / len(index)


@pytest.mark.parametrize("case", ["none", "constant", "remaining", "known"])
def test_bits_have_the_law_of_the_enumerated_chain(case):
    d = np.array([0.8, 0.3, 0.6])
    values, mask = np.array([1.0, 0.0, 0.0]), np.array([1.0, 0.0, 0.0])

    def product(p, t):
        if case == "none":
            return p
        if case == "known":
            return np.where(mask > 0, values, p)
        power = 1.0 if case == "constant" else (3 - t) / 4
        return p * d**power / (p * d**power + (1 - p) * (1 - d) ** power)

    reverse, law = enumerate_chain(product)
    rows = 40_000
    like = jnp.zeros((rows, 3))
    factor = {
        "none": None,
        "constant": multiplied.times_bits(like + jnp.asarray(d, jnp.float32)[None]),
        "remaining": multiplied.times_bits(like + jnp.asarray(d, jnp.float32)[None], multiplied.remaining(4)),
        "known": multiplied.known_bits(like + jnp.asarray(values)[None], like + jnp.asarray(mask)[None]),
    }[case]
    x = multiplied.sample_binomial(reverse, BITS, keys(rows), like, factor)
    np.testing.assert_allclose(frequencies(x), law, atol=0.012)


def test_with_the_exact_factor_the_posterior_of_a_bit_is_exact(x64):
    """One bit that is 1 with probability 0.6, seen by a likelihood of 0.9 against 0.2: by enumeration, no draws."""
    t = jnp.arange(-1.0, 4)
    one, zero = (BITS.probability(jnp.full((5, 1), v), t)[:, 0] for v in (1.0, 0.0))
    # r_t(x) = E[r(x_0) | x_t = x] and p(x_{t-1} = 1 | x_t = x), both by Bayes' rule.
    marginal = 0.6 * one + 0.4 * zero
    exact_one = (0.6 * one * 0.9 + 0.4 * zero * 0.2) / marginal
    exact_zero = (0.6 * (1 - one) * 0.9 + 0.4 * (1 - zero) * 0.2) / (1 - marginal)
    d = exact_one / (exact_one + exact_zero)
    beta = BITS.beta(jnp.arange(4.0))

    def multiply(p, level):
        return multiplied.times_bits(d[level + 1].reshape(1, 1))(p.reshape(1, 1), jnp.full(1, float(level)))[0, 0]

    law = multiply(marginal[-1], 3)
    for k in (3, 2, 1, 0):
        # The step of level 0 too is the model's own here, not the edge rule: the identity is that of true kernels.
        up = 1 - beta[k] + 0.3 * beta[k], 0.3 * beta[k]  # q(x_k = 1 | x_{k-1} = 1, 0)
        given_one = marginal[k] * up[0] / marginal[k + 1]
        given_zero = marginal[k] * (1 - up[0]) / (1 - marginal[k + 1])
        law = law * multiply(given_one, k - 1) + (1 - law) * multiply(given_zero, k - 1)
    np.testing.assert_allclose(law, 0.6 * 0.9 / (0.6 * 0.9 + 0.4 * 0.2), rtol=1e-6)


def test_a_draw_does_not_depend_on_its_batch():
    like = jnp.zeros((6, 2))
    reverse = true_reverse(CHAIN, 0.4)
    whole = multiplied.sample_gaussian(reverse, CHAIN, keys(6), like)
    part = multiplied.sample_gaussian(reverse, CHAIN, keys(6)[2:4], like[:2])
    np.testing.assert_allclose(whole[2:4], part, rtol=1e-5, atol=1e-6)
    bits, _ = enumerate_chain(lambda p, t: p)
    whole = multiplied.sample_binomial(bits, BITS, keys(6), jnp.zeros((6, 3)))
    part = multiplied.sample_binomial(bits, BITS, keys(6)[2:4], jnp.zeros((2, 3)))
    np.testing.assert_array_equal(whole[2:4], part)
