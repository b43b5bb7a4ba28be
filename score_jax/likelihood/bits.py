"""From log densities of dequantised data to bits per dimension of the discrete data."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def bits_per_dim(log_prob: Float[Array, "b"], dim: int, log_bin_width: float) -> Float[Array, "b"]:
    """Returns bits per dimension of discrete data from the log density (nats) of its dequantised form.

    A level of the data fills a bin of width exp(`log_bin_width`) in each of the model's `dim` dimensions, so that
    log P(level) = log p + dim * log_bin_width. For 8 bits the offset is 7 in [-1, 1] and 8 in [0, 1].

    >>> import math
    >>> print(bits_per_dim(jnp.array([0.0]), 12, math.log(1 / 256)))  # uniform on [0, 1)
    [8.]
    """
    return -(log_prob / dim + log_bin_width) / jnp.log(2.0)


def importance_weighted(log_probs: Float[Array, "b k"]) -> Float[Array, "b"]:
    """Returns the log of the mean density (nats) over k dequantisations, a bound tighter with k (Burda et al. 2016).

    It is one only if their errors are small or shared: noise of its own in each would raise the mean of exponentials.
    """
    return jax.nn.logsumexp(log_probs, axis=1) - jnp.log(log_probs.shape[1])
