"""Networks of the toy experiments of Sohl-Dickstein et al. 2015 (appendix D.1), and their reverse kernels."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from score_jax.arrays import broadcast_right
from score_jax.processes.binomial import BinomialChain
from score_jax.processes.chain import Chain
from score_jax.typing import Batch, Scalar, Time


def bumps(t: Time, count: int, num_levels: int, width: float = 1.0) -> Float[Array, "b {count}"]:
    """Weights of `count` bumps in time at levels t (b,), summing to 1 (appendix D.2.1).

    g_j ~ exp(-(t - tau_j)² / (2 w²)), the tau_j even over the levels, w = `width` times their distance.
    """
    centres = jnp.linspace(0, num_levels - 1, count, dtype=t.dtype)
    distance = (t[:, None] - centres[None]) / (width * (num_levels - 1) / (count - 1))
    return jax.nn.softmax(-0.5 * distance**2, axis=-1)


class RadialBasis(nn.Module):
    """A normalised layer of radial basis functions, shared by all levels, and readouts of each level's own.

    Attributes:
      units: basis functions.
      num_levels: T.
    """

    units: int
    num_levels: int

    @nn.compact
    def __call__(self, x: Float[Array, "b d"], level: Scalar) -> tuple[Float[Array, "b d"], Float[Array, "b d"]]:
        """Readouts for mean and variance of points x (b, d), all at one level."""
        dim = x.shape[1]
        centres = self.param("centres", nn.initializers.normal(1.0), (self.units, dim), jnp.float32)
        log_width = self.param("log_width", nn.initializers.constant(-1.2), (self.units,), jnp.float32)
        weights = self.param("weights", nn.initializers.zeros, (self.num_levels, self.units, 2 * dim), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (self.num_levels, 2 * dim), jnp.float32)
        distance = jnp.sum((x[:, None] - centres[None]) ** 2, axis=-1)
        hidden = jax.nn.softmax(-0.5 * distance * jnp.exp(-2 * log_width)[None], axis=-1)
        index = jnp.asarray(level).astype(jnp.int32)
        out = hidden @ weights[index] + bias[index][None]
        return out[:, :dim], out[:, dim:]


class BitNetwork(nn.Module):
    """A multilayer perceptron of bits whose readout moves with time by bumps: logits of the bits of x_0.

    Attributes:
      widths: of the hidden layers.
      num_bumps: readouts that time mixes; one per level would be the paper's.
      num_levels: T.
    """

    num_levels: int
    widths: Sequence[int] = (50, 50, 50)
    num_bumps: int = 20

    @nn.compact
    def __call__(self, x: Float[Array, "b d"], t: Time) -> Float[Array, "b d"]:
        """Logits (b, d), to be added to each bit's own."""
        h = 2 * x - 1
        for width in self.widths:
            h = nn.silu(nn.Dense(width)(h))
        readouts = nn.Dense(x.shape[1] * self.num_bumps, kernel_init=nn.initializers.zeros)(h)
        mixed = readouts.reshape(*x.shape, self.num_bumps) * bumps(t, self.num_bumps, self.num_levels)[:, None, :]
        return jnp.sum(mixed, axis=-1)


def gaussian_reverse(
    of_mean: Batch, of_variance: Batch, chain: Chain, x: Batch, t: Time
) -> tuple[Batch, Float[Array, "b ..."]]:
    """Mean sqrt(1 - beta) x + sqrt(beta) z and variance sigmoid(logit beta + s) of p(x_{t-1} | x_t = x).

    Readouts z, s of 0 are the forward kernel (the authors' code; the form of the paper is not).
    """
    a, beta = (broadcast_right(level, x) for level in chain.kernel(t, t - 1))
    logit = jnp.log(beta) - jnp.log1p(-beta)
    return a * x + jnp.sqrt(beta) * of_mean, jax.nn.sigmoid(logit + of_variance)


def binomial_reverse(logits: Batch, chain: BinomialChain, x: Batch, t: Time) -> Batch:
    """Probability that a bit of x_{t-1} differs from that of x_t = x, given logits for the bits of x_0.

    The logits are added to those that the bit alone has by Bayes' rule, so that 0 is the best factorised guess. Through
    q(x_{t-1} | x_t, x_0) nothing is lost: the optimum is of this form.
    """
    ones, zeros = jnp.ones_like(x), jnp.zeros_like(x)
    odds = jnp.log(chain.rho) - jnp.log1p(-chain.rho)
    odds = odds + jnp.log(chain.of_value(x, ones, t)) - jnp.log(chain.of_value(x, zeros, t))
    one = jax.nn.sigmoid(logits + odds)
    return one * chain.change(x, ones, t) + (1 - one) * chain.change(x, zeros, t)
