"""From a network's readout to the reverse kernel p(x_{t-1} | x_t), for models that learn these kernels themselves.

Those of Sohl-Dickstein et al. 2015 (appendix D): `normal_reverse` for the Gaussian chain, `bit_reverse` for the
binomial one. Levels count from 0, the paper's t = 1, whose reverse step is not learned: the rest are asked about.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from score_jax.arrays import broadcast_right
from score_jax.processes.binomial import BinomialChain
from score_jax.processes.chain import Chain
from score_jax.typing import Batch, Time


class Kernels(NamedTuple):
    """A model that learns its reverse kernels.

    Attributes:
      reverse: `reverse(x, t)` for t >= 1: of the Gaussian chain mean and variance of x_{t-1}, elementwise; of the
        binomial one the probability that each bit changes.
      chain: its levels, which may be parameters too.
    """

    reverse: Callable[[Batch, Time], Any]
    chain: Chain | BinomialChain


Readout = Callable[[Batch, Time], tuple[Batch, Batch]]
"""`readout(x, t)`: what a network says of mean and variance, each like x (b, ...)."""
Mean = Callable[[Chain, Batch, Batch, Batch, Time], Batch]
"""`mean(chain, x, z, variance, t)`: mean of p(x_{t-1} | x_t = x) from a readout z and the reverse variance."""


def forward_mean(chain: Chain, x: Batch, z: Batch, variance: Batch, t: Time) -> Batch:
    """Returns sqrt(1 - beta) x + sqrt(beta) z: z = 0 is the forward kernel, so K = L_null (the authors' code)."""
    a, beta = (broadcast_right(level, x) for level in chain.kernel(t, t - 1))
    return a * x + jnp.sqrt(beta) * z


def blended_mean(chain: Chain, x: Batch, z: Batch, variance: Batch, t: Time) -> Batch:
    """Returns (x - z)(1 - Sigma) + z: from x towards z, by the share Sigma (the paper's appendix D.2.3)."""
    return (x - z) * (1 - variance) + z


def data_mean(chain: Chain, x: Batch, z: Batch, variance: Batch, t: Time) -> Batch:
    """Returns the mean of q(x_{t-1} | x_t, x_0 = z): z predicts the data, at one scale for all levels (DDPM, eq. 7)."""
    return chain.posterior(x, z, t, t - 1)[0]


def normal_reverse(readout: Readout, chain: Chain, mean: Mean = forward_mean) -> Readout:
    """Returns the reverse kernel (mean and variance, each like x) of a readout (z, s): Sigma = sigmoid(s + logit beta).

    Source: appendix D.2.3. The logit is that of the forward beta, the largest variance that the entropy bound allows
    data of variance 1; s = 0 takes it.

    Args:
      readout: of a network.
      chain: its levels.
      mean: what z means: `forward_mean`, `blended_mean` or `data_mean`.
    """

    def reverse(x: Batch, t: Time) -> tuple[Batch, Batch]:
        z, s = readout(x, t)
        a, beta = chain.kernel(t, t - 1)
        variance = jax.nn.sigmoid(s + broadcast_right(jnp.log(beta) - 2 * jnp.log(a), x))
        return mean(chain, x, z, variance, t), variance

    return reverse


def bit_reverse(logits: Callable[[Batch, Time], Batch], chain: BinomialChain) -> Callable[[Batch, Time], Batch]:
    """Returns the reverse kernel of logits of P(x_0 = 1 | x_t): the probability that each bit changes (`losses.bound`).

    The reverse rate depends on x_t through g = P(x_0 = 1 | x_t) alone, so to predict g loses nothing:
    p(change) = g q(change | x_t, x_0 = 1) + (1 - g) q(change | x_t, x_0 = 0). The logits add to those of the posterior
    of the bit seen alone; logits of 0 are therefore the forward kernel, K = L_null.

    Args:
      logits: of a network, like x (b, ...).
      chain: its levels; its rho is taken for the mean of the data.
    """

    def reverse(x: Batch, t: Time) -> Batch:
        one, zero = jnp.ones_like(x), jnp.zeros_like(x)
        alone = jnp.log(chain.rho * chain.of_value(x, one, t)) - jnp.log((1 - chain.rho) * chain.of_value(x, zero, t))
        g = jax.nn.sigmoid(alone + logits(x, t))
        return g * chain.change(x, one, t) + (1 - g) * chain.change(x, zero, t)

    return reverse


MEANS: dict[str, Mean] = {"forward_mean": forward_mean, "blended_mean": blended_mean, "data_mean": data_mean}
"""What a Gaussian readout z can mean, by name."""
