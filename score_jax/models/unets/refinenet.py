"""RefineNet with a dilated ResNet, the network of NCSN and NCSNv2 (Song and Ermon 2019, appendix A; 2020, appendix B).

A trunk of residual stages goes down in resolution (or dilates instead); refine blocks go up, each joining the trunk's
activation with the block before by multi-scale fusion, then chained pooling, then residual convolution units.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from score_jax.errors import InputError
from score_jax.models.blocks.convolution import conv
from score_jax.models.blocks.resampling import mean_down
from score_jax.typing import Image, Resized, Time

Norm = Callable[[str], nn.Module]
"""Makes a norm module of this name, called as `norm(x, label)`."""


@dataclasses.dataclass(frozen=True)
class Stage:
    """Two residual blocks of the trunk, and the refine block that joins them on the way up.

    Attributes:
      name: number in the originals' names.
      mult: channels of the stage, over the base channels.
      refined_mult: channels of its refine block's output.
      down: the first block halves the resolution, or widens its view by `dilation` instead.
      dilation: of both blocks' convolutions; 1: none.
    """

    name: str
    mult: int
    refined_mult: int
    down: bool = True
    dilation: int = 1


TOPOLOGIES = {
    "plain": (
        Stage("1", 1, 1, down=False),
        Stage("2", 2, 1),
        Stage("3", 2, 2, dilation=2),
        Stage("4", 2, 2, dilation=4),
    ),
    "deeper": (
        Stage("1", 1, 1, down=False),
        Stage("2", 2, 1),
        Stage("3", 2, 2),
        Stage("4", 4, 2, dilation=2),
        Stage("5", 4, 4, dilation=4),
    ),
    "deepest": (
        Stage("1", 1, 1, down=False),
        Stage("2", 2, 1),
        Stage("3", 2, 2),
        Stage("31", 2, 2),
        Stage("4", 4, 2, dilation=2),
        Stage("5", 4, 4, dilation=4),
    ),
}
"""NCSN and NCSNv2 up to 64 pixels; NCSNv2 for 96 to 128; NCSNv2 for 256."""


def resize_align_corners(x: Image, height: int, width: int) -> Resized:
    """Bilinear resizing in which the outer pixels' centres stay in the corners."""

    def weights(size: int, new: int) -> np.ndarray:
        position = np.arange(new) * ((size - 1) / (new - 1) if new > 1 else 0.0)
        return np.maximum(0, 1 - np.abs(position[:, None] - np.arange(size)[None]))

    for axis, new in ((1, height), (2, width)):
        if x.shape[axis] != new:
            matrix = jnp.asarray(weights(x.shape[axis], new), x.dtype)
            x = jnp.moveaxis(jnp.tensordot(matrix, x, axes=(1, axis), precision=jax.lax.Precision.HIGHEST), 0, axis)
    return x


def average_pool(x: Image) -> Image:
    """5 x 5 mean with stride 1, zeros beyond the border counted."""
    return nn.avg_pool(x, (5, 5), strides=(1, 1), padding=((2, 2), (2, 2)))


def max_pool(x: Image) -> Image:
    """5 x 5 maximum with stride 1."""
    return nn.max_pool(x, (5, 5), strides=(1, 1), padding=((2, 2), (2, 2)))


