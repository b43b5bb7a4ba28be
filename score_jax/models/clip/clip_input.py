"""What CLIP's image networks take (Radford et al. 2021): images less the mean of those that it was trained on."""

import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
"""Of red, green and blue in [0, 1]; of OpenAI's networks and of those after them."""


def normalised(images: Float[Array, "b h w 3"]) -> Float[Array, "b h w 3"]:
    """Images in [0, 1], each channel less its mean and over its standard deviation."""
    mean, std = (jnp.asarray(values, images.dtype)[None, None, None] for values in (MEAN, STD))
    return (images - mean) / std


def from_pixels(images: Float[Array, "b h w 3"] | UInt8[Array, "b h w 3"]) -> Float[Array, "b h w 3"]:
    """Images of 8 bits, or as floats in [0, 1], as CLIP's networks take them."""
    return normalised(images / jnp.float32(255) if images.dtype == jnp.uint8 else images)
