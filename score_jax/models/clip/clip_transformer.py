"""What CLIP's image and text transformers share: residual blocks with norms before attention and layers."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from einops import rearrange
from jaxtyping import Array, Bool, Float, Int

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


Heads = Float[Array, "b places heads d"]


class Past(NamedTuple):
    """What a block keeps of a sequence that grows: keys and values of all its places, of which `length` are known."""

    keys: Heads
    values: Heads
    length: Int[Array, ""]

    @classmethod
    def empty(cls, x: Tokens, heads: int, places: int) -> "Past":
        """Of a sequence of so many places, of which none is known, in the type of tokens x (b, n, channels)."""
        nothing = jnp.zeros((len(x), places, heads, x.shape[-1] // heads), x.dtype)
        return cls(nothing, nothing, jnp.asarray(0))

    def grown(self, keys: Heads, values: Heads) -> "Past":
        """With the keys and values of the next places."""
        at = (0, self.length, 0, 0)
        return Past(
            jax.lax.dynamic_update_slice(self.keys, keys, at),
            jax.lax.dynamic_update_slice(self.values, values, at),
            self.length + keys.shape[1],
        )


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

    def __call__(self, x: Tokens, mask: Bool[Array, "_ 1 tokens tokens"] | None = None) -> Tokens:
        """Tokens x (b, n, channels) to the same shape; `mask` as `attend` takes it."""
        return self._seen(x, mask, lambda past: past)[0]

    def beside(self, x: Tokens, mask: Bool[Array, "_ 1 tokens places"], past: Past) -> tuple[Tokens, Past]:
        """The next tokens of a sequence, which see those in `past` too, and the past with them.

        Args:
          x: tokens (b, n, channels).
          mask: which places of the whole sequence each of them sees, as `attend` takes it.
          past: of the sequence before them.
        """
        return self._seen(x, mask, lambda own: past.grown(own.keys, own.values))

    @nn.compact
    def _seen(
        self, x: Tokens, mask: Bool[Array, "_ 1 tokens places"] | None, see: Callable[[Past], Past]
    ) -> tuple[Tokens, Past]:
        """The tokens after the block, and the keys and values that they saw: what `see` makes of their own."""
        width = x.shape[-1]
        qkv = nn.Dense(3 * width, dtype=self.dtype, name="qkv")(layer_norm("norm_1")(x))
        q, k, v = rearrange(qkv, "b n (qkv heads d) -> qkv b n heads d", qkv=3, heads=self.heads)
        seen = see(Past(k, v, jnp.asarray(x.shape[1])))
        attended = rearrange(attend(q, seen.keys, seen.values, mask), "b n heads d -> b n (heads d)")
        x = x + nn.Dense(width, dtype=self.dtype, name="attention_out")(attended)
        activate = entry_of(ACTIVATIONS, "activation", self.activation)
        hidden = activate(nn.Dense(4 * width, dtype=self.dtype, name="hidden")(layer_norm("norm_2")(x)))
        return x + nn.Dense(width, dtype=self.dtype, name="out")(hidden), seen


def states(
    blocks: Sequence[Block], x: Tokens, mask: Bool[Array, "_ 1 tokens tokens"] | None = None
) -> tuple[Tokens, ...]:
    """The tokens before the first block and after each of them."""
    found = [x]
    for block in blocks:
        found.append(block(found[-1], mask))
    return tuple(found)
