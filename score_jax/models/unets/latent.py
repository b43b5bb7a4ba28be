"""The UNet of latent diffusion (Rombach et al. 2022, arXiv 2112.10752) and of Stable Diffusion: ADM's and a context."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from score_jax.errors import InputError
from score_jax.models.blocks.adm_blocks import blocks_of, check_conditions, embed_with_class, heights_at, through_unet
from score_jax.models.blocks.normalization import GROUPS
from score_jax.models.blocks.remat import remat_blocks
from score_jax.models.blocks.spatial_transformer import SpatialTransformer
from score_jax.models.conditions import Condition, DeclaredConditions, class_label
from score_jax.typing import Image, Resized, Time


class LatentUNet(nn.Module):
    """The UNet of latent diffusion (Rombach et al. 2022): ADM's, whose attention can see a context.

    It runs at any size that its levels can halve.

    Attributes:
      channels: base channels (`model_channels`), which set the width of the time embedding.
      channel_mult: multiple of `channels` at each level; the first is 1 in all published models.
      num_res_blocks: residual blocks per level on the way down (one more on the way up).
      attention_factors: by how much a level's height is smaller than the input's where attention follows each block
        (`attention_resolutions` of the originals; the middle always has attention).
      dropout: dropout rate before the second convolution of a block.
      out_channels: of the output; None: those of x.
      num_classes: number of classes of the condition `label`, which is added to the time embedding; None: no classes.
      num_heads: attention heads, where `num_head_channels` is None.
      num_head_channels: channels of an attention head; None: `num_heads` sets them.
      scale_shift_norm: the embedding scales and shifts normalised activations; otherwise it is added before the norm.
      resblock_updown: resample inside of residual blocks.
      resample_with_conv: where resblock_updown is off, resample with a convolution; otherwise only by mean and nearest
        neighbour.
      qkv_layout: order of the channels of query, key and value in ADM's attention: "legacy" or "new".
      context_width: channels of the condition `context`'s tokens, which transformers in the place of ADM's attention
        see; 0: these transformers, without a context; None: ADM's attention.
      context_length: tokens of a context as the network declares it; it takes any number.
      transformer_depth: blocks of each transformer.
      linear_projection: published weights have the transformers' first and last layers as matrices, as Stable Diffusion
        2's; otherwise as 1 x 1 convolutions, which compute the same.
      concat_channels: channels of the condition `concat`, an image of the input's size that follows it; 0: none.
      norm_groups: groups of channels of a norm; 32 of all published models. Narrow levels want fewer: with one channel
        to a group, a norm takes out what the time's embedding added.
      remat: kinds of blocks to recompute in the backward pass: "residual", "attention".
      dtype: compute dtype; parameters, norms, softmax, embedding and output stay float32.
    """

    channels: int
    channel_mult: tuple[int, ...]
    num_res_blocks: int
    attention_factors: tuple[int, ...]
    dropout: float = 0.0
    out_channels: int | None = None
    num_classes: int | None = None
    num_heads: int = 8
    num_head_channels: int | None = None
    scale_shift_norm: bool = False
    resblock_updown: bool = False
    resample_with_conv: bool = True
    qkv_layout: str = "legacy"
    context_width: int | None = None
    context_length: int = 1
    transformer_depth: int = 1
    linear_projection: bool = False
    concat_channels: int = 0
    norm_groups: int = GROUPS
    remat: tuple[str, ...] = ()
    dtype: Any = None

    def conditions(self, image_shape: tuple[int, int, int]) -> DeclaredConditions:
        """The class of an example, the tokens of its context, and what is joined to its channels."""
        context = {"context": Condition((self.context_length, self.context_width))} if self.context_width else {}
        joined = {"concat": Condition((*image_shape[:2], self.concat_channels))} if self.concat_channels else {}
        return {**class_label(self.num_classes), **context, **joined}

    @nn.compact
    def __call__(
        self,
        x: Image,
        time_label: Time,
        *,
        label: Int[Array, "b"] | None = None,
        context: Float[Array, "b _ _"] | None = None,
        concat: Float[Array, "b _ _ _"] | None = None,
        train: bool = False,
    ) -> Resized:
        """(b, h, w, out_channels) for x (b, h, w, c), the indices of its levels (b,) and the declared conditions.

        Raises:
          InputError: a condition that the network has is missing or of another shape, or one that it has not is given;
            h or w cannot be halved as often as the network does, or its channels do not split into `norm_groups`.
        """
        check_conditions(
            label=(label is not None, self.num_classes is not None),
            context=(context is not None, bool(self.context_width)),
            concat=(concat is not None, self.concat_channels > 0),
        )
        self._check_shapes(x, context, concat)
        wide, out_channels = jnp.promote_types(x.dtype, jnp.float32), self.out_channels or x.shape[-1]
        embedding = embed_with_class(time_label.astype(wide), label, self.channels, self.num_classes)
        if concat is not None:
            x = jnp.concatenate([x, concat.astype(x.dtype)], axis=-1)
        blocks = blocks_of(self)

        def attend(h: Image, name: str) -> Image:
            transformer = remat_blocks(self.remat, "attention", SpatialTransformer)
            settings = (blocks.heads(h.shape[-1]), self.transformer_depth, self.dtype, self.norm_groups)
            return transformer(*settings, name=name)(h, context)

        both_ways = blocks.in_unet(embedding, train, None if self.context_width is None else attend)
        widths = tuple(mult * self.channels for mult in self.channel_mult)
        heights = heights_at(self.attention_factors, x.shape[1], len(widths))
        own = (self.num_res_blocks, heights, out_channels, self.dtype)
        y = through_unet(both_ways, both_ways, x, widths, *own, norm_groups=self.norm_groups)
        return y.astype(wide)

    def _check_shapes(
        self, x: Image, context: Float[Array, "b _ _"] | None, concat: Float[Array, "b _ _ _"] | None
    ) -> None:
        widths = [mult * self.channels for mult in self.channel_mult]
        if any(width % self.norm_groups for width in widths):
            raise InputError(
                f"Levels of {widths} channels do not split into network.norm_groups={self.norm_groups}: choose a "
                "divisor of all."
            )
        factor = 2 ** (len(self.channel_mult) - 1)
        if x.shape[1] % factor or x.shape[2] % factor:
            raise InputError(
                f"This network halves its input {len(self.channel_mult) - 1} times, which {x.shape[1]} x {x.shape[2]} "
                f"does not allow: choose a height and a width divisible by {factor}."
            )
        if context is not None and context.shape[-1] != self.context_width:
            raise InputError(
                f"The condition 'context' has {context.shape[-1]} channels where network.context_width is "
                f"{self.context_width}: choose the encoder that the network was trained with."
            )
        expected = (*x.shape[:3], self.concat_channels)
        if concat is not None and concat.shape != expected:
            raise InputError(
                f"The condition 'concat' has the shape {concat.shape} where {expected} is expected: resize it to x."
            )
