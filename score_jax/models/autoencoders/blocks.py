"""The blocks of latent diffusion's first stages (Rombach et al. 2022; Esser et al. 2021).

Norms have epsilon 1e-6 always, and 32 groups where they are published; there is no level embedding, and nothing starts
as zero.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from einops import rearrange

from score_jax.errors import InputError
from score_jax.models.blocks.adm_blocks import linear
from score_jax.models.blocks.attention import attend
from score_jax.models.blocks.convolution import conv
from score_jax.models.blocks.normalization import GROUPS, GroupNorm
from score_jax.models.blocks.resampling import mean_down, nearest_up
from score_jax.typing import Image, Resized


def normalise(x: Image, name: str, groups: int = GROUPS) -> Image:
    """Applies group norm with a scale and a bias per channel.

    Raises:
      InputError: the channels do not split into the groups.
    """
    if x.shape[-1] % groups:
        raise InputError(
            f"An autoencoder with {x.shape[-1]} channels at a level: its norms have {groups} groups, so choose "
            f"network.channels and network.channel_mult whose products are multiples of {groups}, or other "
            "network.norm_groups."
        )
    return GroupNorm(groups, 1e-6, name=name)(x)


class ResidualBlock(nn.Module):
    """norm, swish, conv, norm, swish, conv, added to the input.

    Attributes:
      channels: of the output.
      dropout: rate before the second convolution.
      dtype: compute dtype.
      groups: of the norms.
    """

    channels: int
    dropout: float = 0.0
    dtype: Any = None
    groups: int = GROUPS

    @nn.compact
    def __call__(self, x: Image, train: bool) -> Resized:
        """x (b, h, w, c) to (b, h, w, channels)."""
        h = nn.swish(normalise(x, "norm_1", self.groups))
        h = conv(x.shape[-1], self.channels, 3, "conv_1", dtype=self.dtype)(h)
        h = nn.swish(normalise(h, "norm_2", self.groups))
        h = nn.Dropout(self.dropout, deterministic=not train)(h)
        h = conv(self.channels, self.channels, 3, "conv_2", dtype=self.dtype)(h)
        if x.shape[-1] != self.channels:
            x = conv(x.shape[-1], self.channels, 1, "skip", dtype=self.dtype)(x)
        return x + h


class Attention(nn.Module):
    """One head over all positions, added to the input; logits are divided by the root of the channels.

    Attributes:
      dtype: compute dtype.
      groups: of the norm.
    """

    dtype: Any = None
    groups: int = GROUPS

    @nn.compact
    def __call__(self, x: Image) -> Image:
        """x (b, h, w, c) plus its attention."""
        channels = x.shape[-1]
        h = normalise(x, "norm", self.groups)
        projected = (linear(channels, channels, name, self.dtype)(h) for name in ("query", "key", "value"))
        q, k, v = (rearrange(values, "b h w c -> b (h w) 1 c") for values in projected)
        return x + linear(channels, channels, "out", self.dtype)(attend(q, k, v).reshape(x.shape))


def halve(x: Image, name: str, *, with_conv: bool, dtype: Any = None) -> Resized:
    """Halves height and width: a 3 x 3 convolution with stride 2, or the mean of each 2 x 2 block.

    The convolution pads one row at the bottom and one column at the right, and none at the other sides.
    """
    if not with_conv:
        return mean_down(x)
    padding = ((0, 1), (0, 1))
    return conv(x.shape[-1], x.shape[-1], 3, name, dtype=dtype, strides=(2, 2), padding=padding)(x)


def double(x: Image, name: str, *, with_conv: bool, dtype: Any = None) -> Resized:
    """Doubles height and width by nearest neighbour, then a 3 x 3 convolution."""
    x = nearest_up(x)
    return conv(x.shape[-1], x.shape[-1], 3, name, dtype=dtype)(x) if with_conv else x


def wide(x: Image) -> Image:
    """Casts to float32, or leaves float64."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))
