"""The residual block, with attention inside, that both networks of Karras et al. 2022 (EDM, arXiv 2206.00364) share."""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from einops import rearrange
from jax.nn.initializers import Initializer

from score_jax.models.blocks.attention import attend
from score_jax.models.blocks.cpu_convolution import Conv
from score_jax.models.blocks.normalization import GroupNorm
from score_jax.models.blocks.unet_walk import UNetBlocks
from score_jax.typing import Batch, Image, Resized

Resample = Callable[[Image], Resized]


@dataclasses.dataclass(frozen=True)
class Init:
    """How a layer starts.

    Attributes:
      kernel: its weights.
      bias: its bias, given the fan in.
    """

    kernel: Initializer
    bias: Callable[[int], Initializer]


@dataclasses.dataclass(frozen=True)
class Design:
    """What the blocks of the two networks differ in.

    Attributes:
      heads: `heads(channels)`: of the attention in a block of so many channels; 0: none.
      epsilon: of the norms.
      skip_scale: multiplies each sum of branches.
      adaptive_scale: the embedding scales and shifts the second norm's output, instead of being added before it.
      project_resampled: the skip of a resampling block has a 1 x 1 convolution even where channels stay.
      layer: how layers start.
      qkv: how attention's fused projection starts.
      last: how the last layer of a branch starts.
    """

    heads: Callable[[int], int]
    epsilon: float
    skip_scale: float
    adaptive_scale: bool
    project_resampled: bool
    layer: Init
    qkv: Init
    last: Init


def conv(init: Init, x: Image, channels: int, name: str, dtype: Any, **kwargs: Any) -> Resized:
    """A 3 x 3 convolution of x; kwargs are those of `nn.Conv`."""
    bias_init = init.bias(9 * x.shape[-1])
    layer = Conv(
        channels,
        (3, 3),
        kernel_init=init.kernel,
        bias_init=bias_init,
        dtype=dtype,
        name=name,
        **kwargs,
    )
    return layer(x)


def linear(init: Init, x: Batch, features: int, name: str, dtype: Any = None, use_bias: bool = True) -> Batch:
    """A linear layer on the last axis of x: of images, a 1 x 1 convolution."""
    bias_init = init.bias(x.shape[-1])
    return nn.Dense(features, use_bias=use_bias, kernel_init=init.kernel, bias_init=bias_init, dtype=dtype, name=name)(
        x
    )


class UNetBlock(nn.Module):
    """norm, SiLU, [resample], conv, level embedding, norm, SiLU, dropout, conv; plus the input; then attention.

    Attributes:
      channels: of the output.
      heads: of the attention; 0: none.
      dropout: rate before the second convolution.
      design: which of the networks it belongs to.
      resample: acts on both branches before their convolutions.
      dtype: compute dtype.
    """

    channels: int
    heads: int
    dropout: float
    design: Design
    resample: Resample | None = None
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Image, embedding: Batch, train: bool) -> Resized:
        """x (b, h, w, c) and the activated level embedding (b, d) to (b, h', w', channels)."""
        design = self.design
        h = nn.swish(self._norm("norm_1")(x))
        if self.resample is not None:
            h, x = self.resample(h), self.resample(x)
        h = conv(design.layer, h, self.channels, "conv_1", self.dtype)
        width = 2 * self.channels if design.adaptive_scale else self.channels
        shift = linear(design.layer, embedding, width, "embedding")[:, None, None, :].astype(h.dtype)
        if design.adaptive_scale:
            scale, shift = jnp.split(shift, 2, axis=-1)
            h = self._norm("norm_2")(h) * (1 + scale) + shift
        else:
            h = self._norm("norm_2")(h + shift)
        h = nn.Dropout(self.dropout, deterministic=not train)(nn.swish(h))
        h = conv(design.last, h, self.channels, "conv_2", self.dtype)
        if x.shape[-1] != self.channels or (self.resample is not None and design.project_resampled):
            x = linear(design.layer, x, self.channels, "skip", self.dtype)
        h = (x + h) * design.skip_scale
        return self._attend(h) if self.heads else h

    def _norm(self, name: str) -> GroupNorm:
        return GroupNorm(None, self.design.epsilon, name=name)

    def _attend(self, x: Image) -> Image:
        """x plus its attention; queries, keys and values alternate within the channels of a head."""
        channels = x.shape[-1]
        h = self._norm("norm_3")(x).reshape(x.shape[0], -1, channels)
        qkv = linear(self.design.qkv, h, 3 * channels, "qkv", self.dtype)
        q, k, v = rearrange(qkv, "b n (heads d qkv) -> qkv b n heads d", heads=self.heads, qkv=3)
        h = rearrange(attend(q, k, v), "b n heads d -> b n (heads d)")
        h = linear(self.design.last, h, channels, "out", self.dtype)
        return (x + h.reshape(x.shape)) * self.design.skip_scale


def blocks_in_unet(
    design: Design, dropout: float, dtype: Any, down: Resample, up: Resample, embedding: Batch, train: bool
) -> UNetBlocks:
    """The blocks of a UNet, with attention within.

    Args:
      design: of the network.
      dropout: rate before the second convolution.
      dtype: compute dtype.
      down: halves the resolution, in both branches of a block.
      up: doubles it.
      embedding: the activated level embedding (b, d).
      train: whether dropout acts.
    """

    def block(h: Image, channels: int, name: str, attention: str | None, resample: Resample | None = None) -> Resized:
        heads = 0 if attention is None else design.heads(channels)
        return UNetBlock(channels, heads, dropout, design, resample, dtype, name=name)(h, embedding, train)

    return UNetBlocks(
        block,
        halve=lambda h, name: block(h, h.shape[-1], name, None, down),
        double=lambda h, name: block(h, h.shape[-1], name, None, up),
    )
