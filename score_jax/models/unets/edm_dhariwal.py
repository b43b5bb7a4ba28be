"""DhariwalUNet: ADM as reimplemented for EDM (Karras et al. 2022, arXiv 2206.00364, appendix F.2).

It differs from Dhariwal and Nichol's ADM in its class and augmentation labels and in the layout of its attention.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from score_jax.errors import InputError
from score_jax.models.blocks.edm_block import Design, Init, blocks_in_unet, conv, linear
from score_jax.models.blocks.edm_labels import Label, class_and_augmentation
from score_jax.models.blocks.embeddings import sinusoidal_cos_first
from score_jax.models.blocks.initializers import bias_uniform, fan_in_uniform
from score_jax.models.blocks.normalization import GroupNorm
from score_jax.models.blocks.resampling import mean_down, nearest_up
from score_jax.models.blocks.unet_walk import middle, walk_down, walk_up
from score_jax.models.conditions import DeclaredConditions, class_label
from score_jax.typing import Batch, Image, Resized, Time

_HEAD_CHANNELS = 64
_KAIMING = Init(fan_in_uniform(1 / 3), bias_uniform)
_ZERO = Init(nn.initializers.zeros, lambda fan_in: nn.initializers.zeros)
_CLASSES = Init(nn.initializers.normal(1.0), bias_uniform)


def _heads(channels: int) -> int:
    """The heads of 64 channels each in so many.

    Raises:
      InputError: the channels do not split into them.
    """
    heads = channels // _HEAD_CHANNELS
    if heads and channels % heads:
        raise InputError(
            f"{channels} channels do not split into the {heads} heads of DhariwalUNet's attention: choose "
            f"network.channels and channel_mult with products divisible by {_HEAD_CHANNELS}."
        )
    return heads


DHARIWAL = Design(
    heads=_heads,
    epsilon=1e-5,
    skip_scale=1.0,
    adaptive_scale=True,
    project_resampled=False,
    layer=_KAIMING,
    qkv=_KAIMING,
    last=_ZERO,
)


class DhariwalUNet(nn.Module):
    """The UNet DhariwalUNet of EDM: ADM as the raw network F of a preconditioning (Karras et al. 2022).

    Attributes:
      channels: base channels, which set the width of the noise level's features.
      channel_mult: multiple of `channels` at each resolution level.
      num_res_blocks: residual blocks per level on the way down (one more on the way up).
      attention_resolutions: image heights at which every block has attention, in heads of 64 channels; blocks of fewer
        channels have none. The first block of the middle has attention at any height.
      dropout: dropout rate before the second convolution of a block.
      channel_mult_emb: width of the embedding, as a multiple of `channels`.
      num_classes: number of classes; 0: no class labels.
      augment_dim: width of the augmentation labels; 0: no such labels.
      label_dropout: probability in training that class labels become 0, for classifier-free guidance.
      learn_sigma: the network has twice the output channels, as the iDDPM preconditioning expects.
      dtype: compute dtype; parameters, norms, softmax, embedding and output stay float32.
    """

    channels: int = 192
    channel_mult: tuple[int, ...] = (1, 2, 3, 4)
    num_res_blocks: int = 3
    attention_resolutions: tuple[int, ...] = (32, 16, 8)
    dropout: float = 0.1
    channel_mult_emb: int = 4
    num_classes: int = 0
    augment_dim: int = 0
    label_dropout: float = 0.0
    learn_sigma: bool = False
    dtype: Any = None

    def conditions(self, image_shape: tuple[int, int, int]) -> DeclaredConditions:
        """The class of an example."""
        return class_label(self.num_classes)

    @nn.compact
    def __call__(
        self,
        x: Image,
        c_noise: Time,
        label: Label | None = None,
        augment_labels: Float[Array, "b _"] | None = None,
        *,
        train: bool = False,
    ) -> Resized:
        """(b, h, w, c or 2 c) for x (b, h, w, c) and c_noise (b,); h and w divisible by 2^(levels - 1).

        `label` are classes (b,) or weights of them (b, num_classes), `augment_labels` (b, augment_dim) as of the
        augmentation; none: 0.

        Raises:
          InputError: labels that the network has not, or of another width; channels that do not split into heads.
        """
        wide, out_channels = jnp.promote_types(x.dtype, jnp.float32), x.shape[-1] * (1 + self.learn_sigma)
        c_noise = c_noise.astype(wide)
        embedding = self._embed(c_noise, *class_and_augmentation(self, label, augment_labels, c_noise, train))
        blocks = blocks_in_unet(DHARIWAL, self.dropout, self.dtype, mean_down, nearest_up, embedding, train)
        widths = tuple(self.channels * mult for mult in self.channel_mult)
        h = conv(_KAIMING, x, widths[0], "conv_in", self.dtype)
        skips = walk_down(blocks, h, widths, self.num_res_blocks, self.attention_resolutions)
        h = middle(blocks, skips[-1])
        h = walk_up(blocks, h, skips, widths, self.num_res_blocks, self.attention_resolutions)
        h = nn.swish(GroupNorm(None, DHARIWAL.epsilon, name="norm_out")(h))
        return conv(DHARIWAL.last, h, out_channels, "conv_out", self.dtype).astype(wide)

    def _embed(self, c_noise: Time, classes: Float[Array, "b _"], augmentation: Float[Array, "b _"]) -> Batch:
        """The activated level embedding (b, channel_mult_emb channels)."""
        width = self.channel_mult_emb * self.channels
        h = sinusoidal_cos_first(c_noise, self.channels)
        if self.augment_dim:
            h = h + linear(_ZERO, augmentation, self.channels, "augment_embedding", use_bias=False)
        h = nn.swish(linear(_KAIMING, h, width, "embedding_1"))
        h = linear(_KAIMING, h, width, "embedding_2")
        if self.num_classes:
            h = h + linear(_CLASSES, classes, width, "class_embedding", use_bias=False)
        return nn.swish(h)
