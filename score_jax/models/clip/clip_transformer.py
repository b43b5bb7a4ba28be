"""What CLIP's image and text transformers share: residual blocks with norms before attention and layers."""

from collections.abc import Sequence

import flax.linen as nn
import jax
from einops import rearrange
from jaxtyping import Array, Bool, Float

from score_jax.models.blocks.attention import attend

HEAD_CHANNELS = 64
"""Channels of a head in all published models."""
Tokens = Float[Array, "b tokens channels"]


def layer_norm(name: str | None = None) -> nn.LayerNorm:
    """Layer norm as PyTorch's default: epsilon 1e-5, and the variance by squares of differences."""
    return nn.LayerNorm(epsilon=1e-5, use_fast_variance=False, name=name)


def quick_gelu(x: Tokens) -> Tokens:
    """x sigmoid(1.702 x), the approximation that the published models were trained with."""
    return x * jax.nn.sigmoid(1.702 * x)


class Block(nn.Module):
    """Attention, then two layers, each added to its input.

    Attributes:
      heads: of the attention.
    """

    heads: int

    @nn.compact
    def __call__(self, x: Tokens, mask: Bool[Array, "1 1 tokens tokens"] | None = None) -> Tokens:
        """Tokens x (b, n, channels) to the same shape; `mask` as `attend` takes it."""
        width = x.shape[-1]
        qkv = nn.Dense(3 * width, name="qkv")(layer_norm("norm_1")(x))
        q, k, v = rearrange(qkv, "b n (qkv heads d) -> qkv b n heads d", qkv=3, heads=self.heads)
        attended = rearrange(attend(q, k, v, mask), "b n heads d -> b n (heads d)")
        x = x + nn.Dense(width, name="attention_out")(attended)
        hidden = quick_gelu(nn.Dense(4 * width, name="hidden")(layer_norm("norm_2")(x)))
        return x + nn.Dense(width, name="out")(hidden)


def states(
    blocks: Sequence[Block], x: Tokens, mask: Bool[Array, "1 1 tokens tokens"] | None = None
) -> tuple[Tokens, ...]:
    """The tokens before the first block and after each of them."""
    found = [x]
    for block in blocks:
        found.append(block(found[-1], mask))
    return tuple(found)
