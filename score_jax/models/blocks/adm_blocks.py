"""The blocks of improved diffusion (Nichol and Dhariwal 2021) and ADM (Dhariwal and Nichol 2021).

Norms have epsilon 1e-5 and 32 groups always.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from einops import rearrange
from jaxtyping import Array, Bool, Float, Int

from score_jax.errors import InputError, unknown_name
from score_jax.models.blocks.attention import attend
from score_jax.models.blocks.convolution import conv
from score_jax.models.blocks.embeddings import sinusoidal_cos_first
from score_jax.models.blocks.initializers import bias_uniform, fan_in_uniform
from score_jax.models.blocks.normalization import GROUPS, GroupNorm
from score_jax.models.blocks.remat import remat_blocks
from score_jax.models.blocks.resampling import mean_down, nearest_up
from score_jax.models.blocks.unet_walk import UNetBlocks, followed_by, middle, walk_down, walk_up
from score_jax.typing import Batch, Image, Resized, Time

QKV_LAYOUTS = {"legacy": "(heads qkv d)", "new": "(qkv heads d)"}
"""Order of the 3 C channels of a fused projection: of the released models, and of the 64 x 64 ADM."""


def norm(name: str, groups: int = GROUPS) -> GroupNorm:
    """Group norm as in PyTorch's default."""
    return GroupNorm(groups, 1e-5, name=name)


def linear(in_features: int, features: int, name: str, dtype: Any = None) -> nn.Dense:
    """A linear layer with PyTorch's initialisation."""
    return nn.Dense(
        features, kernel_init=fan_in_uniform(1 / 3), bias_init=bias_uniform(in_features), dtype=dtype, name=name
    )


class ResidualBlock(nn.Module):
    """norm, SiLU, [resample], conv; level embedding by shift, or by scale and shift after the norm; norm, SiLU, conv.

    Attributes:
      channels: of the output.
      dropout: rate before the second convolution.
      scale_shift_norm: the embedding scales and shifts the second norm's output, instead of being added before it.
      resample: acts on both branches before their convolutions.
      dtype: compute dtype.
      groups: of the norms.
    """

    channels: int
    dropout: float
    scale_shift_norm: bool
    resample: Callable[[Image], Resized] | None = None
    dtype: Any = None
    groups: int = GROUPS

    @nn.compact
    def __call__(self, x: Image, embedding: Batch, train: bool) -> Resized:
        """x (b, h, w, c) and the activated level embedding (b, d) to (b, h', w', channels)."""
        h = nn.swish(norm("norm_1", self.groups)(x))
        if self.resample is not None:
            h, x = self.resample(h), self.resample(x)
        h = conv(h.shape[-1], self.channels, 3, "conv_1", dtype=self.dtype)(h)
        width = 2 * self.channels if self.scale_shift_norm else self.channels
        shift = linear(embedding.shape[-1], width, "embedding")(embedding)[:, None, None, :]
        if self.scale_shift_norm:
            scale, shift = jnp.split(shift, 2, axis=-1)
            h = norm("norm_2", self.groups)(h) * (1 + scale) + shift
        else:
            h = norm("norm_2", self.groups)(h + shift)
        h = nn.Dropout(self.dropout, deterministic=not train)(nn.swish(h))
        h = conv(self.channels, self.channels, 3, "conv_2", dtype=self.dtype, zero=True)(h)
        if x.shape[-1] != self.channels:
            x = conv(x.shape[-1], self.channels, 1, "skip", dtype=self.dtype)(x)
        return x + h


