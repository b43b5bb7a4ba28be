"""What a first stage of latent diffusion minimises beside the adversarial part: errors of its reconstruction.

Esser et al. 2021 (vector quantisation) and Rombach et al. 2022 (a KL divergence) make a negative log-likelihood of the
same errors per pixel. All losses are per example, and the mean over the batch is the original's.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float

from score_jax.arrays import broadcast_right, sum_per_example
from score_jax.errors import entry_of
from score_jax.typing import Image, Scalar

PIXEL_ERRORS: dict[str, Callable[[Image], Image]] = {"l1": jnp.abs, "l2": jnp.square}


def errors(
    images: Image,
    reconstructions: Image,
    perceptual: Float[Array, "b"] | None = None,
    *,
    kind: str = "l1",
    perceptual_weight: float = 1.0,
) -> Image:
    """Returns the error of each number of an image, with the perceptual distance of the whole image added to each.

    Args:
      images: (b, h, w, c) in [-1, 1].
      reconstructions: like them.
      perceptual: distance of each image from its reconstruction, such as LPIPS; None: 0.
      kind: key of `PIXEL_ERRORS`.
      perceptual_weight: its factor.

    Raises:
      InputError: the kind is unknown.
    """
    of_pixels = entry_of(PIXEL_ERRORS, "loss.pixels", kind)(images - reconstructions)
    return of_pixels if perceptual is None else of_pixels + broadcast_right(perceptual_weight * perceptual, images)


def summed_nll(
    errors: Image, log_variance: Scalar = 0.0, weights: Float[Array, "b"] | None = None
) -> Float[Array, "b"]:
    """Returns the sum of errors / exp(log_variance) + log_variance, as KL-regularised first stages have it.

    Args:
      errors: of `errors`; a perceptual distance in them counts once for each number of an image.
      log_variance: one number, which may be learned.
      weights: factors of the examples; None: 1.
    """
    values = sum_per_example(errors / jnp.exp(log_variance) + log_variance)
    return values if weights is None else weights * values


def mean_nll(errors: Image) -> Float[Array, "b"]:
    """Returns the mean of the errors, as vector-quantised first stages have it."""
    return sum_per_example(errors) / errors[0].size
