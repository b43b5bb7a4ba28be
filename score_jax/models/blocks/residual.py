"""The residual block of the DDPM family: Ho et al. 2020, and with resampling inside (BigGAN's) Song et al. 2021."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax

from score_jax.models.blocks.cpu_convolution import Conv
from score_jax.models.blocks.initializers import fan_avg_uniform
from score_jax.models.blocks.normalization import GroupNorm
from score_jax.typing import Batch, Image, Resized

Resample = Callable[[Image], Resized]


def conv(channels: int, name: str, dtype: Any, *, scale: float = 1.0, kernel: int = 3, **kwargs: Any) -> nn.Conv:
    """A convolution that keeps the size, initialised as in DDPM with this variance `scale`."""
    return Conv(
        channels,
        (kernel, kernel),
        kernel_init=fan_avg_uniform(scale),
        dtype=dtype,
        name=name,
        **kwargs,
    )


def strided_conv(channels: int, name: str, dtype: Any) -> nn.Conv:
    """3 x 3 with stride 2, padded at the bottom and right only: TensorFlow's SAME at even sizes."""
    return conv(channels, name, dtype, strides=(2, 2), padding=((0, 1), (0, 1)))


class ResidualBlock(nn.Module):
    """norm, act, [resample], conv, + level embedding, norm, act, dropout, conv; added to the (resampled) input.

    Attributes:
      channels: of the output.
      dropout: rate before the second convolution.
      activation: between norm and convolution.
      groups: of the norms, as in `GroupNorm`.
      skip_scale: variance scale of the initial 1 x 1 projection of the input, where channels or size change.
      init_scale: of the second convolution; 0 starts the block as identity.
      skip_rescale: divide the sum by sqrt 2.
      resample: acts on both branches before their convolutions.
      dtype: compute dtype.
    """

    channels: int
    dropout: float
    activation: Callable[[jax.Array], jax.Array]
    groups: int | None
    skip_scale: float
    init_scale: float
    skip_rescale: bool
    resample: Resample | None = None
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Image, embedding: Batch | None, train: bool) -> Resized:
        """x (b, h, w, c) and the activated level embedding (b, d), if any, to (b, h', w', channels)."""
        h = self.activation(GroupNorm(self.groups, name="norm_1")(x))
        if self.resample is not None:
            h, x = self.resample(h), self.resample(x)
        h = conv(self.channels, "conv_1", self.dtype)(h)
        if embedding is not None:
            shift = nn.Dense(self.channels, kernel_init=fan_avg_uniform(), dtype=self.dtype, name="embedding")
            h = h + shift(embedding)[:, None, None, :]
        h = self.activation(GroupNorm(self.groups, name="norm_2")(h))
        h = nn.Dropout(self.dropout, deterministic=not train)(h)
        h = conv(self.channels, "conv_2", self.dtype, scale=self.init_scale)(h)
        if self.resample is not None or x.shape[-1] != self.channels:
            x = nn.Dense(self.channels, kernel_init=fan_avg_uniform(self.skip_scale), dtype=self.dtype, name="skip")(x)
        return (x + h) / 2**0.5 if self.skip_rescale else x + h
