"""The factor that brings latents to unit variance."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from score_jax.typing import Batch


def scale_by_std(latents: Batch) -> Float[Array, ""]:
    """Returns 1 / their standard deviation, over all elements of the batch (Rombach et al. 2022, code).

    The mean is removed, and the sum of squares divided by one less than their number. Latents are multiplied by it
    after encoding, and divided before decoding.
    """
    return 1.0 / jnp.std(latents, ddof=1)
