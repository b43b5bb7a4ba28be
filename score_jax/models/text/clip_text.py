"""CLIP's text transformers as Stable Diffusion uses them: what they say about every token."""

from typing import Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from score_jax.models.blocks.layer_norm import layer_norm
from score_jax.models.clip.clip_transformer import Block, states
from score_jax.models.conditions import DeclaredConditions, token_ids
from score_jax.models.text.bert import check_length


class CLIPText(nn.Module):
    """Tokens to as many vectors, each of which has seen those before it (Radford et al. 2021, arXiv 2103.00020).

    The defaults are those of Stable Diffusion 1. Version 2 has a width of 1024, 16 heads, the exact GELU and 24 layers,
    the last of which is skipped.

    Attributes:
      vocabulary: ids that there are.
      length: most tokens of a text.
      width: channels of a token.
      layers: blocks of the published model.
      heads: attention heads.
      activation: "quick_gelu" of OpenAI's models, or "gelu" of OpenCLIP's.
      skip_last: how many of the layers are left out before the final norm, and have no parameters.
      dtype: compute dtype; parameters, norms and softmax stay float32.
    """

    vocabulary: int = 49408
    length: int = 77
    width: int = 768
    layers: int = 12
    heads: int = 12
    activation: str = "quick_gelu"
    skip_last: int = 0
    dtype: Any = None

    makes: ClassVar[str] = "context"

    def conditions(self, image_shape: tuple[int, int, int]) -> DeclaredConditions:
        """The ids of a text's tokens."""
        return token_ids(self.length)

    @nn.compact
    def __call__(self, tokens: Int[Array, "b n"]) -> Float[Array, "b n _"]:
        """The context (b, n, width) of ids (b, n): all positions after the final norm, padding too.

        Raises:
          InputError: the texts are longer than the encoder's, or the activation is unknown.
        """
        check_length(tokens, self.length)
        n, init = tokens.shape[1], nn.initializers.normal
        position = self.param("position", init(0.01), (self.length, self.width), jnp.float32)
        embedded = nn.Embed(self.vocabulary, self.width, embedding_init=init(0.02), name="tokens")(tokens)
        blocks = [
            Block(self.heads, self.activation, self.dtype, name=f"blocks_{i}")
            for i in range(self.layers - self.skip_last)
        ]
        mask = jnp.tril(jnp.ones((n, n), bool))[None, None]
        return layer_norm("norm_out")(states(blocks, embedded + position[None, :n], mask)[-1])
