"""The autoregressive prior of unCLIP (Ramesh et al. 2022, section 2.2.1): codes of an embedding, one after another.

How the text enters is not said there: 64 of the 384 places of the published sequence are left for it, and it has 256
tokens. Here it stands in the sequence, as in the diffusion prior, as a CLIP that is not trained says it.
"""

import functools
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from score_jax.errors import InputError
from score_jax.models.blocks.adm_blocks import linear
from score_jax.models.blocks.layer_norm import layer_norm
from score_jax.models.clip.clip_transformer import Block, Past, Tokens, states
from score_jax.models.conditions import Condition, DeclaredConditions, of_text
from score_jax.models.priors.text_prefix import Seen, causal, check_length, without_padding
from score_jax.typing import Image, Time

Logits = Float[Array, "b buckets"]


class AutoregressivePrior(nn.Module):
    """A causal transformer over a text and the codes of an image's embedding, which says each code from those before.

    The sequence is the text's tokens, its embedding, the bucket of how well image and text go together, and the codes
    but the last. Each sees those before it, and no padding of the text.

    Attributes:
      width: channels of a token.
      layers: blocks.
      heads: attention heads.
      components: codes of an embedding.
      buckets: values of a code.
      alignments: values of the condition `alignment`, beside the one that stands for none.
      text_length: tokens of a text.
      text_width: channels of the condition `context`, the text's tokens.
      text_features: channels of the condition `text_embedding`.
      dtype: compute dtype; parameters, norms, softmax and logits stay float32.
    """

    width: int
    layers: int
    heads: int
    components: int
    buckets: int
    alignments: int
    text_length: int
    text_width: int
    text_features: int
    dtype: Any = None

    def conditions(self, image_shape: tuple[int, int, int]) -> DeclaredConditions:
        """What an encoder says of a text, and how well it goes with the image."""
        texts = of_text(self.text_length, self.text_width, self.text_features)
        return {**texts, "alignment": Condition((), jnp.int32, null=self.alignments)}

    @property
    def prefix(self) -> int:
        """Places before the codes."""
        return self.text_length + 2

    def setup(self) -> None:
        """Embeddings of what is in the sequence, blocks, and the layer that says a code."""
        small = nn.initializers.normal(0.01)
        self.of_text_tokens = linear(self.text_width, self.width, "text_tokens", self.dtype)
        self.of_text = linear(self.text_features, self.width, "text_embedding", self.dtype)
        embed = functools.partial(nn.Embed, features=self.width, dtype=self.dtype, embedding_init=small)
        self.of_alignment = embed(self.alignments + 1, name="alignment")
        self.of_code = embed(self.buckets, name="code")
        self.position = self.param("position", small, (self.prefix + self.components - 1, self.width), jnp.float32)
        self.blocks = [Block(self.heads, "gelu", self.dtype, name=f"block_{i}") for i in range(self.layers)]
        self.norm_out = layer_norm("norm_out")
        self.out = nn.Dense(self.buckets, name="out")

    def __call__(
        self,
        x: Image,
        time_label: Time,
        *,
        context: Float[Array, "b n _"],
        text_embedding: Float[Array, "b _"],
        alignment: Int[Array, "b"],
        context_mask: Bool[Array, "b n"] | None = None,
        train: bool = False,
    ) -> Float[Array, "b codes buckets"]:
        """Logits of each code x (b, 1, 1, k) from those before it; there is no time.

        Raises:
          InputError: the text is longer than the network's, or there are more or fewer codes.
        """
        codes = x.reshape(len(x), -1)
        if codes.shape[1] != self.components:
            raise InputError(
                f"This prior draws {self.components} codes, not {codes.shape[1]}: give those of its codec."
            )
        prefix = self._prefix(context, text_embedding, alignment)
        embedded = self.of_code(codes[:, :-1].astype(jnp.int32)).astype(prefix.dtype)
        tokens = jnp.concatenate([prefix, embedded], axis=1)
        mask = self._mask(context_mask)
        h = states(self.blocks, self._placed(tokens, 0), mask)[-1]
        return self._say(h[:, self.prefix - 1 :])

    def begin(
        self,
        *,
        context: Float[Array, "b n _"],
        text_embedding: Float[Array, "b _"],
        alignment: Int[Array, "b"],
        context_mask: Bool[Array, "b n"] | None = None,
    ) -> tuple[Logits, tuple[Past, ...]]:
        """Logits of the first code, and what the blocks keep of the sequence so far."""
        prefix = self._prefix(context, text_embedding, alignment)
        length, places = prefix.shape[1], len(self.position)
        mask = self._mask(context_mask)[:, :, :length]
        nothing = Past.empty(prefix, self.heads, places)
        return self._grown(self._placed(prefix, 0), mask, (nothing,) * self.layers)

    def go_on(
        self,
        code: Int[Array, "b"],
        pasts: tuple[Past, ...],
        *,
        context_mask: Bool[Array, "b n"] | None = None,
    ) -> tuple[Logits, tuple[Past, ...]]:
        """Logits of the code after `code`, of which those before it are in the pasts, and these with it.

        Args:
          code: the last code that is known.
          pasts: of the blocks, as `begin` or the last call returned them.
          context_mask: as in `begin`.
        """
        place = pasts[0].length
        h = self._placed(self.of_code(code)[:, None], place)
        mask = jnp.take(self._mask(context_mask), place[None], axis=2)
        return self._grown(h, mask, pasts)

    def _grown(
        self, h: Tokens, mask: Bool[Array, "_ 1 n m"], pasts: tuple[Past, ...]
    ) -> tuple[Logits, tuple[Past, ...]]:
        """Logits of the code after the tokens h, and the pasts with these."""
        kept = []
        for block, past in zip(self.blocks, pasts, strict=True):
            h, grown = block.beside(h, mask, past)
            kept.append(grown)
        return self._say(h[:, -1]), tuple(kept)

    def _prefix(self, context, text_embedding, alignment) -> Tokens:
        check_length(context, self.text_length)
        text = self.of_text_tokens(context)
        whole, aligned = self.of_text(text_embedding), self.of_alignment(alignment)
        return jnp.concatenate([text, jnp.stack([whole, aligned.astype(whole.dtype)], axis=1)], axis=1)

    def _placed(self, tokens: Tokens, first: Int[Array, ""] | int) -> Tokens:
        """Tokens with the embeddings of their places, from the first on."""
        own = jnp.take(self.position, first + jnp.arange(tokens.shape[1]), axis=0)
        return tokens + own[None].astype(tokens.dtype)

    def _mask(self, context_mask: Bool[Array, "b n"] | None) -> Seen:
        """Which places (columns) each of them (rows) sees."""
        return without_padding(causal(len(self.position)), context_mask)

    def _say(self, h: Float[Array, "b *places width"]) -> Float[Array, "b *places buckets"]:
        wide = jnp.promote_types(h.dtype, jnp.float32)
        return self.out(self.norm_out(h).astype(wide)).astype(wide)