@dataclasses.dataclass(frozen=True)
class Design:
    """What all blocks of a network share.

    Attributes:
      norm: of the trunk and the head.
      decoder_norm: of the refine blocks; None: they have none.
      pool: of chained pooling.
      activation: before convolutions.
      dtype: compute dtype.
    """

    norm: Norm
    decoder_norm: Norm | None
    pool: Callable[[Image], Image]
    activation: Callable[[jax.Array], jax.Array]
    dtype: Any

    def conv(
        self, x: Image, channels: int, name: str, *, kernel: int = 3, dilation: int = 1, bias: bool = True
    ) -> Resized:
        """A convolution that keeps the size."""
        layer = conv(
            x.shape[-1],
            channels,
            kernel,
            name,
            dtype=self.dtype,
            use_bias=bias,
            kernel_dilation=(dilation, dilation),
            padding=dilation * (kernel // 2),
        )
        return layer(x)


class ResidualBlock(nn.Module):
    """norm, act, conv, norm, act, conv, plus a shortcut that is learned where the block goes down.

    Attributes:
      channels: of the output.
      down: halve the resolution by means after the convolutions, or with `dilation` keep it.
      dilation: of the 3 x 3 convolutions.
      design: what all blocks share.
    """

    channels: int
    down: bool
    dilation: int
    design: Design

    @nn.compact
    def __call__(self, x: Image, label: Time) -> Resized:
        """x (b, h, w, c) to (b, h', w', channels)."""
        d, halves = self.design, self.down and self.dilation == 1
        h = d.activation(d.norm("norm_1")(x, label))
        h = d.conv(h, x.shape[-1] if self.down else self.channels, "conv_1", dilation=self.dilation)
        h = d.activation(d.norm("norm_2")(h, label))
        h = d.conv(h, self.channels, "conv_2", dilation=self.dilation)
        if halves:  # the original's mean after the 1 x 1 convolution is the mean before it, at a quarter of the work
            return d.conv(mean_down(x), self.channels, "shortcut", kernel=1) + mean_down(h)
        return (d.conv(x, self.channels, "shortcut", dilation=self.dilation) if self.down else x) + h


class RefineBlock(nn.Module):
    """Residual units of each input, their fusion at the first one's size, chained pooling, residual units.

    Attributes:
      channels: of the output.
      output_units: residual units at the end: 1, or 3 for the last block.
      design: what all blocks share.
    """

    channels: int
    output_units: int
    design: Design

    @nn.compact
    def __call__(self, inputs: list[Resized], label: Time) -> Resized:
        """Joins the inputs (b, h_i, w_i, c_i) to (b, h_0, w_0, channels)."""
        adapted = [self._units(x, 2, f"adapt_{i}", label) for i, x in enumerate(inputs)]
        h = adapted[0] if len(adapted) == 1 else self._fuse(adapted, label)
        h = self._chained_pooling(h, label)
        return self._units(h, self.output_units, "output", label)

    def _norm(self, x: Image, name: str, label: Time) -> Image:
        return x if self.design.decoder_norm is None else self.design.decoder_norm(name)(x, label)

    def _units(self, x: Image, count: int, name: str, label: Time) -> Image:
        """Residual convolution units of two convolutions each."""
        for unit in range(count):
            h = x
            for i in range(2):
                h = self.design.activation(self._norm(h, f"{name}_{unit}_{i}_norm", label))
                h = self.design.conv(h, x.shape[-1], f"{name}_{unit}_{i}_conv", bias=False)
            x = x + h
        return x

    def _fuse(self, inputs: list[Resized], label: Time) -> Resized:
        """Multi-scale fusion: the sum of convolved inputs at the size of the first."""
        height, width = inputs[0].shape[1:3]
        sized = []
        for i, x in enumerate(inputs):
            h = self.design.conv(self._norm(x, f"fuse_{i}_norm", label), self.channels, f"fuse_{i}_conv")
            sized.append(resize_align_corners(h, height, width))
        return functools.reduce(jnp.add, sized)

    def _chained_pooling(self, x: Image, label: Time) -> Image:
        """Chained residual pooling of two stages."""
        x = path = self.design.activation(x)
        for i in range(2):
            path = self.design.pool(self._norm(path, f"pool_{i}_norm", label))
            path = self.design.conv(path, self.channels, f"pool_{i}_conv", bias=False)
            x = x + path
        return x


def refinenet(design: Design, stages: tuple[Stage, ...], channels: int, x: Image, label: Time) -> Image:
    """The whole network on x (b, h, w, c) for labels (b,); call within a compact module.

    The modules are `conv_in`, `res_<stage>_<i>`, `refine_<k>`, `norm_out` and `conv_out`, with k as the originals count
    refine blocks: from the bottom up, but the one of stage 31 by that name.

    Raises:
      InputError: the size cannot be halved as often as the stages do.
    """
    divisor = 2 ** sum(stage.down and stage.dilation == 1 for stage in stages)
    if x.shape[1] % divisor or x.shape[2] % divisor:
        raise InputError(f"Images of {x.shape[1]}x{x.shape[2]} pixels: this RefineNet needs multiples of {divisor}.")
    h = design.conv(x, channels, "conv_in")
    trunk = []
    for stage in stages:
        for i, down in enumerate((stage.down, False)):
            block = ResidualBlock(stage.mult * channels, down, stage.dilation, design, name=f"res_{stage.name}_{i}")
            h = block(h, label)
        trunk.append(h)
    refined: list[Resized] = []
    for k, stage, activation in zip(refine_names(stages), reversed(stages), reversed(trunk), strict=True):
        units = 3 if stage is stages[0] else 1
        refine = RefineBlock(stage.refined_mult * channels, units, design, name=f"refine_{k}")
        refined = [refine([activation, *refined], label)]
    h = design.activation(design.norm("norm_out")(refined[0], label))
    return design.conv(h, x.shape[-1], "conv_out")


def refine_names(stages: tuple[Stage, ...]) -> list[str]:
    """The originals' numbers of the refine blocks, from the bottom of the trunk up."""
    numbers = iter(range(1, len(stages) + 1))
    return ["31" if stage.name == "31" else str(next(numbers)) for stage in reversed(stages)]
