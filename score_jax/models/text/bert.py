"""The text encoder that latent diffusion trains with its network: BERTEmbedder and TransformerEmbedder there."""

from typing import Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from score_jax.errors import InputError
from score_jax.models.blocks.adm_blocks import linear
from score_jax.models.blocks.layer_norm import layer_norm
from score_jax.models.blocks.spatial_transformer import CrossAttention, Tokens
from score_jax.models.conditions import DeclaredConditions, token_ids


def check_length(ids: Int[Array, "b n"], length: int) -> None:
    """Compares texts with the longest that an encoder has positions for.

    Raises:
      InputError: they are longer.
    """
    if ids.shape[1] > length:
        raise InputError(f"This encoder's texts have at most {length} tokens, not {ids.shape[1]}: cut them.")


class EncoderBlock(nn.Module):
    """Self-attention, then two layers with the exact GELU between, each normalised before and added.

    Attributes:
      heads: of the attention.
      head_width: channels of a head.
      dtype: compute dtype.
    """

    heads: int
    head_width: int
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Tokens, keep: Bool[Array, "b n"] | None = None) -> Tokens:
        """Tokens x (b, n, channels) to the same shape; `keep` as `CrossAttention` takes it."""
        channels = x.shape[-1]
        attention = CrossAttention(self.heads, self.head_width, self.dtype, name="attention")
        x = x + attention(layer_norm("norm_1")(x), keep=keep)
        hidden = linear(channels, 4 * channels, "hidden", self.dtype)(layer_norm("norm_2")(x))
        return x + linear(4 * channels, channels, "out", self.dtype)(nn.gelu(hidden, approximate=False))


class TextTransformer(nn.Module):
    """Tokens to as many vectors, each of which has seen all tokens (Rombach et al. 2022, after x-transformers).

    Attributes:
      vocabulary: ids that there are.
      length: most tokens of a text.
      width: channels of a token.
      layers: blocks.
      heads: attention heads.
      head_width: channels of a head, whatever the width.
      dtype: compute dtype; parameters, norms and softmax stay float32.
    """

    vocabulary: int
    length: int
    width: int
    layers: int
    heads: int = 8
    head_width: int = 64
    dtype: Any = None

    makes: ClassVar[str] = "context"

    def conditions(self, image_shape: tuple[int, int, int]) -> DeclaredConditions:
        """The ids of a text's tokens."""
        return token_ids(self.length)

    @nn.compact
    def __call__(self, tokens: Int[Array, "b n"], mask: Bool[Array, "b n"] | None = None) -> Float[Array, "b n _"]:
        """The context (b, n, width) of ids (b, n); `mask` says which tokens count, of none given all, padding too.

        Raises:
          InputError: the texts are longer than the encoder's.
        """
        check_length(tokens, self.length)
        init = nn.initializers.normal(0.02)
        position = self.param("position", init, (self.length, self.width), jnp.float32)
        x = nn.Embed(self.vocabulary, self.width, embedding_init=init, name="tokens")(tokens)
        x = x + position[None, : tokens.shape[1]]
        for i in range(self.layers):
            x = EncoderBlock(self.heads, self.head_width, self.dtype, name=f"block_{i}")(x, mask)
        return layer_norm("norm_out")(x)