class Attention(nn.Module):
    """Multi-head self-attention over the pixels, added to the input.

    With a context, its tokens' keys and values stand before those of the pixels, in one softmax (GLIDE, Nichol et al.
    2022, section 2.3; unCLIP).

    Attributes:
      heads: how many.
      qkv_layout: key of `QKV_LAYOUTS`.
      dtype: compute dtype.
      groups: of the norm.
    """

    heads: int
    qkv_layout: str
    dtype: Any = None
    groups: int = GROUPS

    @nn.compact
    def __call__(
        self,
        x: Image,
        context: Float[Array, "b m _"] | None = None,
        keep: Bool[Array, "b m"] | None = None,
    ) -> Image:
        """x (b, h, w, c) plus its attention to itself, and to those tokens of the context that `keep` says (all)."""
        channels = x.shape[-1]
        h = norm("norm", self.groups)(x).reshape(x.shape[0], -1, channels)
        q, k, v = split_fused(linear(channels, 3 * channels, "qkv", self.dtype)(h), self.heads, self.qkv_layout)
        mask = None
        if context is not None:
            of_context = linear(context.shape[-1], 2 * channels, "context_kv", self.dtype)(context)
            keys, values = split_fused(of_context, self.heads, self.qkv_layout, parts=2)
            k, v = (jnp.concatenate(pair, axis=1) for pair in ((keys, k), (values, v)))
            if keep is not None:
                mask = jnp.pad(keep, ((0, 0), (0, h.shape[1])), constant_values=True)[:, None, None]
                mask = jnp.broadcast_to(mask, (len(x), 1, h.shape[1], mask.shape[-1]))
        h = rearrange(attend(q, k, v, mask), "b n heads d -> b n (heads d)")
        out = nn.Dense(channels, kernel_init=nn.initializers.zeros, dtype=self.dtype, name="out")(h)
        return x + out.reshape(x.shape)


def split_fused(
    projected: Float[Array, "b n _"], heads: int, layout: str, parts: int = 3
) -> Float[Array, "{parts} b n {heads} _"]:
    """Queries, keys and values, or keys and values, of one projection in a layout of `QKV_LAYOUTS`."""
    return rearrange(projected, f"b n {QKV_LAYOUTS[layout]} -> qkv b n heads d", qkv=parts, heads=heads)


def attend_fused(qkv: Float[Array, "b n c3"], heads: int, layout: str) -> Float[Array, "b n _"]:
    """Attention of fused queries, keys and values, in a layout of `QKV_LAYOUTS`."""
    return rearrange(attend(*split_fused(qkv, heads, layout)), "b n heads d -> b n (heads d)")


@dataclasses.dataclass(frozen=True)
class Blocks:
    """What the blocks of a network have in common, and how to make them; fields are those of the networks.

    Raises:
      InputError: the layout of queries, keys and values is unknown, or channels do not split into heads.
    """

    dropout: float
    scale_shift_norm: bool
    resblock_updown: bool
    resample_with_conv: bool
    num_heads: int
    num_head_channels: int | None
    qkv_layout: str
    remat: tuple[str, ...]
    dtype: Any
    norm_groups: int = GROUPS

    def __post_init__(self) -> None:
        if self.qkv_layout not in QKV_LAYOUTS:
            raise unknown_name("network.qkv_layout", self.qkv_layout, QKV_LAYOUTS)

    def residual(
        self,
        h: Image,
        embedding: Batch,
        train: bool,
        channels: int,
        name: str,
        resample: Callable[[Image], Resized] | None = None,
    ) -> Resized:
        """A residual block to `channels`."""
        block = remat_blocks(self.remat, "residual", ResidualBlock, train_argument=3)
        own = (channels, self.dropout, self.scale_shift_norm, resample, self.dtype, self.norm_groups)
        return block(*own, name=name)(h, embedding, train)

    def heads(self, channels: int) -> int:
        """How many heads so many channels split into."""
        heads = self.num_heads if self.num_head_channels is None else channels // self.num_head_channels
        if heads < 1 or channels % heads or (self.num_head_channels or 1) * heads > channels:
            raise InputError(
                f"{channels} channels do not split into heads (network.num_heads={self.num_heads}, "
                f"network.num_head_channels={self.num_head_channels}): choose a divisor."
            )
        return heads

    def attention(
        self,
        h: Image,
        name: str,
        context: Float[Array, "b m _"] | None = None,
        keep: Bool[Array, "b m"] | None = None,
    ) -> Image:
        """An attention block with these heads, over the pixels and over a context, if there is one."""
        block = remat_blocks(self.remat, "attention", Attention)
        own = (self.heads(h.shape[-1]), self.qkv_layout, self.dtype, self.norm_groups)
        return block(*own, name=name)(h, context, keep)

    def halve(self, h: Image, embedding: Batch, train: bool, name: str) -> Resized:
        """To half the resolution, at the same channels."""
        if self.resblock_updown:
            return self.residual(h, embedding, train, h.shape[-1], name, mean_down)
        if not self.resample_with_conv:
            return mean_down(h)
        return conv(h.shape[-1], h.shape[-1], 3, name, dtype=self.dtype, strides=(2, 2))(h)

    def double(self, h: Image, embedding: Batch, train: bool, name: str) -> Resized:
        """To twice the resolution, at the same channels."""
        if self.resblock_updown:
            return self.residual(h, embedding, train, h.shape[-1], name, nearest_up)
        h = nearest_up(h)
        return conv(h.shape[-1], h.shape[-1], 3, name, dtype=self.dtype)(h) if self.resample_with_conv else h

    def in_unet(self, embedding: Batch, train: bool, attend: Callable[[Image, str], Image] | None = None) -> UNetBlocks:
        """The blocks of a UNet with this activated level embedding (b, d).

        Args:
          embedding: what the residual blocks are given.
          train: whether dropout acts.
          attend: in the place of self-attention, such as one that sees a context too.
        """

        def residual(h: Image, channels: int, name: str) -> Resized:
            return self.residual(h, embedding, train, channels, name)

        return UNetBlocks(
            block=followed_by(residual, self.attention if attend is None else attend),
            halve=lambda h, name: self.halve(h, embedding, train, name),
            double=lambda h, name: self.double(h, embedding, train, name),
        )


