"""The bound K of Sohl-Dickstein et al. 2015 on the log-likelihood, for both of their chains. Nats, per example.

    K = - sum_{t>=2} KL(q(x_{t-1} | x_t, x_0) || p(x_{t-1} | x_t)) + H(X_T | X_0) - H(X_1 | X_0) - H_p(X_T)   (eq. 14)

The first step is not learned: p(x_0 | x_1) is q(x_1 | x_0) pi(x_0) / pi(x_1). Equation 14 takes E[-log pi(x_t)] to be
the same at every t, which holds where the data have the prior's second moment (bits: its mean); `exact` has the three
terms as they are. Levels count from 0, the paper's t = 1.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from score_jax.arrays import broadcast_right, fold_in_each, keys_per_example, normal_per_example, sum_per_example
from score_jax.losses.variational import normal_kl
from score_jax.prediction.kernels import Kernels
from score_jax.processes.binomial import BinomialChain
from score_jax.processes.chain import Chain
from score_jax.processes.noise import NoisePath
from score_jax.typing import Batch, KeyArray, KeyBatch, Time

GaussianReverse = Callable[[Batch, Time], tuple[Batch, Batch]]
"""`reverse(x, t)`: mean and variance, elementwise, of p(x_{t-1} | x_t = x)."""
BinomialReverse = Callable[[Batch, Time], Batch]
"""`reverse(x, t)`: probability that each bit of x_{t-1} differs from that of x_t = x."""
_LOG_2PI = math.log(2 * math.pi)


class Bound(NamedTuple):
    """K by its two evaluations, and what a model that has learnt nothing reaches.

    Attributes:
      equation_14: as in the paper.
      exact: with E log pi(x_T), E log pi(x_0) and E log pi(x_1) of the example itself.
      null: log pi(x_0).
      kl: the divergences of levels 1..T-1 (b, T - 1).
    """

    equation_14: Float[Array, "b"]
    exact: Float[Array, "b"]
    null: Float[Array, "b"]
    kl: Float[Array, "b levels"]


def _levels(t: int | Array, like: Batch) -> Time:
    """One level for every example."""
    return jnp.full(like.shape[:1], t, like.dtype)


def gaussian_kl(reverse: GaussianReverse, chain: Chain, x0: Batch, t: Time, noise: Batch) -> Float[Array, "b"]:
    """Returns the KL divergence of level t >= 1 at x_t = alpha x0 + sigma noise."""
    x = chain.perturb(x0, t, noise)
    mean, variance = chain.posterior(x, x0, t, t - 1)
    log_variance = jnp.broadcast_to(broadcast_right(jnp.log(variance), x), x.shape)
    ours, our_variance = reverse(x, t)
    return sum_per_example(normal_kl(mean, log_variance, ours, jnp.log(our_variance)))


def binomial_kl(reverse: BinomialReverse, chain: BinomialChain, x0: Batch, x: Batch, t: Time) -> Float[Array, "b"]:
    """Returns the KL divergence of level t >= 1 at x = x_t, from the probabilities that a bit changes."""
    r, s = chain.change(x, x0, t), reverse(x, t)
    s = jnp.clip(s, 1e-12, 1 - 1e-7)
    changed = jnp.where(r > 0, r * (jnp.log(jnp.maximum(r, 1e-30)) - jnp.log(s)), 0.0)
    kept = (1 - r) * (jnp.log1p(-jnp.minimum(r, 1 - 1e-7)) - jnp.log1p(-s))
    return sum_per_example(changed + kept)


def _log_prior(chain: Chain, x0: Batch, t: Time) -> Float[Array, "b"]:
    """E log pi(x_t) given x0; at the data log pi(x0)."""
    dim = x0[0].size
    squared = chain.alpha(t) ** 2 * sum_per_example(x0**2) + dim * chain.sigma(t) ** 2
    return -0.5 * (squared + dim * _LOG_2PI)


def gaussian_entropies(chain: Chain, x0: Batch) -> tuple[Float[Array, "b"], Float[Array, "b"]]:
    """Returns H(X_1 | X_0) and H(X_T | X_0) of data x0 (b, ...)."""
    dim, levels = x0[0].size, (_levels(t, x0) for t in (0, chain.num_levels - 1))
    first, last = (0.5 * dim * (1 + _LOG_2PI + 2 * jnp.log(chain.sigma(t))) for t in levels)
    return first, last


def gaussian_training_bound(
    reverse: GaussianReverse, chain: Chain, x0: Batch, t: Time, keys: KeyBatch
) -> Float[Array, "b"]:
    """Returns an unbiased K (eq. 14) of x0 (b, ...), one level t (b,) per example, drawn evenly from 1..T-1.

    The noise is drawn from the keys and held fixed where the chain is differentiated.
    """
    kl = gaussian_kl(reverse, chain, x0, t, normal_per_example(keys, x0))
    first, last = gaussian_entropies(chain, x0)
    prior = 0.5 * x0[0].size * (1 + _LOG_2PI)
    return last - first - prior - (chain.num_levels - 1) * kl


def gaussian_bound(reverse: GaussianReverse, chain: Chain, x0: Batch, path: NoisePath) -> Bound:
    """Returns K of data x0 (b, ...), one draw of x_t for each level; the draw of level t is path(t)'s."""
    count, dim = chain.num_levels, x0[0].size

    def at(k):
        return gaussian_kl(reverse, chain, x0, _levels(k, x0), path(k)(0))

    kl = jax.lax.map(at, jnp.arange(1, count)).T
    first, last, data = (_levels(t, x0) for t in (0, count - 1, -1))
    entropy_first, entropy_last = gaussian_entropies(chain, x0)
    shared = -jnp.sum(kl, axis=1) + entropy_last - entropy_first
    null = _log_prior(chain, x0, data)
    exact = shared + _log_prior(chain, x0, last) + null - _log_prior(chain, x0, first)
    return Bound(shared - 0.5 * dim * (1 + _LOG_2PI), exact, null, kl)


