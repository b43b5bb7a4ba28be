"""The transformer over the pixels of an image and a context (Rombach et al. 2022, arXiv 2112.10752, section 3.3)."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from einops import rearrange
from jaxtyping import Array, Bool, Float

from score_jax.models.blocks.adm_blocks import linear
from score_jax.models.blocks.attention import attend
from score_jax.models.blocks.initializers import fan_in_uniform
from score_jax.models.blocks.layer_norm import layer_norm
from score_jax.models.blocks.normalization import GROUPS, GroupNorm
from score_jax.typing import Image

Tokens = Float[Array, "b n channels"]
Context = Float[Array, "b m width"]


class CrossAttention(nn.Module):
    """Attention from tokens to those of a context, or to each other where there is none.

    Attributes:
      heads: how many.
      head_width: channels of a head.
      dtype: compute dtype.
    """

    heads: int
    head_width: int
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Tokens, context: Context | None = None, keep: Bool[Array, "b n"] | None = None) -> Tokens:
        """What tokens x (b, n, channels) gather, in the same shape.

        Args:
          x: the tokens that ask.
          context: the tokens that answer, (b, m, width); None: x.
          keep: of x, where x answers itself: tokens that are seen. The others see all tokens alike.
        """

        def project(name: str, tokens: Float[Array, "b _ _"]) -> Float[Array, "b _ heads d"]:
            dense = nn.Dense(
                self.heads * self.head_width,
                use_bias=False,
                kernel_init=fan_in_uniform(1 / 3),
                dtype=self.dtype,
                name=name,
            )
            return rearrange(dense(tokens), "b n (heads d) -> b n heads d", heads=self.heads)

        context = x if context is None else context
        q, k, v = project("query", x), project("key", context), project("value", context)
        mask = None
        if keep is not None:
            q = jnp.where(keep[:, :, None, None], q, 0)
            mask = keep[:, None, None, :] | ~keep[:, None, :, None]
        h = rearrange(attend(q, k, v, mask), "b n heads d -> b n (heads d)")
        return linear(h.shape[-1], x.shape[-1], "out", self.dtype)(h)


class GEGLU(nn.Module):
    """Two layers with a gated linear unit between: a gelu(b), of the exact GELU (Shazeer 2020, arXiv 2002.05202).

    Attributes:
      dtype: compute dtype.
    """

    dtype: Any = None

    @nn.compact
    def __call__(self, x: Tokens) -> Tokens:
        """Tokens x (b, n, channels) to the same shape; the value is the first half of the hidden layer."""
        channels = x.shape[-1]
        value, gate = jnp.split(linear(channels, 8 * channels, "hidden", self.dtype)(x), 2, axis=-1)
        return linear(4 * channels, channels, "out", self.dtype)(value * nn.gelu(gate, approximate=False))


class TransformerBlock(nn.Module):
    """Self-attention, attention to the context and a feed-forward network, each normalised before and added.

    Attributes:
      heads: of both attentions.
      head_width: channels of a head.
      dtype: compute dtype.
    """

    heads: int
    head_width: int
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Tokens, context: Context | None = None) -> Tokens:
        """Tokens x (b, n, channels) to the same shape; without a context (b, m, width) both attentions are to x."""
        attention = (self.heads, self.head_width, self.dtype)
        x = x + CrossAttention(*attention, name="attention_1")(layer_norm("norm_1")(x))
        x = x + CrossAttention(*attention, name="attention_2")(layer_norm("norm_2")(x), context)
        return x + GEGLU(self.dtype, name="feed_forward")(layer_norm("norm_3")(x))


class SpatialTransformer(nn.Module):
    """Transformer blocks over the pixels, row by row, added to the image.

    Attributes:
      heads: which the channels split into.
      depth: transformer blocks; all see the same context.
      dtype: compute dtype.
      groups: of the norm before them.
    """

    heads: int
    depth: int = 1
    dtype: Any = None
    groups: int = GROUPS

    @nn.compact
    def __call__(self, x: Image, context: Context | None = None) -> Image:
        """Image x (b, h, w, c) with what it gathers from itself and from the context (b, m, width)."""
        channels = x.shape[-1]
        h = rearrange(GroupNorm(self.groups, 1e-6, name="norm")(x), "b h w c -> b (h w) c")
        h = linear(channels, channels, "proj_in", self.dtype)(h)
        for i in range(self.depth):
            h = TransformerBlock(self.heads, channels // self.heads, self.dtype, name=f"block_{i}")(h, context)
        zeros = nn.initializers.zeros
        h = nn.Dense(channels, kernel_init=zeros, bias_init=zeros, dtype=self.dtype, name="proj_out")(h)
        return x + h.reshape(x.shape)
