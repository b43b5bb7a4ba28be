"""The image network of Sohl-Dickstein et al. 2015 (appendix D.2): convolutions at many scales, and temporal bumps.

    x -> [multi-scale convolution]* -> joined with [dense layers of x]* -> [1 x 1 convolution]* -> y (2 J per channel)
    z = sum_j y_j g_j(t)

Nothing below the readout knows the time. The result is a pair (z, s) for `prediction.kernels.normal_reverse`.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from einops import reduce, repeat
from jaxtyping import Array

from score_jax.errors import InputError
from score_jax.models.blocks.cpu_convolution import conv_general_dilated
from score_jax.models.unets.dpm2015 import temporal_bumps
from score_jax.typing import Image, Resized, Time


def _conv(features: int, size: tuple[int, int], name: str, **kwargs: Any) -> nn.Conv:
    return nn.Conv(features, size, conv_general_dilated=conv_general_dilated, name=name, **kwargs)


class MultiScaleConvolution(nn.Module):
    """Means over 2^k x 2^k blocks, a convolution of each, all brought back to full size and summed (figure D.1).

    Attributes:
      features: channels of the sum.
      scales: of k from 0.
      kernel_size: of each convolution.
      activation: of the sum, once; the softplus in the paper.
    """

    features: int
    scales: int = 3
    kernel_size: int = 3
    activation: Callable[[Array], Array] = nn.softplus

    @nn.compact
    def __call__(self, x: Image) -> Resized:
        """(b, h, w, features)."""
        total = jnp.zeros((*x.shape[:3], self.features), x.dtype)
        size = (self.kernel_size, self.kernel_size)
        for k in range(self.scales):
            small = reduce(x, "b (h p) (w q) c -> b h w c", "mean", p=2**k, q=2**k)
            # One bias serves all scales: their sum would be the same function.
            small = _conv(self.features, size, f"scale_{k}", use_bias=k == 0)(small)
            total = total + repeat(small, "b h w c -> b (h p) (w q) c", p=2**k, q=2**k)
        return self.activation(total / self.scales**0.5)


class MultiScaleNetwork(nn.Module):
    """The network of 2015 for images: multi-scale convolutions beside dense layers, and a readout that varies with t.

    The outputs of both paths go through 1 x 1 convolutions to the readout.

    Attributes:
      num_levels: T, the number of levels.
      features: channels of each multi-scale layer; (): only the dense layers, as for MNIST.
      dense: widths of the dense layers; (): no dense layers, as for textures.
      dense_outputs: values per pixel that the dense layers give.
      upper: channels of the 1 x 1 convolutions.
      scales: number of scales of each multi-scale layer; h and w are multiples of 2^(scales - 1).
      bumps: J, the number of temporal bumps of the readout.
      bump_width: width of the temporal bumps.
    """

    num_levels: int
    features: tuple[int, ...] = (20, 20, 20)
    dense: tuple[int, ...] = ()
    dense_outputs: int = 2
    upper: tuple[int, ...] = (20, 20)
    scales: int = 3
    bumps: int = 10
    bump_width: float = 1.0

    @nn.compact
    def __call__(self, x: Image, t: Time) -> tuple[Image, Image]:
        """z and s, each like x (b, h, w, c), at levels t (b,).

        Raises:
          InputError: the size of x is no multiple of its coarsest block.
        """
        batch, height, width, channels = x.shape
        block = 2 ** (self.scales - 1)
        if self.features and (height % block or width % block):
            raise InputError(f"{self.scales} scales need images of a multiple of {block}, not {height} x {width}.")
        paths = []
        if self.features:
            hidden = x
            for i, features in enumerate(self.features):
                hidden = MultiScaleConvolution(features, self.scales, name=f"multiscale_{i}")(hidden)
            paths.append(hidden)
        if self.dense:
            hidden = x.reshape(batch, -1)
            for i, features in enumerate((*self.dense, height * width * self.dense_outputs)):
                hidden = jnp.tanh(nn.Dense(features, name=f"dense_{i}")(hidden))
            paths.append(hidden.reshape(batch, height, width, self.dense_outputs))
        hidden = jnp.concatenate(paths, axis=-1)
        for i, features in enumerate(self.upper):
            hidden = jnp.tanh(_conv(features, (1, 1), f"upper_{i}")(hidden))
        outputs = channels * 2 * self.bumps
        readout = _conv(outputs, (1, 1), "readout", kernel_init=nn.initializers.zeros)(hidden)
        weights = temporal_bumps(t, self.num_levels, self.bumps, self.bump_width)
        both = jnp.einsum("bhwckj,bj->kbhwc", readout.reshape(batch, height, width, channels, 2, self.bumps), weights)
        return both[0], both[1]
