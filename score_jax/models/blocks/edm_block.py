"""The residual block, with attention inside, that both networks of Karras et al. 2022 (EDM, arXiv 2206.00364) share."""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from einops import rearrange
from jax.nn.initializers import Initializer
from jaxtyping import Array, Float, Int

from score_jax.errors import InputError
from score_jax.models.blocks.attention import attend
from score_jax.models.blocks.cpu_convolution import conv_general_dilated
from score_jax.models.blocks.normalization import GroupNorm
from score_jax.typing import Batch, Image, KeyArray, Resized

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
      epsilon: of the norms.
      skip_scale: multiplies each sum of branches.
      adaptive_scale: the embedding scales and shifts the second norm's output, instead of being added before it.
      project_resampled: the skip of a resampling block has a 1 x 1 convolution even where channels stay.
      layer: how layers start.
      qkv: how attention's fused projection starts.
      last: how the last layer of a branch starts.
    """

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
    layer = nn.Conv(
        channels,
        (3, 3),
        kernel_init=init.kernel,
        bias_init=bias_init,
        dtype=dtype,
        conv_general_dilated=conv_general_dilated,
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


def labels_or_zeros(
    labels: Int[Array, "b"] | Float[Array, "b n"] | None, width: int, like: Batch, kind: str
) -> Float[Array, "b {width}"]:
    """The labels of a batch like `like` (b, ...), whole numbers as one-hot; or zeros, which stand for no label.

    Raises:
      InputError: labels are given to a network that has none of this kind, or of another width.
    """
    if labels is None:
        return jnp.zeros((like.shape[0], width), like.dtype)
    if width and jnp.issubdtype(labels.dtype, jnp.integer):
        return jax.nn.one_hot(labels, width, dtype=like.dtype)
    if labels.shape != (like.shape[0], width):
        expected = f"shape {(like.shape[0], width)}" if width else "none, as this network has none"
        raise InputError(f"{kind} labels of shape {labels.shape} were given; expected {expected}.")
    return labels.astype(like.dtype)


def drop_labels(key: KeyArray, labels: Float[Array, "b n"], rate: float) -> Float[Array, "b n"]:
    """Labels, each replaced by zeros with probability `rate`."""
    return jnp.where(jax.random.bernoulli(key, rate, (labels.shape[0], 1)), jnp.zeros_like(labels), labels)
