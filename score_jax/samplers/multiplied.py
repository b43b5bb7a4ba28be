"""Sampling the models of Sohl-Dickstein et al. 2015, and their laws multiplied by another (section 2.5, appendix C).

    p~(x_t) ~ p(x_t) r(x_t),    p~(x_{t-1} | x_t) ~ p(x_{t-1} | x_t) r(x_{t-1})

A factor r acts on the law that x_{t-1} is about to be drawn from: the prior, each learned kernel, and the fixed last
step p(x_0 | x_1), which is the forward kernel reversed. Denoising multiplies by the likelihood of an observation,
inpainting by a delta on what is known.

Bias: this is exact only where E[r(x_{t-1}) | x_t] = r(x_t), that is where r at level t is what the model itself expects
of r(x_0). The paper takes r to be the same at all levels, or r(x_0)^share, which no r but a constant satisfies: an
observation of x_0 is compared with noisy x_t, whose scale and spread are others, and counts once at every step. Kernels
are narrow, so one step moves little, but the moves add up; measured against the exact posterior of normal data in
`docs/papers/dpm2015.md`. A factor is given the level, so an exact r, where one is known, can be given.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from score_jax.arrays import broadcast_right, fold_in_each, keys_per_example
from score_jax.errors import InputError
from score_jax.losses.bound import BinomialReverse, GaussianReverse
from score_jax.prediction.kernels import Kernels
from score_jax.prediction.predictor import Conditions
from score_jax.processes.binomial import BinomialChain, draw_bits
from score_jax.processes.chain import DATA, Chain
from score_jax.processes.noise import brownian
from score_jax.samplers.sample import Samples
from score_jax.typing import Batch, KeyArray, KeyBatch, Scalar, Time

NormalFactor = Callable[[Batch, Batch, Time], tuple[Batch, Batch]]
"""`factor(mean, variance, t)`: mean and variance of the law N(mean, variance) of x_t multiplied by r, each like x."""
BitFactor = Callable[[Batch, Time], Batch]
"""`factor(p, t)`: the probabilities of 1 of independent bits x_t multiplied by r, like x."""
Share = Callable[[Time], Time]
"""`share(t)`: the power that r has at level t."""


def constant(t: Time) -> Time:
    """Returns the power 1: r is the same at every level, the paper's choice."""
    return jnp.ones_like(t)


def remaining(num_levels: int) -> Share:
    """Returns the power (T - t) / T of r: 0 at the prior, which stays as it is, and 1 at the data."""
    return lambda t: 1 - (t + 1) / num_levels


def times_normal(y: Batch, std: Scalar | Batch, share: Share = constant) -> NormalFactor:
    """Multiplies kernels by r = N(y, std²), e.g. for denoising: precisions add (table C.1).

    Args:
      y: like x (b, ...).
      std: of the observation's noise, a number or like x.
      share: its power at each level.
    """

    def factor(mean: Batch, variance: Batch, t: Time) -> tuple[Batch, Batch]:
        precision = broadcast_right(share(t), mean) / std**2
        # As a blend, a kernel without variance stays where it is.
        weight = variance * precision / (1 + variance * precision)
        return mean + weight * (y - mean), variance / (1 + variance * precision)

    return factor


def times_smooth(grad_log_r: Callable[[Batch], Batch], share: Share = constant) -> NormalFactor:
    """Multiplies kernels by an r smooth at the scale of a step: adds variance * grad log r to the mean (C.1)."""

    def factor(mean: Batch, variance: Batch, t: Time) -> tuple[Batch, Batch]:
        return mean + variance * broadcast_right(share(t), mean) * grad_log_r(mean), variance

    return factor


def known(values: Batch, mask: Batch) -> NormalFactor:
    """Multiplies kernels by a delta where `mask` is 1, and by a constant where it is 0: inpainting.

    Args:
      values: what is known, like x (b, ...).
      mask: 1 where it is, like x.
    """

    def factor(mean: Batch, variance: Batch, t: Time) -> tuple[Batch, Batch]:
        return jnp.where(mask > 0, values, mean), jnp.where(mask > 0, 0.0, variance)

    return factor


def times_bits(d: Batch, share: Share = constant) -> BitFactor:
    """Multiplies kernels of bits by d = r(1) / (r(0) + r(1)) like x: c d / (c d + (1 - c)(1 - d)).

    The paper's table has d for the first c d, a slip: the product of two laws of a bit is this one.
    """

    def factor(p: Batch, t: Time) -> Batch:
        power = broadcast_right(share(t), p)
        one, zero = p * d**power, (1 - p) * (1 - d) ** power
        return one / (one + zero)

    return factor


