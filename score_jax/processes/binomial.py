"""The binomial chain of Sohl-Dickstein et al. 2015: bits that are resampled, one by one, from a coin.

    q(x_t = 1 | x_s)  = a x_s + (1 - a) rho,    a = A_t / A_s                          (paper's table 1, s = t - 1)
    q(x_t = 1 | x_0)  = A_t x_0 + (1 - A_t) rho,   A_t the product of 1 - beta up to t

It is no (alpha, sigma) process, so it stands apart. Time is the index of a level: 0 is the first step of noise (the
paper's t = 1), -1 the data. Bits are floats, 0 or 1.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from score_jax.arrays import as_floats, broadcast_right
from score_jax.errors import InputError
from score_jax.processes.gaussian import Level, Moment
from score_jax.processes.schedules import jsd
from score_jax.typing import Batch, KeyBatch, Scalar


@functools.partial(jax.tree_util.register_dataclass, data_fields=["survivals", "rho"], meta_fields=[])
@dataclasses.dataclass(frozen=True, eq=False)
class BinomialChain:
    """T levels.

    Attributes:
      survivals: A_t (T,), the share of bits not yet resampled, decreasing to that of the last level.
      rho: probability of a 1 where a bit is resampled.
    """

    survivals: Float[Array, "n"] | Float[np.ndarray, "n"]
    rho: Scalar = 0.5

    @property
    def num_levels(self) -> int:
        """T."""
        return len(self.survivals)

    def survival(self, t: Moment) -> Level:
        """A_t; of the data 1."""
        t = as_floats(t)
        padded = jnp.concatenate([jnp.ones(1, t.dtype), jnp.asarray(self.survivals, t.dtype)])
        return padded[t.astype(jnp.int32) + 1]

    def beta(self, t: Moment) -> Level:
        """The share of bits that step t resamples."""
        return 1 - self.survival(t) / self.survival(t - 1)

    def probability(self, x0: Batch, t: Moment) -> Batch:
        """q(x_t = 1 | x_0) of bits (or of probabilities of bits) x0 (b, ...)."""
        survival = broadcast_right(self.survival(t), x0)
        return survival * x0 + (1 - survival) * self.rho

    def of_value(self, x: Batch, x0: Batch, t: Moment) -> Batch:
        """q(x_t = x | x_0), elementwise."""
        one = self.probability(x0, t)
        return jnp.where(x > 0.5, one, 1 - one)

    def prior_of_value(self, x: Batch) -> Batch:
        """pi(x), elementwise: the coin, which the chain leaves as it is."""
        return jnp.where(x > 0.5, self.rho, 1 - self.rho)

    def perturb(self, keys: KeyBatch, x0: Batch, t: Moment) -> Batch:
        """x_t, one key per example."""
        return draw_bits(keys, self.probability(x0, t))

    def change(self, x: Batch, x0: Batch, t: Moment) -> Batch:
        """Probability under q(x_{t-1} | x_t = x, x_0) that the bit differs from x: what the bound compares.

        r = q(x_{t-1} = 1 - x | x_0) beta_t pi(x) / q(x | x_0); nothing cancels where it is small.
        """
        beta = broadcast_right(self.beta(t), x)
        return self.of_value(1 - x, x0, t - 1) * beta * self.prior_of_value(x) / self.of_value(x, x0, t)

    def prior_sample(self, keys: KeyBatch, like: Batch) -> Batch:
        """Independent coins, shaped like `like` (b, ...)."""
        return draw_bits(keys, jnp.full_like(like, self.rho))

    def prior_log_prob(self, x: Batch) -> Float[Array, "b"]:
        """Log-probability of bits x (b, ...) under the coins, nats."""
        return jnp.sum(jnp.log(self.prior_of_value(x)).reshape(x.shape[0], -1), axis=1)


def draw_bits(keys: KeyBatch, probability: Batch) -> Batch:
    """Draws independent bits with these probabilities of 1 (b, ...), one key per example."""
    draw = jax.vmap(lambda key, p: jax.random.bernoulli(key, p))
    return draw(keys, probability).astype(probability.dtype)


def binomial_chain(num_levels: int, rho: float = 0.5) -> BinomialChain:
    """The chain of bits with beta_t = 1 / (T - t + 1): every step erases 1 / T of the signal.

    Args:
      num_levels: T, the number of levels; the last has no signal.
      rho: probability of a 1 where a bit is drawn anew.

    Raises:
      InputError: there are fewer than two levels, or rho is no probability between 0 and 1.
    """
    if num_levels < 2:
        raise InputError(f"process.num_levels={num_levels}: give at least 2, as the first step is not learned.")
    if not 0 < rho < 1:
        raise InputError(f"process.rho={rho:g}: give the share of ones in the data, between 0 and 1.")
    return BinomialChain(np.cumprod(1 - jsd(num_levels)), rho)