def blocks_of(network: nn.Module) -> Blocks:
    """From a network's fields of the same names; `norm_groups` need not be one of them."""
    names = (field.name for field in dataclasses.fields(Blocks))
    return Blocks(**{name: getattr(network, name) for name in names if hasattr(network, name)})


def check_conditions(**conditions: tuple[bool, bool]) -> None:
    """Compares the conditions that a network is given with those that it has.

    Args:
      **conditions: by name, whether it is given and whether the network has it.

    Raises:
      InputError: one that the network has is missing, or one that it has not is given.
    """
    for name, (given, expected) in conditions.items():
        if given != expected:
            raise InputError(f"This network takes {'a' if expected else 'no'} condition {name!r}.")


def embed(label: Time, channels: int) -> Batch:
    """The level embedding (b, 4 channels), before its activation."""
    h = linear(channels, 4 * channels, "embedding_1")(sinusoidal_cos_first(label, channels))
    return linear(4 * channels, 4 * channels, "embedding_2")(nn.swish(h))


def embed_with_class(
    time_label: Time, label: Int[Array, "b"] | None, channels: int, num_classes: int | None
) -> Float[Array, "b _"]:
    """The activated level embedding (b, 4 channels), to which that of the class is added where there are classes."""
    embedding = embed(time_label, channels)
    if label is not None and num_classes is not None:
        normal = nn.initializers.normal(1.0)
        embedding = embedding + nn.Embed(num_classes, 4 * channels, embedding_init=normal, name="class_embedding")(
            label
        )
    return nn.swish(embedding)


def heights_at(factors: tuple[int, ...], height: int, levels: int) -> tuple[int, ...]:
    """The heights of a UNet's levels that are smaller than its input's by one of these factors."""
    return tuple(height // 2**level for level in range(levels) if 2**level in factors)


def through_unet(
    down: UNetBlocks,
    up: UNetBlocks,
    x: Image,
    widths: tuple[int, ...],
    num_res_blocks: int,
    attention_resolutions: tuple[int, ...],
    out_channels: int,
    dtype: Any,
    norm_groups: int = GROUPS,
    middle_attention: bool = True,
) -> Resized:
    """From the input x (b, h, w, c) to the output (b, h, w, out_channels), with the blocks of both ways.

    Args:
      down: the blocks of the way down and of the middle.
      up: the blocks of the way up.
      x: what the network sees.
      widths: channels of each level.
      num_res_blocks: of a level on the way down.
      attention_resolutions: heights with attention.
      out_channels: of the output.
      dtype: compute dtype.
      norm_groups: of the norm before the output.
      middle_attention: whether there is attention between the middle's two blocks.
    """
    h = conv(x.shape[-1], widths[0], 3, "conv_in", dtype=dtype)(x)
    skips = walk_down(down, h, widths, num_res_blocks, attention_resolutions)
    h = middle(down, skips[-1], attends=middle_attention)
    h = walk_up(up, h, skips, widths, num_res_blocks, attention_resolutions)
    h = nn.swish(norm("norm_out", norm_groups)(h))
    return conv(h.shape[-1], out_channels, 3, "conv_out", dtype=dtype, zero=True)(h)
