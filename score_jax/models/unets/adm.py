"""The UNet of improved diffusion (Nichol and Dhariwal 2021) and ADM (Dhariwal and Nichol 2021).

One network, with ADM's options: resampling within residual blocks, adaptive group norm (scale and shift), heads by
number or by channels, class labels, learned variance (twice the output channels), and for super-resolution a low-
resolution image as condition.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from score_jax.errors import entry_of
from score_jax.models.blocks.adm_blocks import blocks_of, check_conditions, embed_with_class, through_unet
from score_jax.models.blocks.normalization import GROUPS
from score_jax.models.conditions import Condition, DeclaredConditions, class_label
from score_jax.typing import Image, Resized, Time

Shape = tuple[int, ...]
LOW_RES_FILTERS: Mapping[str, Callable[[Array, Shape], Array]] = {
    "linear": lambda images, shape: jax.image.resize(images, shape, "linear", antialias=False),
    "cubic": lambda images, shape: jax.image.resize(jnp.clip(images, -1.0, 1.0), shape, "cubic", antialias=True),
}
"""How the image `low_res` comes to the size of x: as ADM has it; by a cubic filter, clipped first, as Karlo has it."""


class ADM(nn.Module):
    """The UNet of ADM (Dhariwal and Nichol 2021) and of improved diffusion (Nichol and Dhariwal 2021).

    Attributes:
      channels: base channels (`model_channels`), which set the width of the time embedding.
      channel_mult: multiple of `channels` at each level; the first may be a fraction (the 512 x 512 model).
      num_res_blocks: residual blocks per level on the way down (one more on the way up).
      attention_resolutions: image heights at which attention follows each block.
      dropout: dropout rate before the second convolution of a block.
      learn_sigma: the network also outputs a variance, in a second half of twice as many channels.
      num_classes: number of classes of the condition `label`; None: no classes.
      num_heads: attention heads, where `num_head_channels` is None.
      num_head_channels: channels of an attention head; None: `num_heads` sets them.
      num_heads_upsample: attention heads on the way up; None: as on the way down.
      scale_shift_norm: the embedding scales and shifts normalised activations; otherwise it is added before the norm.
      resblock_updown: resample inside of residual blocks.
      resample_with_conv: where resblock_updown is off, resample with a convolution; otherwise only by mean and nearest
        neighbour.
      qkv_layout: order of the channels of query, key and value: "legacy", or "new" as in the 64 x 64 model.
      super_resolution: the network needs a small image `low_res`; it is resized and joined to the input's channels.
      low_res_filter: how it is resized, a key of `LOW_RES_FILTERS`; unCLIP's upsamplers have "cubic".
      middle_attention: whether the lowest resolution has attention; without it and with no `attention_resolutions` the
        network is one of convolutions alone, as unCLIP's upsamplers are.
      norm_groups: groups of channels of a norm; 32 of all models of the two papers.
      remat: kinds of blocks to recompute in the backward pass: "residual", "attention".
      dtype: compute dtype; parameters, norms, softmax, embedding and output stay float32.
    """

    channels: int
    channel_mult: tuple[int | float, ...]
    num_res_blocks: int
    attention_resolutions: tuple[int, ...]
    dropout: float
    learn_sigma: bool = True
    num_classes: int | None = None
    num_heads: int = 4
    num_head_channels: int | None = None
    num_heads_upsample: int | None = None
    scale_shift_norm: bool = True
    resblock_updown: bool = False
    resample_with_conv: bool = True
    qkv_layout: str = "legacy"
    super_resolution: bool = False
    low_res_filter: str = "linear"
    middle_attention: bool = True
    norm_groups: int = GROUPS
    remat: tuple[str, ...] = ()
    dtype: Any = None

    def conditions(self, image_shape: tuple[int, int, int]) -> DeclaredConditions:
        """The class of an example, and the image to enlarge."""
        enlarged = {"low_res": Condition(image_shape)} if self.super_resolution else {}
        return {**class_label(self.num_classes), **enlarged}

    @nn.compact
    def __call__(
        self,
        x: Image,
        time_label: Time,
        *,
        label: Int[Array, "b"] | None = None,
        low_res: Float[Array, "b _ _ c"] | None = None,
        train: bool = False,
    ) -> Resized:
        """(b, h, w, c or 2 c) for x (b, h, w, c), time labels (b,), classes `label` (b,) and low_res (b, h', w', c).

        Raises:
          InputError: a condition that the network has is missing, or one that it has not is given; or the filter is
            unknown.
        """
        check_conditions(
            label=(label is not None, self.num_classes is not None),
            low_res=(low_res is not None, self.super_resolution),
        )
        wide, out_channels = jnp.promote_types(x.dtype, jnp.float32), x.shape[-1] * (1 + self.learn_sigma)
        embedding = embed_with_class(time_label.astype(wide), label, self.channels, self.num_classes)
        if low_res is not None:
            resize = entry_of(LOW_RES_FILTERS, "network.low_res_filter", self.low_res_filter)
            resized = resize(low_res, (*x.shape[:3], low_res.shape[-1]))
            x = jnp.concatenate([x, resized.astype(x.dtype)], axis=-1)
        widths = tuple(int(mult * self.channels) for mult in self.channel_mult)
        blocks = blocks_of(self)
        down = blocks.in_unet(embedding, train)
        up = dataclasses.replace(blocks, num_heads=self.num_heads_upsample or self.num_heads).in_unet(embedding, train)
        heights = self.attention_resolutions
        own = (self.num_res_blocks, heights, out_channels, self.dtype, self.norm_groups, self.middle_attention)
        return through_unet(down, up, x, widths, *own).astype(wide)
