"""What CLIP's image and text transformers share: residual blocks with norms before attention and layers."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
from einops import rearrange
from jaxtyping import Array, Bool, Float

from score_jax.errors import entry_of
from score_jax.models.blocks.attention import attend
from score_jax.models.blocks.layer_norm import layer_norm

HEAD_CHANNELS = 64
"""Channels of a head in all published models."""
Tokens = Float[Array, "b tokens channels"]


def quick_gelu(x: Tokens) -> Tokens:
    """x sigmoid(1.702 x), the approximation that the published models were trained with."""
    return x * jax.nn.sigmoid(1.702 * x)


ACTIVATIONS: Mapping[str, Callable[[Tokens], Tokens]] = {
    "quick_gelu": quick_gelu,
    "gelu": functools.partial(nn.gelu, approximate=False),
}
"""Between a block's two layers: of OpenAI's models, and of most of OpenCLIP's."""


class Block(nn.Module):
    """Attention, then two layers, each added to its input.

    Attributes:
      heads: of the attention.
      activation: key of `ACTIVATIONS`.
      dtype: compute dtype.
    """

    heads: int
    activation: str = "quick_gelu"
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Tokens, mask: Bool[Array, "_ 1 tokens tokens"] | None = None) -> Tokens:
        """Tokens x (b, n, channels) to the same shape; `mask` as `attend` takes it."""
        width = x.shape[-1]
        qkv = nn.Dense(3 * width, dtype=self.dtype, name="qkv")(layer_norm("norm_1")(x))
        q, k, v = rearrange(qkv, "b n (qkv heads d) -> qkv b n heads d", qkv=3, heads=self.heads)
        attended = rearrange(attend(q, k, v, mask), "b n heads d -> b n (heads d)")
        x = x + nn.Dense(width, dtype=self.dtype, name="attention_out")(attended)
        activate = entry_of(ACTIVATIONS, "activation", self.activation)
        hidden = activate(nn.Dense(4 * width, dtype=self.dtype, name="hidden")(layer_norm("norm_2")(x)))
        return x + nn.Dense(width, dtype=self.dtype, name="out")(hidden)


def states(
    blocks: Sequence[Block], x: Tokens, mask: Bool[Array, "_ 1 tokens tokens"] | None = None
) -> tuple[Tokens, ...]:
    """The tokens before the first block and after each of them."""
    found = [x]
    for block in blocks:
        found.append(block(found[-1], mask))
    return tuple(found)
