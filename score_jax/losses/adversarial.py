"""The adversarial part of a first stage's loss (Esser et al. 2021, section 3.1), and how it is balanced with the rest.

A discriminator's logits (b, h, w, 1) say of each patch how real it looks. All losses are per example, and the mean over
the batch is the original's.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from score_jax.arrays import sum_per_example

MOST_WEIGHT = 1e4
"""What `adaptive_weight` is at most, before it is multiplied."""
_EPS = 1e-4

Logits = Float[Array, "b h w 1"]


def _mean(x: Logits) -> Float[Array, "b"]:
    return sum_per_example(x) / x[0].size


def hinge(real: Logits, fake: Logits) -> Float[Array, "b"]:
    """Returns the discriminator's hinge loss (Lim and Ye 2017): half of relu(1 - real) + relu(1 + fake)."""
    return 0.5 * (_mean(jax.nn.relu(1 - real)) + _mean(jax.nn.relu(1 + fake)))


def vanilla(real: Logits, fake: Logits) -> Float[Array, "b"]:
    """Returns the discriminator's cross entropy (Goodfellow et al. 2014), halved: softplus(-real) + softplus(fake)."""
    return 0.5 * (_mean(jax.nn.softplus(-real)) + _mean(jax.nn.softplus(fake)))


DISCRIMINATOR_LOSSES: dict[str, Callable[[Logits, Logits], Float[Array, "b"]]] = {"hinge": hinge, "vanilla": vanilla}


def generator(fake: Logits) -> Float[Array, "b"]:
    """Returns the generator's loss: minus the mean logit of what it made."""
    return -_mean(fake)


def weighted(values: Float[Array, "b"], weights: Float[Array, "b"]) -> Float[Array, "b"]:
    """Weighs examples against each other: the mean of the result is the average of the values by the weights.

    With `hinge` it is the original's hinge loss with weights of exemplars. Its values depend on the whole batch.
    """
    return values * weights / jnp.mean(weights)


def adaptive_weight(
    nll_gradient: Float[Array, "..."],
    adversarial_gradient: Float[Array, "..."],
    weight: float = 1.0,
    most: float = MOST_WEIGHT,
) -> Float[Array, ""]:
    """Returns the factor of the generator's loss that makes both losses count alike (Esser et al. 2021, eq. 7).

    weight * min(||nll_gradient|| / (||adversarial_gradient|| + 1e-4), most), without a gradient of its own. Unlike the
    loss, it goes by the likelihood without weights of examples, and it is defined before the discriminator counts, too.

    Args:
      nll_gradient: of the reconstruction's loss, by the kernel of the decoder's last convolution.
      adversarial_gradient: of the mean of `generator`, by the same kernel.
      weight: constant factor.
      most: of the ratio.
    """
    ratio = _norm(nll_gradient) / (_norm(adversarial_gradient) + _EPS)
    return jax.lax.stop_gradient(weight * jnp.clip(ratio, 0.0, most))


def _norm(gradient: Float[Array, "..."]) -> Float[Array, ""]:
    return jnp.sqrt(jnp.sum(jnp.square(gradient)))


def factor_at(step: Int[Array, ""] | int, start: int, factor: float = 1.0) -> Float[Array, ""]:
    """Returns the factor of both adversarial losses: 0 in the first `start` batches, then `factor`."""
    return jnp.where(step < start, 0.0, factor)
