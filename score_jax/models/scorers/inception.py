"""The network behind FID: Inception-v3 of the TensorFlow graph of 2015-12-05, as it was run (Szegedy et al. 2015).

It differs from torchvision's in its 1008 classes, in average pools that do not count the padding, and in a maximum pool
in the last block. Batch normalisation is that of inference and becomes part of the convolution. Names are those of
the published ports.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from score_jax.models.blocks.cpu_convolution import conv_general_dilated

_EPS = 1e-3
CLASSES = 1008
SPATIAL = 7
"""Channels of a map that sFID compares."""
Maps = Float[Array, "b _ _ _"]


class Unit(nn.Module):
    """Parameters of convolution and batch normalisation.

    Attributes:
      features: output channels.
      size: of the kernel.
    """

    features: int
    size: tuple[int, int] = (1, 1)

    @nn.compact
    def folded(self, channels: int) -> tuple[Float[Array, "h w i o"], Float[Array, "o"]]:
        """Kernel and bias of the two as one convolution of `channels` channels."""
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (*self.size, channels, self.features))
        shape, ones, zeros = (self.features,), nn.initializers.ones, nn.initializers.zeros
        scale = self.param("scale", ones, shape) * jax.lax.rsqrt(self.param("var", ones, shape) + _EPS)
        return kernel * scale[None, None, None], self.param("bias", zeros, shape) - self.param(
            "mean", zeros, shape
        ) * scale


def convolved(unit: Unit, x: Maps, stride: int = 1, padding: str | Sequence[tuple[int, int]] = "SAME") -> Maps:
    """One convolution with its activation; "SAME" pads by half of the (odd) kernel on each side, the stride being 1."""
    kernel, bias = unit.folded(x.shape[-1])
    y = conv_general_dilated(x, kernel, (stride, stride), padding)
    return nn.relu(y + bias[None, None, None])


def _chain(units: Sequence[Unit], x: Maps) -> Maps:
    for unit in units:
        x = convolved(unit, x)
    return x


def _pointwise(units: Sequence[Unit], x: Maps) -> list[Maps]:
    """1 x 1 convolutions of one input, without activations: one product of matrices."""
    folded = [unit.folded(x.shape[-1]) for unit in units]
    kernel = jnp.concatenate([kernel[0, 0] for kernel, _ in folded], axis=1)
    y = x @ kernel + jnp.concatenate([bias for _, bias in folded])[None, None, None]
    places = [sum(unit.features for unit in units[: i + 1]) for i in range(len(units) - 1)]
    return jnp.split(y, places, axis=-1)


def _average(x: Maps) -> Maps:
    """3 x 3, stride 1, over the pixels that there are."""
    return nn.avg_pool(x, (3, 3), (1, 1), "SAME", count_include_pad=False)


def _maximum(x: Maps, stride: int = 2) -> Maps:
    """3 x 3; with stride 1 the size stays."""
    return nn.max_pool(x, (3, 3), (stride, stride), "VALID" if stride == 2 else "SAME")


def _joined(*branches: Maps) -> Maps:
    return jnp.concatenate(branches, axis=-1)


class BlockA(nn.Module):
    """Mixed_5b to 5d.

    Attributes:
      pool_features: channels of the pooled branch.
    """

    pool_features: int

    @nn.compact
    def __call__(self, x: Maps) -> Maps:
        """Same size."""
        # The average and a 1 x 1 convolution commute, and the latter leaves fewer channels to average.
        branch1x1, branch5x5, branch3x3dbl, pooled = _pointwise(
            [
                Unit(64, name="branch1x1"),
                Unit(48, name="branch5x5_1"),
                Unit(64, name="branch3x3dbl_1"),
                Unit(self.pool_features, name="branch_pool"),
            ],
            x,
        )
        branch5x5 = convolved(Unit(64, (5, 5), name="branch5x5_2"), nn.relu(branch5x5))
        units = [Unit(96, (3, 3), name=f"branch3x3dbl_{i}") for i in (2, 3)]
        branch3x3dbl = _chain(units, nn.relu(branch3x3dbl))
        return _joined(nn.relu(branch1x1), branch5x5, branch3x3dbl, nn.relu(_average(pooled)))


class BlockB(nn.Module):
    """Mixed_6a: to half the size."""

    @nn.compact
    def __call__(self, x: Maps) -> Maps:
        """(b, h, w, c) to (b, (h - 1) / 2, (w - 1) / 2, 480 + c)."""
        branch3x3 = convolved(Unit(384, (3, 3), name="branch3x3"), x, 2, "VALID")
        (dbl,) = _pointwise([Unit(64, name="branch3x3dbl_1")], x)
        dbl = convolved(Unit(96, (3, 3), name="branch3x3dbl_2"), nn.relu(dbl))
        dbl = convolved(Unit(96, (3, 3), name="branch3x3dbl_3"), dbl, 2, "VALID")
        return _joined(branch3x3, dbl, _maximum(x))


class BlockC(nn.Module):
    """Mixed_6b to 6e.

    Attributes:
      channels_7x7: within the branches of 7 x 7.
    """

    channels_7x7: int

    @nn.compact
    def __call__(self, x: Maps) -> Maps:
        """Same size; the first 192 channels are branch1x1."""
        c7 = self.channels_7x7
        branch1x1, branch7x7, dbl, pooled = _pointwise(
            [
                Unit(192, name="branch1x1"),
                Unit(c7, name="branch7x7_1"),
                Unit(c7, name="branch7x7dbl_1"),
                Unit(192, name="branch_pool"),
            ],
            x,
        )
        branch7x7 = _chain(
            [Unit(c7, (1, 7), name="branch7x7_2"), Unit(192, (7, 1), name="branch7x7_3")], nn.relu(branch7x7)
        )
        widths, sizes = (c7, c7, c7, 192), ((7, 1), (1, 7), (7, 1), (1, 7))
        dbl = _chain(
            [Unit(*how, name=f"branch7x7dbl_{i + 2}") for i, how in enumerate(zip(widths, sizes, strict=True))],
            nn.relu(dbl),
        )
        return _joined(nn.relu(branch1x1), branch7x7, dbl, nn.relu(_average(pooled)))


class BlockD(nn.Module):
    """Mixed_7a: to half the size."""

    @nn.compact
    def __call__(self, x: Maps) -> Maps:
        """(b, h, w, c) to (b, (h - 1) / 2, (w - 1) / 2, 512 + c)."""
        branch3x3, branch7x7x3 = _pointwise([Unit(192, name="branch3x3_1"), Unit(192, name="branch7x7x3_1")], x)
        branch3x3 = convolved(Unit(320, (3, 3), name="branch3x3_2"), nn.relu(branch3x3), 2, "VALID")
        units = [Unit(192, (1, 7), name="branch7x7x3_2"), Unit(192, (7, 1), name="branch7x7x3_3")]
        branch7x7x3 = _chain(units, nn.relu(branch7x7x3))
        branch7x7x3 = convolved(Unit(192, (3, 3), name="branch7x7x3_4"), branch7x7x3, 2, "VALID")
        return _joined(branch3x3, branch7x7x3, _maximum(x))


class BlockE(nn.Module):
    """Mixed_7b and 7c.

    Attributes:
      pool: of the pooled branch: "average" in the first, "maximum" in the second, an oddity of the graph.
    """

    pool: Literal["average", "maximum"]

    @nn.compact
    def __call__(self, x: Maps) -> Maps:
        """Same size, 2048 channels."""
        units = [Unit(320, name="branch1x1"), Unit(384, name="branch3x3_1"), Unit(448, name="branch3x3dbl_1")]
        pool_unit = Unit(192, name="branch_pool")
        if self.pool == "average":
            branch1x1, branch3x3, dbl, pooled = _pointwise([*units, pool_unit], x)
            pooled = _average(pooled)
        else:
            branch1x1, branch3x3, dbl = _pointwise(units, x)
            (pooled,) = _pointwise([pool_unit], _maximum(x, 1))

        def forked(x: Maps, name: str) -> list[Maps]:
            return [convolved(Unit(384, size, name=name + end), x) for end, size in (("a", (1, 3)), ("b", (3, 1)))]

        branch3x3 = _joined(*forked(nn.relu(branch3x3), "branch3x3_2"))
        dbl = convolved(Unit(384, (3, 3), name="branch3x3dbl_2"), nn.relu(dbl))
        dbl = _joined(*forked(dbl, "branch3x3dbl_3"))
        return _joined(nn.relu(branch1x1), branch3x3, dbl, nn.relu(pooled))


class FIDInception(nn.Module):
    """The whole network."""

    @nn.compact
    def __call__(self, x: Float[Array, "b 299 299 3"]) -> dict[str, Array]:
        """Images, normalised as their protocol has it, to every layer's output by its name, and to

        "pool3": (b, 2048), what FID compares.
        "spatial": (b, 17, 17, 7), what sFID compares: the beginning of Mixed_6d.branch1x1.
        "logits_unbiased", "logits": (b, 1008), without and with the bias of the last layer.
        """
        layers: dict[str, Array] = {}

        def basic(name: str, x: Maps, features: int, size: int, stride: int = 1, padding="VALID") -> Maps:
            layers[name] = convolved(Unit(features, (size, size), name=name), x, stride, padding)
            return layers[name]

        x = basic("Conv2d_1a_3x3", x, 32, 3, 2)
        x = basic("Conv2d_2a_3x3", x, 32, 3)
        x = _maximum(basic("Conv2d_2b_3x3", x, 64, 3, 1, "SAME"))
        x = basic("Conv2d_3b_1x1", x, 80, 1)
        x = _maximum(basic("Conv2d_4a_3x3", x, 192, 3))
        for name, block in _BLOCKS.items():
            x = layers[name] = block(name=name)(x)
        pool3 = x.mean(axis=(1, 2))
        kernel = self.param("fc_kernel", nn.initializers.lecun_normal(), (pool3.shape[-1], CLASSES))
        unbiased = pool3 @ kernel
        return layers | {
            "pool3": pool3,
            "spatial": layers["Mixed_6d"][..., :SPATIAL],
            "logits_unbiased": unbiased,
            "logits": unbiased + self.param("fc_bias", nn.initializers.zeros, (CLASSES,))[None],
        }


_BLOCKS: dict[str, Callable[..., nn.Module]] = {
    "Mixed_5b": functools.partial(BlockA, 32),
    "Mixed_5c": functools.partial(BlockA, 64),
    "Mixed_5d": functools.partial(BlockA, 64),
    "Mixed_6a": BlockB,
    "Mixed_6b": functools.partial(BlockC, 128),
    "Mixed_6c": functools.partial(BlockC, 160),
    "Mixed_6d": functools.partial(BlockC, 160),
    "Mixed_6e": functools.partial(BlockC, 192),
    "Mixed_7a": BlockD,
    "Mixed_7b": functools.partial(BlockE, "average"),
    "Mixed_7c": functools.partial(BlockE, "maximum"),
}
