"""The decoder of unCLIP (Ramesh et al. 2022, section 2.1): ADM's blocks, told an image's embedding and its caption."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from score_jax.models.blocks.adm_blocks import blocks_of, check_conditions, embed, heights_at, linear, through_unet
from score_jax.models.blocks.layer_norm import layer_norm
from score_jax.models.blocks.normalization import GROUPS
from score_jax.models.conditions import Condition, DeclaredConditions, of_text
from score_jax.typing import Batch, Image, Resized, Time

Context = Float[Array, "b m _"]


class EmbeddingConditions(nn.Module):
    """What the blocks are given of an image's embedding and of a caption.

    Attributes:
      width: channels of a token of the context.
      added: channels of what is added to the time's embedding.
      extra_tokens: that the image's embedding becomes, before the caption's tokens.
      text: whether there is a caption.
    """

    width: int
    added: int
    extra_tokens: int
    text: bool

    @nn.compact
    def __call__(
        self,
        image_embedding: Float[Array, "b d"],
        context: Context | None = None,
        text_embedding: Float[Array, "b _"] | None = None,
    ) -> tuple[Float[Array, "b tokens _"], Float[Array, "b {self.added}"]]:
        """The context (b, extra_tokens + n, width), and what is added to the time's embedding, for a caption's tokens.

        An embedding of zeros stands for none, and a learned one takes its place.
        """
        features = image_embedding.shape[-1]
        null = self.param("null_image_embedding", nn.initializers.zeros, (features,), jnp.float32)
        absent = jnp.all(image_embedding == 0, axis=-1, keepdims=True)
        z = jnp.where(absent, null[None].astype(image_embedding.dtype), image_embedding)
        added = linear(features, self.added, "image_to_time")(z)
        tokens = linear(features, self.extra_tokens * self.width, "image_to_tokens")(z)
        tokens = tokens.reshape(len(z), self.extra_tokens, self.width)
        if not self.text:
            return tokens, added
        assert context is not None and text_embedding is not None
        of_text = layer_norm("text_tokens_norm")(linear(context.shape[-1], self.width, "text_tokens")(context))
        added = added + linear(text_embedding.shape[-1], self.added, "text_to_time")(text_embedding)
        return jnp.concatenate([tokens, of_text.astype(tokens.dtype)], axis=1), added


class UnCLIPDecoder(nn.Module):
    """ADM's UNet that draws an image of a CLIP embedding (Ramesh et al. 2022, section 2.1; Karlo's decoder).

    The embedding is added to the time's, and becomes tokens that all attention sees beside the pixels; so do the
    caption's, where it has one. An image embedding of zeros stands for none.

    Attributes:
      channels: base channels, which set the width of the time embedding.
      channel_mult: multiple of `channels` at each level.
      num_res_blocks: residual blocks per level on the way down (one more on the way up).
      attention_factors: by how much a level's height is smaller than the input's where attention follows each block
        (the middle always has attention).
      image_features: of the condition `image_embedding`.
      context_width: channels of a token that attention sees.
      extra_tokens: that the image's embedding becomes.
      text_length: tokens of a caption; 0: the decoder sees no caption.
      text_width: channels of a caption's tokens, the condition `context`.
      text_features: of the condition `text_embedding`.
      dropout: rate before the second convolution of a block.
      learn_sigma: the network also outputs a variance, in a second half of twice as many channels.
      num_heads: attention heads, where `num_head_channels` is None.
      num_head_channels: channels of an attention head; None: `num_heads` sets them.
      scale_shift_norm: the embedding scales and shifts normalised activations; otherwise it is added before the norm.
      resblock_updown: resample inside of residual blocks.
      resample_with_conv: where resblock_updown is off, resample with a convolution.
      qkv_layout: order of the channels of query, key and value: "legacy" or "new".
      norm_groups: groups of channels of a norm; 32 of published models.
      remat: kinds of blocks to recompute in the backward pass: "residual", "attention".
      dtype: compute dtype; parameters, norms, softmax, embedding and output stay float32.
    """

    channels: int
    channel_mult: tuple[int, ...]
    num_res_blocks: int
    attention_factors: tuple[int, ...]
    image_features: int
    context_width: int
    extra_tokens: int = 4
    text_length: int = 0
    text_width: int = 0
    text_features: int = 0
    dropout: float = 0.0
    learn_sigma: bool = True
    num_heads: int = 4
    num_head_channels: int | None = None
    scale_shift_norm: bool = True
    resblock_updown: bool = True
    resample_with_conv: bool = True
    qkv_layout: str = "legacy"
    norm_groups: int = GROUPS
    remat: tuple[str, ...] = ()
    dtype: Any = None

    def conditions(self, image_shape: tuple[int, int, int]) -> DeclaredConditions:
        """An image's embedding, zeros of none, and what an encoder says of a caption."""
        captions = of_text(self.text_length, self.text_width, self.text_features) if self.text_length else {}
        null = jnp.zeros(self.image_features)
        return {"image_embedding": Condition((self.image_features,), null=null), **captions}

    @nn.compact
    def __call__(
        self,
        x: Image,
        time_label: Time,
        *,
        image_embedding: Float[Array, "b _"],
        context: Context | None = None,
        context_mask: Bool[Array, "b _"] | None = None,
        text_embedding: Batch | None = None,
        train: bool = False,
    ) -> Resized:
        """(b, h, w, c or 2 c) for x (b, h, w, c), the indices of its levels (b,) and the declared conditions.

        Without a mask all of a caption's tokens are seen.

        Raises:
          InputError: a condition that the network has is missing, or one that it has not is given.
        """
        has_text = self.text_length > 0
        check_conditions(context=(context is not None, has_text), text_embedding=(text_embedding is not None, has_text))
        wide, out_channels = jnp.promote_types(x.dtype, jnp.float32), x.shape[-1] * (1 + self.learn_sigma)
        own = (self.context_width, 4 * self.channels, self.extra_tokens, has_text)
        tokens, added = EmbeddingConditions(*own, name="conditions")(image_embedding, context, text_embedding)
        keep = context_mask
        if keep is not None:
            keep = jnp.pad(keep, ((0, 0), (self.extra_tokens, 0)), constant_values=True)
        blocks = blocks_of(self)
        embedding = nn.swish(embed(time_label.astype(wide), self.channels) + added)
        both_ways = blocks.in_unet(embedding, train, lambda h, name: blocks.attention(h, name, tokens, keep))
        widths = tuple(mult * self.channels for mult in self.channel_mult)
        heights = heights_at(self.attention_factors, x.shape[1], len(widths))
        unet = (self.num_res_blocks, heights, out_channels, self.dtype, self.norm_groups)
        return through_unet(both_ways, both_ways, x, widths, *unet).astype(wide)
