"""Between uint8 images and the model's range; jit-able, run on the device."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

from score_jax.typing import Image, KeyBatch, Rounding

BITS = 8
"""Of a level of an image."""
Range = tuple[float, float]
"""(low, high) of the model's images: (-1, 1) or (0, 1)."""


def to_model_range(image: UInt8[Array, "b h w c"], value_range: Range) -> Image:
    """Levels 0..255 to low..high, both ends included."""
    low, high = value_range
    return low + (high - low) * (image.astype(jnp.result_type(float)) / 255)


def dequantize(keys: KeyBatch, image: UInt8[Array, "b h w c"], value_range: Range, bits: int = BITS) -> Image:
    """Uniform dequantisation: level k to low + (high - low)(k + u) / 2^bits with u ~ U[0, 1) from the example's key."""
    noise = jax.vmap(lambda key: jax.random.uniform(key, image.shape[1:]))(keys)
    return from_levels(image + noise, value_range, bits)


def from_levels(levels: Image, value_range: Range, bits: int = BITS) -> Image:
    """Dequantised levels in [0, 2^bits) to low..high."""
    low, high = value_range
    return low + (high - low) * (levels / 2**bits)


def log_bin_width(value_range: Range, bits: int = BITS) -> float:
    """Log of the width of one level in the model's range, nats: the offset of bits/dim."""
    low, high = value_range
    return math.log((high - low) / 2**bits)


def from_model_range(
    x: Float[Array, "*shape"], value_range: Range, rounding: Rounding = "truncated"
) -> UInt8[Array, "*shape"]:
    """Low..high to levels 0..255, clipped; truncated as in score_sde and ADM, or rounded as in EDM."""
    low, high = value_range
    levels = (x - low) / (high - low) * 255 + (0.5 if rounding == "rounded" else 0.0)
    return jnp.clip(levels, 0, 255).astype(jnp.uint8)
