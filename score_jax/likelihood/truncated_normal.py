"""Truncated-normal dequantisation (Zheng et al. 2023, i-DODE, arXiv 2305.03935, section 4): noise that a model knows.

A model that was trained on the levels of images themselves knows x_t = alpha (x0 + r eps), not levels with uniform
noise. Of its density p at the time at which r = sigma / alpha is a third of half a level,

    log P(level) >= E over u ~ q of [log p(alpha (x0 + u)) + d log alpha - log q(u)]

for any q within half a level of x0. Here q is the model's own noise, cut there: u = r eps with |eps| < tau. The mean of
log p is over u alone, and where the model knows that noise, log p and log q change alike: the bound needs few draws.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from score_jax.arrays import sum_per_example
from score_jax.errors import InputError
from score_jax.typing import Batch, KeyBatch

WIDTH = 3.0
"""Half a level over the standard deviation of the noise that is asked for (tau), as in the paper."""


def draw(keys: KeyBatch, like: Batch, std: Float[Array, ""], half_width: float) -> tuple[Batch, Float[Array, "b"]]:
    """Draws noise like `like` (b, ...) from a normal law cut at half a level, and returns its log density (b,), nats.

    Args:
      keys: one per example (b,).
      like: of whose shape and type the noise is.
      std: of the normal law before the cut, in units of x0; far above half a level the noise is uniform.
      half_width: half a level, in units of x0.

    Raises:
      InputError: half a level has no width.

    >>> noise, log_q = draw(jax.random.split(jax.random.key(0), 1), jnp.zeros((1, 4)), jnp.asarray(1e4), 0.5)
    >>> print(log_q.round(3))  # uniform on a level of width 1
    [0.]
    """
    if half_width <= 0:
        raise InputError(f"half_width={half_width:g}: give more than 0.")
    tau = jnp.asarray(half_width / std, like.dtype)
    eps = jax.vmap(lambda key: jax.random.truncated_normal(key, -tau, tau, like.shape[1:], like.dtype))(keys)
    inside = jax.scipy.special.erf(tau / math.sqrt(2))  # of the normal law
    log_mass = like[0].size * (0.5 * math.log(2 * math.pi) + jnp.log(std * inside)).astype(like.dtype)
    return std.astype(like.dtype) * eps, -0.5 * sum_per_example(eps**2) - log_mass
