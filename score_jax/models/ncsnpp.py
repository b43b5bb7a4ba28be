"""NCSN++ and DDPM++, the UNets of Song et al. 2021 (arXiv 2011.13456, section 4.4 and appendix H).

    NCSN++ (VE):       fir=True,  progressive_input="residual", embedding="fourier", scale_by_label=True
    DDPM++ (VP, sub-VP): fir=False, progressive_input="none",     embedding="positional"

Both are made of BigGAN residual blocks. Of the published options, these are the ones that the CIFAR-10 models use.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from score_jax.arrays import broadcast_right
from score_jax.models.attention import PixelAttention
from score_jax.models.embeddings import RandomFourier, sinusoidal
from score_jax.models.initializers import fan_avg_uniform
from score_jax.models.normalization import GroupNorm
from score_jax.models.resampling import fir_down, fir_filter, fir_up, mean_down, nearest_up
from score_jax.typing import Batch, Image, Resized, Time

Resample = Callable[[Image], Resized]


def _conv(channels: int, name: str, dtype: Any, *, scale: float = 1.0, kernel: int = 3, **kwargs) -> nn.Conv:
    return nn.Conv(channels, (kernel, kernel), kernel_init=fan_avg_uniform(scale), dtype=dtype, name=name, **kwargs)


class ResidualBlock(nn.Module):
    """BigGAN residual block; `resample` acts on both branches before their convolutions."""

    channels: int
    dropout: float
    init_scale: float
    skip_rescale: bool
    resample: Resample | None = None
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Image, embedding: Batch, *, train: bool) -> Resized:
        """x (b, h, w, c) and the activated level embedding (b, d) to (b, h', w', channels)."""
        h = nn.swish(GroupNorm(name="norm_1")(x))
        if self.resample is not None:
            h, x = self.resample(h), self.resample(x)
        h = _conv(self.channels, "conv_1", self.dtype)(h)
        shift = nn.Dense(self.channels, kernel_init=fan_avg_uniform(), dtype=self.dtype, name="embedding")(embedding)
        h = nn.swish(GroupNorm(name="norm_2")(h + shift[:, None, None, :]))
        h = nn.Dropout(self.dropout, deterministic=not train)(h)
        h = _conv(self.channels, "conv_2", self.dtype, scale=self.init_scale)(h)
        if self.resample is not None or x.shape[-1] != self.channels:
            x = _conv(self.channels, "skip", self.dtype, kernel=1)(x)
        return (x + h) / 2**0.5 if self.skip_rescale else x + h


class NCSNpp(nn.Module):
    """The UNet; fields are the `model` keys of the original configs.

    Attributes:
      channels: channels of the first level (`nf`).
      channel_mult: multiple of `channels` at each resolution level.
      num_res_blocks: residual blocks per level on the way down (one more on the way up).
      attention_resolutions: heights at which blocks are followed by attention (the middle always is).
      dropout: rate before the second convolution of a block.
      embedding: "positional" (of the label) or "fourier" (of its logarithm).
      fourier_scale: standard deviation of the Fourier frequencies.
      fir: resample with the FIR filter instead of mean and nearest neighbour.
      progressive_input: "residual" feeds a down-filtered input pyramid to each level; "none" does not.
      scale_by_label: divide the output by the label, for labels that are sigma.
      centered: the input is in [-1, 1]; otherwise [0, 1] is mapped to it first.
      init_scale: scale of the last layer of every block and of the network; 0 starts each block as identity.
      dtype: compute dtype; parameters, norms, softmax, embedding and output stay float32.
    """

    channels: int
    channel_mult: tuple[int, ...]
    num_res_blocks: int
    attention_resolutions: tuple[int, ...]
    dropout: float
    embedding: str
    fourier_scale: float
    fir: bool
    progressive_input: str
    scale_by_label: bool
    centered: bool
    init_scale: float = 0.0
    skip_rescale: bool = True
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Image, label: Time, *, train: bool = False) -> Image:
        """Output like x (b, h, w, c) for labels (b,); h and w divisible by 2^(levels - 1)."""
        out_channels, wide = x.shape[-1], jnp.promote_types(x.dtype, jnp.float32)
        embedding = nn.swish(self._embed(label.astype(wide)))
        x = x if self.centered else 2 * x - 1
        down, up = (fir_down, fir_up) if self.fir else (mean_down, nearest_up)
        h = self._decode(self._encode(x, embedding, down, train), embedding, up, train)
        h = nn.swish(GroupNorm(name="norm_out")(h))
        h = _conv(out_channels, "conv_out", self.dtype, scale=self.init_scale)(h).astype(wide)
        return h / broadcast_right(label.astype(wide), h) if self.scale_by_label else h

    def _embed(self, label: Time) -> Batch:
        if self.embedding == "fourier":
            h = RandomFourier(self.channels, self.fourier_scale, name="fourier")(jnp.log(label))
        else:
            h = sinusoidal(label, self.channels)
        h = nn.Dense(4 * self.channels, kernel_init=fan_avg_uniform(), name="embedding_1")(h)
        return nn.Dense(4 * self.channels, kernel_init=fan_avg_uniform(), name="embedding_2")(nn.swish(h))

    def _block(
        self,
        h: Image,
        embedding: Batch,
        train: bool,
        channels: int,
        name: str,
        resample: Resample | None = None,
    ) -> Resized:
        block = ResidualBlock(
            channels, self.dropout, self.init_scale, self.skip_rescale, resample, self.dtype, name=name
        )
        return block(h, embedding, train=train)

    def _attend(self, h: Image, name: str) -> Image:
        return PixelAttention(self.init_scale, self.skip_rescale, self.dtype, name=name)(h)

    def _pyramid(self, pyramid: Resized, h: Image, name: str) -> Image:
        """The input pyramid, halved by a strided convolution to the channels of h, and averaged with h."""
        pad = "VALID" if self.fir else ((0, 1), (0, 1))
        smooth = fir_filter(pyramid, (2, 2), 1) if self.fir else pyramid
        pyramid = _conv(h.shape[-1], name, self.dtype, strides=(2, 2), padding=pad)(smooth)
        return (pyramid + h) / 2**0.5

    def _encode(self, x: Image, embedding: Batch, down: Resample, train: bool) -> list[Resized]:
        """The skips, from the input's resolution to the lowest."""
        pyramid = x
        h = _conv(self.channels, "conv_in", self.dtype)(x)
        skips = [h]
        for level, mult in enumerate(self.channel_mult):
            for i in range(self.num_res_blocks):
                h = self._block(h, embedding, train, self.channels * mult, f"down_{level}_block_{i}")
                if h.shape[1] in self.attention_resolutions:
                    h = self._attend(h, f"down_{level}_attention_{i}")
                skips.append(h)
            if level < len(self.channel_mult) - 1:
                h = self._block(h, embedding, train, h.shape[-1], f"down_{level}_resample", down)
                if self.progressive_input == "residual":
                    h = pyramid = self._pyramid(pyramid, h, f"down_{level}_pyramid")
                skips.append(h)
        return skips

    def _decode(self, skips: list[Resized], embedding: Batch, up: Resample, train: bool) -> Resized:
        """The middle of the UNet, then the way up over the skips."""
        h = skips[-1]
        h = self._block(h, embedding, train, h.shape[-1], "middle_block_0")
        h = self._attend(h, "middle_attention")
        h = self._block(h, embedding, train, h.shape[-1], "middle_block_1")
        for level, mult in reversed(list(enumerate(self.channel_mult))):
            for i in range(self.num_res_blocks + 1):
                h = jnp.concatenate([h, skips.pop()], axis=-1)
                h = self._block(h, embedding, train, self.channels * mult, f"up_{level}_block_{i}")
            if h.shape[1] in self.attention_resolutions:
                h = self._attend(h, f"up_{level}_attention")
            if level > 0:
                h = self._block(h, embedding, train, h.shape[-1], f"up_{level}_resample", up)
        return h