def bit_entropy(p: Array) -> Array:
    """Returns the entropy of a bit that is 1 with probability p, in nats."""
    return jax.scipy.special.entr(p) + jax.scipy.special.entr(1 - p)


def binomial_bound(reverse: BinomialReverse, chain: BinomialChain, x0: Batch, keys: KeyBatch) -> Bound:
    """Returns K of bits x0 (b, ...), one draw of x_t for each level, from `fold_in(key, t)` of each example's key."""
    count = chain.num_levels

    def at(k):
        t = _levels(k, x0)
        return binomial_kl(reverse, chain, x0, chain.perturb(fold_in_each(keys, k), x0, t), t)

    kl = jax.lax.map(at, jnp.arange(1, count)).T
    first, last = (chain.probability(x0, _levels(t, x0)) for t in (0, count - 1))

    def log_prior(p):
        return sum_per_example(p * jnp.log(chain.rho) + (1 - p) * jnp.log1p(-chain.rho))

    shared = -jnp.sum(kl, axis=1) + sum_per_example(bit_entropy(last)) - sum_per_example(bit_entropy(first))
    null = log_prior(x0)
    return Bound(shared - _coins(chain, x0), shared + log_prior(last) + null - log_prior(first), null, kl)


def _coins(chain: BinomialChain, x0: Batch) -> Float[Array, ""]:
    """The entropy of the prior of an example."""
    return x0[0].size * bit_entropy(jnp.asarray(chain.rho, x0.dtype))


def binomial_training_bound(
    reverse: BinomialReverse, chain: BinomialChain, x0: Batch, t: Time, keys: KeyBatch
) -> Float[Array, "b"]:
    """K of equation 14, unbiased for levels t (b,) drawn evenly from 1..T-1, one for each example of bits x0 (b, ...);
    x_t is drawn from the keys."""
    kl = binomial_kl(reverse, chain, x0, chain.perturb(keys, x0, t), t)
    first, last = (
        sum_per_example(bit_entropy(chain.probability(x0, _levels(t, x0)))) for t in (0, chain.num_levels - 1)
    )
    return last - first - _coins(chain, x0) - (chain.num_levels - 1) * kl


TrainingBound = Callable[..., Float[Array, "b"]]
"""`gaussian_training_bound` or `binomial_training_bound`."""


