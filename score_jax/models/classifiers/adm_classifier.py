"""ADM's classifier of noisy images (Dhariwal and Nichol 2021, section 4): the encoder of its UNet, and a head."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from score_jax.models.blocks.adm_blocks import attend_fused, blocks_of, embed, linear, norm
from score_jax.models.blocks.convolution import conv
from score_jax.models.blocks.unet_walk import middle, walk_down
from score_jax.models.choices import check_choices
from score_jax.typing import Image, Resized, Time

POOLS = ("adaptive", "attention", "spatial", "spatial_v2")


class AttentionPool(nn.Module):
    """CLIP's attention pooling: the mean of all positions attends to them.

    Attributes:
      heads: attention heads.
      features: of the output.
    """

    heads: int
    features: int

    @nn.compact
    def __call__(self, x: Image) -> Float[Array, "b {self.features}"]:
        """Pools x (b, h, w, c) at the size it was initialised with."""
        batch, height, width, channels = x.shape
        tokens = x.reshape(batch, height * width, channels)
        tokens = jnp.concatenate([jnp.mean(tokens, axis=1, keepdims=True), tokens], axis=1)
        init = nn.initializers.normal(channels**-0.5)
        tokens = tokens + self.param("position", init, (height * width + 1, channels), jnp.float32)[None]
        pooled = attend_fused(linear(channels, 3 * channels, "qkv")(tokens), self.heads, "new")[:, 0]
        return linear(channels, self.features, "out")(pooled)


class ADMClassifier(nn.Module):
    """The classifier of ADM (Dhariwal and Nichol 2021): log p(y | x_t, t) up to a constant.

    Attributes:
      channels: base channels (`classifier_width`).
      channel_mult: multiple of `channels` at each level.
      num_res_blocks: residual blocks per level (`classifier_depth`).
      attention_resolutions: image heights at which attention follows each block (the middle always has attention).
      num_classes: number of classes, one logit each.
      pool: how the head pools: "attention" (the released models), "adaptive", "spatial" or "spatial_v2".
      num_heads: attention heads, where `num_head_channels` is None.
      num_head_channels: channels of a head; "attention" pooling needs it.
      scale_shift_norm: as in `ADM`.
      resblock_updown: as in `ADM`.
      resample_with_conv: as in `ADM`.
      qkv_layout: as in `ADM`; pooling always has "new".
      dropout: as in `ADM`.
      remat: as in `ADM`.
      dtype: compute dtype; parameters, norms, softmax, embedding and the head stay float32.
    """

    channels: int
    channel_mult: tuple[int | float, ...]
    num_res_blocks: int
    attention_resolutions: tuple[int, ...]
    num_classes: int
    pool: str = "attention"
    num_heads: int = 1
    num_head_channels: int | None = None
    scale_shift_norm: bool = True
    resblock_updown: bool = True
    resample_with_conv: bool = True
    qkv_layout: str = "legacy"
    dropout: float = 0.0
    remat: tuple[str, ...] = ()
    dtype: Any = None

    def __post_init__(self) -> None:
        check_choices(self, {"pool": POOLS})
        super().__post_init__()

    @nn.compact
    def __call__(self, x: Image, label: Time, *, train: bool = False) -> Float[Array, "b {self.num_classes}"]:
        """Logits of noisy images x (b, h, w, c) with labels (b,)."""
        wide = jnp.promote_types(x.dtype, jnp.float32)
        embedding = nn.swish(embed(label.astype(wide), self.channels))
        blocks = blocks_of(self).in_unet(embedding, train)
        widths = tuple(int(mult * self.channels) for mult in self.channel_mult)
        h = conv(x.shape[-1], widths[0], 3, "conv_in", dtype=self.dtype)(x)
        activations = walk_down(blocks, h, widths, self.num_res_blocks, self.attention_resolutions)
        activations.append(middle(blocks, activations[-1]))
        if self.pool.startswith("spatial"):
            return self._spatial_head([h.astype(wide) for h in activations])
        h = nn.swish(norm("norm_out")(activations[-1].astype(wide)))
        if self.pool == "adaptive":
            return nn.Dense(self.num_classes, kernel_init=nn.initializers.zeros, name="out")(jnp.mean(h, axis=(1, 2)))
        heads = h.shape[-1] // (self.num_head_channels or h.shape[-1])
        return AttentionPool(heads, self.num_classes, name="pool")(h)

    def _spatial_head(self, activations: list[Resized]) -> Float[Array, "b k"]:
        """Two layers on the spatial means of all activations."""
        means = jnp.concatenate([jnp.mean(h, axis=(1, 2)) for h in activations], axis=-1)
        h = linear(means.shape[-1], 2048, "hidden")(means)
        h = jax.nn.relu(h) if self.pool == "spatial" else nn.swish(norm("norm_out")(h))
        return linear(2048, self.num_classes, "out")(h)
