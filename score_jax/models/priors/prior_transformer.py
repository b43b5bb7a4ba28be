"""The diffusion prior of unCLIP (Ramesh et al. 2022, section 2.2.2), as Karlo has it: from a caption to an embedding.

Embeddings of images are x0 here, as images of one pixel: every process, sampler and likelihood takes them as they are.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from score_jax.errors import InputError
from score_jax.models.blocks.adm_blocks import linear
from score_jax.models.blocks.embeddings import sinusoidal_cos_first
from score_jax.models.blocks.layer_norm import layer_norm
from score_jax.models.clip.clip_transformer import Block, states
from score_jax.models.conditions import DeclaredConditions, of_text
from score_jax.models.priors.text_prefix import causal, check_length, without_padding
from score_jax.typing import Image, Time

EXTRA_TOKENS = 4
"""After those of the text: the text's embedding, the time, the noisy image embedding, and the one that is read."""


class PriorTransformer(nn.Module):
    """A transformer over the tokens of a text and four more, the last of which becomes the prediction.

    The sequence is the text's tokens, the text's embedding, the time, x_t and a learned token; each sees those before
    it, and no padding of the text (Ramesh et al. 2022, section 2.2.2; Karlo's `PriorTransformer`).

    Attributes:
      width: channels of a token.
      layers: blocks.
      heads: attention heads.
      text_length: tokens of a text.
      text_width: channels of the condition `context`, the text's tokens.
      text_features: channels of the condition `text_embedding`.
      norm_out: whether a norm precedes the output.
      causal: whether a token sees only those before it; diffusers' port asked without a mask does not hold it to that.
      dtype: compute dtype; parameters, norms, softmax and output stay float32.
    """

    width: int
    layers: int
    heads: int
    text_length: int
    text_width: int
    text_features: int
    norm_out: bool = True
    causal: bool = True
    dtype: Any = None

    def conditions(self, image_shape: tuple[int, int, int]) -> DeclaredConditions:
        """What an encoder of texts says: its tokens, which of them are no padding, and the whole text's embedding."""
        return of_text(self.text_length, self.text_width, self.text_features)

    @nn.compact
    def __call__(
        self,
        x: Image,
        time_label: Time,
        *,
        context: Float[Array, "b n _"],
        text_embedding: Float[Array, "b _"],
        context_mask: Bool[Array, "b n"] | None = None,
        train: bool = False,
    ) -> Image:
        """(b, 1, 1, d) for x (b, 1, 1, d), the indices of its levels (b,), and the declared conditions.

        Raises:
          InputError: x has more than one pixel, or the text is longer than the network's.
        """
        wide, features = jnp.promote_types(x.dtype, jnp.float32), x.shape[-1]
        if x.shape[1:3] != (1, 1):
            raise InputError(f"A prior draws embeddings (1, 1, d), not arrays {x.shape[1:]}: give it those of a CLIP.")
        check_length(context, self.text_length)
        time = linear(self.width, self.width, "time_1", self.dtype)(
            sinusoidal_cos_first(time_label.astype(wide), self.width)
        )
        own = {
            "text_embedding": linear(self.text_features, self.width, "text_embedding", self.dtype)(text_embedding),
            "time": linear(self.width, self.width, "time_2", self.dtype)(nn.swish(time)),
            "x": linear(features, self.width, "image_embedding", self.dtype)(x[:, 0, 0]),
        }
        small = nn.initializers.normal(0.01)
        last = self.param("query", small, (1, self.width), jnp.float32)
        own["query"] = jnp.broadcast_to(last.astype(own["x"].dtype), own["x"].shape)
        text = linear(self.text_width, self.width, "text_tokens", self.dtype)(context)
        tokens = jnp.concatenate([text, jnp.stack(list(own.values()), axis=1).astype(text.dtype)], axis=1)
        position = self.param("position", small, (self.text_length + EXTRA_TOKENS, self.width), jnp.float32)
        blocks = [Block(self.heads, "gelu", self.dtype, name=f"block_{i}") for i in range(self.layers)]
        h = states(blocks, tokens + position[None].astype(tokens.dtype), self._mask(context_mask))[-1][:, -1]
        h = layer_norm("norm_out")(h) if self.norm_out else h
        return linear(self.width, features, "out", None)(h.astype(wide))[:, None, None].astype(wide)

    def _mask(self, context_mask: Bool[Array, "b n"] | None) -> Bool[Array, "_ 1 m m"] | None:
        """Which tokens (columns) each of them (rows) sees; None: all."""
        m = self.text_length + EXTRA_TOKENS
        if not self.causal and context_mask is None:
            return None
        return without_padding(causal(m) if self.causal else jnp.ones((1, 1, m, m), bool), context_mask)
