"""The diagonal normal distribution of a latent, as the KL-regularised first stage outputs it (Rombach et al. 2022)."""

import dataclasses
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from score_jax.arrays import sum_per_example
from score_jax.errors import InputError
from score_jax.typing import Batch

LOG_VAR_RANGE = (-30.0, 20.0)
"""To which log-variances are clamped; outside of it they get no gradient."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Posterior:
    """N(mean, exp(log_var)), independent in each number of a latent (b, h, w, c).

    Attributes:
      mean: also its mode.
      log_var: logarithm of the variance.
    """

    mean: Batch
    log_var: Batch

    @property
    def mode(self) -> Batch:
        """The most probable latent."""
        return self.mean

    @property
    def std(self) -> Batch:
        """The standard deviation."""
        return jnp.exp(0.5 * self.log_var)

    def draw(self, eps: Batch) -> Batch:
        """Returns the latent that standard normal noise `eps` stands for."""
        return self.mean + self.std * eps

    def kl(self) -> Float[Array, "b"]:
        """Returns the KL divergence from the standard normal, summed over the latent, nats."""
        return 0.5 * sum_per_example(jnp.square(self.mean) + jnp.exp(self.log_var) - 1.0 - self.log_var)

    def nll(self, y: Batch) -> Float[Array, "b"]:
        """Returns -log p(y), summed over the latent, nats."""
        distance = jnp.square(y - self.mean) * jnp.exp(-self.log_var)
        return 0.5 * sum_per_example(math.log(2 * math.pi) + self.log_var + distance)


def posterior_of(moments: Float[Array, "b h w c2"]) -> Posterior:
    """Returns the distribution of an encoder's moments: means first, then log-variances, which are clamped.

    Raises:
      InputError: the number of channels is odd.
    """
    if moments.shape[-1] % 2:
        raise InputError(
            f"Moments of {moments.shape[-1]} channels: they are means and log-variances, as many of the one as of the "
            "other, so encode with an AutoencoderKL."
        )
    mean, log_var = jnp.split(moments, 2, axis=-1)
    return Posterior(mean, jnp.clip(log_var, *LOG_VAR_RANGE))
