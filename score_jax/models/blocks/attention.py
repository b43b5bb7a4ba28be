"""Attention, of tokens and over the pixels of an image."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from einops import rearrange
from jaxtyping import Array, Bool, Float

from score_jax.models.blocks.initializers import fan_avg_uniform
from score_jax.models.blocks.normalization import GroupNorm
from score_jax.typing import Image


def attend(
    q: Float[Array, "b n heads d"],
    k: Float[Array, "b m heads d"],
    v: Float[Array, "b m heads d"],
    mask: Bool[Array, "_ _ n m"] | None = None,
) -> Float[Array, "b n heads d"]:
    """softmax(q k^T / sqrt d) v per head, by `jax.nn.dot_product_attention` with its softmax in float32.

    Args:
      q: queries.
      k: keys.
      v: values.
      mask: (b or 1, heads or 1, n, m), which keys a query sees, at least one; None: all.
    """
    if q.dtype != jnp.float64:
        return jax.nn.dot_product_attention(q, k, v, mask=mask)
    # The library function takes its softmax in float32 always, which would cap float64 runs at 1e-7.
    logits = jnp.einsum("bnhd,bmhd->bhnm", q, k) / q.shape[-1] ** 0.5
    weights = jax.nn.softmax(logits if mask is None else jnp.where(mask, logits, -jnp.inf))
    return jnp.einsum("bhnm,bmhd->bnhd", weights, v)


def self_attention(x: Float[Array, "b n c"], heads: int) -> Float[Array, "b n c"]:
    """Attention of tokens to all of them, as vision transformers have it, within a compact module.

    Its layers are "qkv", whose channels are those of the queries, then of the keys, then of the values, and
    "attention_out".
    """
    qkv = nn.Dense(3 * x.shape[-1], name="qkv")(x)
    q, k, v = rearrange(qkv, "b n (qkv heads d) -> qkv b n heads d", qkv=3, heads=heads)
    attended = rearrange(attend(q, k, v), "b n heads d -> b n (heads d)")
    return nn.Dense(x.shape[-1], name="attention_out")(attended)


class PixelAttention(nn.Module):
    """One head over all positions, added to the input (Ho et al. 2020; Song et al. 2021).

    Attributes:
      groups: of the norm, as in `GroupNorm`.
      linear_scale: variance scale of the initial query, key and value projections.
      init_scale: of the output projection; 0 starts the block as identity.
      skip_rescale: divide the sum by sqrt 2.
      dtype: compute dtype.
    """

    groups: int | None
    linear_scale: float
    init_scale: float
    skip_rescale: bool
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Image) -> Image:
        """x (b, h, w, c) plus its attention."""
        channels = x.shape[-1]

        def linear(name: str, scale: float) -> nn.Dense:
            return nn.Dense(channels, kernel_init=fan_avg_uniform(scale), dtype=self.dtype, name=name)

        h = GroupNorm(self.groups, name="norm")(x)
        projections = (linear(name, self.linear_scale)(h) for name in ("query", "key", "value"))
        q, k, v = (rearrange(projected, "b h w c -> b (h w) 1 c") for projected in projections)
        h = attend(q, k, v).reshape(x.shape)
        h = linear("out", self.init_scale)(h)
        return (x + h) / 2**0.5 if self.skip_rescale else x + h