def over_levels(
    count: int, training_bound: TrainingBound, model: Kernels, x0: Batch, u: Time, keys: KeyBatch
) -> Float[Array, "b"]:
    """Returns an unbiased K of data x0 (b, ...), a mean over `count` levels per example, for u (b,) uniform in [0, 1).

    The levels of an example are one from each of `count` equal parts of 1..T-1.
    """
    places, last = jnp.arange(count), model.chain.num_levels - 1

    def of(x0: Batch, u: Array, key: KeyArray) -> Float[Array, ""]:
        t = jnp.minimum(1 + jnp.floor((u + places) / count * last), last)  # u just below 1 is rounded up
        return _at_rows(training_bound, model, x0, t, key)

    return jax.vmap(of)(x0, u, keys)


def over_every_level(
    training_bound: TrainingBound, model: Kernels, x0: Batch, u: Time, keys: KeyBatch
) -> Float[Array, "b"]:
    """Returns K of data x0 (b, ...), each example at every level; u is not used."""
    t = jnp.arange(1.0, model.chain.num_levels)
    # Examples share the rows t that the network sees, so that parameters of each level are not gathered per example.
    return jax.vmap(lambda x0, key: _at_rows(training_bound, model, x0, t, key))(x0, keys)


def _at_rows(training_bound: TrainingBound, model: Kernels, x0: Array, t: Time, key: KeyArray) -> Float[Array, ""]:
    """One example at each of the levels t."""
    rows, keys = jnp.broadcast_to(x0, (len(t), *x0.shape)), keys_per_example(key, jnp.arange(len(t)))
    return jnp.mean(training_bound(*model, rows, t, keys))


def reverse_entropy_bounds(chain: Chain, t: Time) -> tuple[Float[Array, "b"], Float[Array, "b"]]:
    """Returns bounds on H(X_{t-1} | X_t), lower and upper, nats per dimension, for data of variance 1 (eq. 24)."""
    _, beta = chain.kernel(t, t - 1)
    upper = 0.5 * (1 + _LOG_2PI + jnp.log(beta))
    return upper + jnp.log(chain.sigma(t - 1)) - jnp.log(chain.sigma(t)), upper


def importance_log_prob(
    reverse: GaussianReverse, chain: Chain, x0: Batch, path: NoisePath, trajectories: int
) -> tuple[Float[Array, "b"], Float[Array, "b"]]:
    """Returns log p by annealed importance sampling along the forward chain (eq. 9): above K, below the true value.

    Args:
      reverse: the model.
      chain: its levels.
      x0: data (b, ...).
      path: noise; of trajectory j and level t it is path(t)(j).
      trajectories: how many are averaged.

    Returns:
      log of the mean weight, and its standard error over the trajectories (delta method).
    """

    def log_normal(x, mean, variance):
        return -0.5 * sum_per_example((x - mean) ** 2 / variance + jnp.log(variance) + _LOG_2PI)

    def one(j: int) -> Float[Array, "b"]:
        def advance(carry, k):
            x, log_weight = carry
            t = _levels(k, x0)
            a, beta = (broadcast_right(level, x) for level in chain.kernel(t, t - 1))
            after = a * x + jnp.sqrt(beta) * path(k)(j)
            mean, variance = reverse(after, t)
            gained = log_normal(x, mean, variance) - log_normal(after, a * x, beta * jnp.ones_like(x))
            # The first step is the forward kernel reversed: its weight is pi(x_0) / pi(x_1).
            edge = 0.5 * sum_per_example(after**2 - x**2)
            return (after, log_weight + jnp.where(k == 0, edge, gained)), None

        start = (x0, jnp.zeros(x0.shape[0], x0.dtype))
        (end, log_weight), _ = jax.lax.scan(advance, start, jnp.arange(chain.num_levels))
        return log_weight + log_normal(end, jnp.zeros_like(end), jnp.ones_like(end))

    log_weights = jnp.stack([one(j) for j in range(trajectories)])
    estimate = jax.nn.logsumexp(log_weights, axis=0) - jnp.log(trajectories)
    relative = jnp.exp(log_weights - estimate[None])
    return estimate, jnp.std(relative, axis=0) / jnp.sqrt(trajectories)


def bits(nats: Array) -> Array:
    """Converts nats to bits."""
    return nats / jnp.log(2.0)