def known_bits(values: Batch, mask: Batch) -> BitFactor:
    """Multiplies kernels of bits by a delta where `mask` is 1, and by a constant where it is 0: inpainting."""
    return lambda p, t: jnp.where(mask > 0, values, p)


Factor = NormalFactor | BitFactor


def sample_kernels(
    draw: Callable[..., Batch],
    factor: Factor | None,
    model: Kernels,
    key: KeyArray,
    indices: Int[Array, "b"],
    shape: tuple[int, ...],
    *,
    num_saved: int = 0,
    initial: Batch | None = None,
    conditions: Conditions = None,
) -> Samples:
    """Draws samples; sample i depends on `key` and on the global index i alone.

    Args:
      draw: `sample_gaussian` or `sample_binomial`.
      factor: r; None: the model itself.
      model: its reverse kernels and its chain.
      key: one key for the whole set.
      indices: global indices (b,) of the samples to draw.
      shape: of one sample.
      num_saved: 0, as no trajectory is kept.
      initial: None, as the chain begins with its prior.
      conditions: empty, as such models have none.

    Raises:
      InputError: a trajectory or an initial state is asked for.
    """
    if num_saved or initial is not None:
        raise InputError(
            "Models that learn their reverse kernels keep no trajectory and begin with noise of their own."
        )
    keys, like = keys_per_example(key, indices), jnp.zeros((indices.shape[0], *shape), jnp.result_type(float))
    x = draw(*model, keys, like, factor)
    count = indices.shape
    nfe, ok = jnp.full(count, model.chain.num_levels - 1), jnp.ones(count, bool)
    return Samples(x, nfe, ok, jnp.zeros((0, *x.shape), x.dtype), jnp.zeros(0))


def sample_gaussian(
    reverse: GaussianReverse, chain: Chain, keys: KeyBatch, like: Batch, factor: NormalFactor | None = None
) -> Batch:
    """Draws x_0 of a Gaussian model, or of the model multiplied by r; shaped like `like` (b, ...), one key per example.

    Args:
      reverse: mean and variance of the learned steps t >= 1; the step of t = 0 is the forward kernel.
      chain: its levels.
      keys: (b,).
      like: gives shape and dtype.
      factor: r; None: the model itself.
    """
    path = brownian(keys, like)
    count = chain.num_levels

    def draw(mean, variance, level, k):
        if factor is not None:
            mean, variance = factor(mean, variance, level)
        return mean + jnp.sqrt(variance) * path(k)(0)

    def times(k):
        return jnp.full(like.shape[:1], k, like.dtype)

    def step(x, k):
        t = times(k)
        return draw(*reverse(x, t), t - 1, k), None

    # The draws of the index after the last level are the start's.
    start = draw(jnp.zeros_like(like), jnp.ones_like(like), times(count - 1), jnp.asarray(count))
    x, _ = jax.lax.scan(step, start, jnp.arange(count - 1, 0, -1))
    a, beta = (broadcast_right(level, x) for level in chain.kernel(times(0), times(DATA)))
    return draw(a * x, beta * jnp.ones_like(x), times(DATA), jnp.asarray(0))


def sample_binomial(
    reverse: BinomialReverse, chain: BinomialChain, keys: KeyBatch, like: Batch, factor: BitFactor | None = None
) -> Batch:
    """Draws x_0 of a binomial model, or of the model multiplied by r; bits like `like` (b, ...), one key per example.

    Args:
      reverse: probability that each bit changes in the learned steps t >= 1; the step of t = 0 is the forward kernel.
      chain: its levels.
      keys: (b,).
      like: gives shape and dtype.
      factor: r; None: the model itself.
    """
    count = chain.num_levels

    def draw(p, level, k):
        return draw_bits(fold_in_each(keys, k), p if factor is None else factor(p, level))

    def times(k):
        return jnp.full(like.shape[:1], k, like.dtype)

    def step(x, k):
        t = times(k)
        changed = reverse(x, t)
        return draw(jnp.where(x > 0.5, 1 - changed, changed), t - 1, k), None

    start = draw(jnp.full_like(like, chain.rho), times(count - 1), count)
    x, _ = jax.lax.scan(step, start, jnp.arange(count - 1, 0, -1))
    return draw(chain.probability(x, times(0)), times(DATA), 0)
