"""NCSN++ and DDPM++, the UNets of Song et al. 2021 (arXiv 2011.13456, section 4.4 and appendix H).

NCSN++ (VE, CIFAR-10):   fir=True,  progressive_input="residual",   embedding="fourier", scale_by_sigma=True
NCSN++ (VE, 256, 1024):  the same with progressive_input="input_skip", progressive="output_skip"
DDPM++ (VP, sub-VP):     fir=False, progressive_input="none",       embedding="positional"
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from score_jax.arrays import broadcast_right
from score_jax.errors import InputError
from score_jax.models.blocks.activations import ACTIVATIONS
from score_jax.models.blocks.attention import PixelAttention
from score_jax.models.blocks.embeddings import RandomFourier, sinusoidal
from score_jax.models.blocks.initializers import fan_avg_uniform
from score_jax.models.blocks.normalization import GroupNorm
from score_jax.models.blocks.remat import remat_blocks
from score_jax.models.blocks.resampling import fir_down, fir_filter, fir_up, mean_down, nearest_up
from score_jax.models.blocks.residual import Resample, ResidualBlock, conv, strided_conv
from score_jax.models.blocks.unet_walk import UNetBlocks, followed_by, middle, walk_down
from score_jax.models.choices import check_choices
from score_jax.processes.levels import NoiseLevels
from score_jax.typing import Batch, Image, Resized, Time

_CHOICES = {
    "embedding": ("positional", "fourier"),
    "resblock": ("biggan", "ddpm"),
    "progressive": ("none", "output_skip", "residual"),
    "progressive_input": ("none", "input_skip", "residual"),
    "progressive_combine": ("sum", "cat"),
    "activation": tuple(ACTIVATIONS),
}


class NCSNpp(nn.Module):
    """The UNet NCSN++, and DDPM++ (Song et al. 2021). The keys are the `model` keys of the original configs.

    Attributes:
      channels: channels of the first level (`nf`).
      channel_mult: multiple of `channels` at each resolution level.
      num_res_blocks: residual blocks per level on the way down (one more on the way up).
      attention_resolutions: image heights at which attention follows each block (the middle always has attention).
      dropout: dropout rate before the second convolution of a block.
      embedding: "positional" embeds the label, "fourier" embeds the logarithm of the label.
      fourier_scale: standard deviation of the Fourier frequencies.
      fir: resample with the filter `fir_taps`, instead of the mean (down) and the nearest neighbour (up).
      progressive_input: "input_skip" adds the halved image to each level, "residual" adds a learned pyramid, "none"
        adds nothing.
      progressive: "output_skip": the output is a sum of images of all levels; "residual": a learned pyramid; "none": it
        comes from the last level.
      progressive_combine: how "input_skip" joins a level: "sum", or "cat", which doubles its channels.
      resblock: "biggan" resamples inside of residual blocks, "ddpm" resamples by layers between the levels.
      resample_with_conv: the layers that resample between the levels are convolutions.
      scale_by_sigma: divide the output by sigma. Sigma is the label, or on a chain the noise level of that index.
      centered: the input is in [-1, 1]; otherwise [0, 1] is mapped to it first.
      conditional: the blocks get the embedding of the label.
      levels: the noise levels of a discrete model whose labels are indices.
      activation: of `ACTIVATIONS`.
      init_scale: scale of the last layer of every block and of the network; 0 starts each block as identity.
      skip_rescale: divide sums of branches by sqrt 2.
      remat: kinds of blocks to recompute in the backward pass: "residual", "attention".
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
    scale_by_sigma: bool
    centered: bool
    progressive: str = "none"
    progressive_combine: str = "sum"
    resblock: str = "biggan"
    resample_with_conv: bool = True
    conditional: bool = True
    levels: NoiseLevels | None = None
    activation: str = "swish"
    fir_taps: tuple[int | float, ...] = (1.0, 3.0, 3.0, 1.0)
    init_scale: float = 0.0
    skip_rescale: bool = True
    remat: tuple[str, ...] = ()
    dtype: Any = None

    def __post_init__(self) -> None:
        check_choices(self, _CHOICES)
        learned_up = self.progressive == "residual" or (self.resblock == "ddpm" and self.resample_with_conv)
        if self.fir and learned_up:
            raise InputError(
                "network.fir=True knows no learned doubling, which network.progressive='residual' and "
                "network.resblock='ddpm' with resample_with_conv need: no published model has it. Set fir=False."
            )
        super().__post_init__()

    @nn.compact
    def __call__(self, x: Image, label: Time, *, train: bool = False) -> Image:
        """Output like x (b, h, w, c) for labels (b,); h and w divisible by 2^(levels - 1)."""
        wide = jnp.promote_types(x.dtype, jnp.float32)
        label = label.astype(wide)
        embedding = self._act(self._embed(label)) if self.conditional else None
        x = x if self.centered else 2 * x - 1
        blocks = self._blocks(embedding, train)
        skips = self._encode(blocks, x)
        h = self._decode(blocks, middle(blocks, skips[-1]), skips, x.shape[-1]).astype(wide)
        return h / broadcast_right(sigma_of(label, self.levels), h) if self.scale_by_sigma else h

    @property
    def _act(self) -> Callable[[jax.Array], jax.Array]:
        return ACTIVATIONS[self.activation]

    def _embed(self, label: Time) -> Batch:
        if self.embedding == "fourier":
            h = RandomFourier(self.channels, self.fourier_scale, name="fourier")(jnp.log(label))
        else:
            h = sinusoidal(label, self.channels)
        h = nn.Dense(4 * self.channels, kernel_init=fan_avg_uniform(), name="embedding_1")(h)
        return nn.Dense(4 * self.channels, kernel_init=fan_avg_uniform(), name="embedding_2")(self._act(h))

    def _block(
        self,
        h: Image,
        embedding: Batch | None,
        train: bool,
        channels: int,
        name: str,
        resample: Resample | None = None,
    ) -> Resized:
        block = remat_blocks(self.remat, "residual", ResidualBlock, train_argument=3)(
            channels,
            self.dropout,
            self._act,
            None,
            0.1 if self.resblock == "ddpm" else 1.0,
            self.init_scale,
            self.skip_rescale,
            resample,
            self.dtype,
            name=name,
        )
        return block(h, embedding, train)

    def _attend(self, h: Image, name: str) -> Image:
        block = remat_blocks(self.remat, "attention", PixelAttention)
        return block(None, 0.1, self.init_scale, self.skip_rescale, self.dtype, name=name)(h)

    def _down(self, x: Image) -> Resized:
        return fir_down(x, self.fir_taps) if self.fir else mean_down(x)

    def _up(self, x: Image) -> Resized:
        return fir_up(x, self.fir_taps) if self.fir else nearest_up(x)

    def _down_conv(self, x: Image, channels: int, name: str) -> Resized:
        """Halving by a learned convolution, after the FIR filter where there is one."""
        if not self.fir:
            return strided_conv(channels, name, self.dtype)(x)
        excess = len(self.fir_taps)  # of filter and kernel together, over the stride
        x = fir_filter(x, self.fir_taps, ((excess + 1) // 2, excess // 2))
        return conv(channels, name, self.dtype, strides=(2, 2), padding="VALID")(x)

    def _up_conv(self, x: Image, channels: int, name: str) -> Resized:
        """Doubling by nearest neighbour and a convolution."""
        return conv(channels, name, self.dtype)(nearest_up(x))

    def _average(self, a: Resized, b: Resized) -> Resized:
        return (a + b) / 2**0.5 if self.skip_rescale else a + b

    def _blocks(self, embedding: Batch | None, train: bool) -> UNetBlocks:
        def residual(h: Image, channels: int, name: str) -> Resized:
            return self._block(h, embedding, train, channels, name)

        return UNetBlocks(
            block=followed_by(residual, self._attend),
            halve=lambda h, name: self._halve(h, embedding, train, name),
            double=lambda h, name: self._double(h, embedding, train, name),
        )

    def _halve(self, h: Image, embedding: Batch | None, train: bool, name: str) -> Resized:
        """From one level to the next lower resolution."""
        if self.resblock == "biggan":
            return self._block(h, embedding, train, h.shape[-1], name, self._down)
        return self._down_conv(h, h.shape[-1], name) if self.resample_with_conv else self._down(h)

    def _double(self, h: Image, embedding: Batch | None, train: bool, name: str) -> Resized:
        """From one level to the next higher resolution."""
        if self.resblock == "biggan":
            return self._block(h, embedding, train, h.shape[-1], name, self._up)
        return self._up_conv(h, h.shape[-1], name) if self.resample_with_conv else self._up(h)

    def _join_input(self, pyramid: Resized, h: Image, level: int) -> tuple[Resized, Resized]:
        """The halved input pyramid, and h joined with it."""
        name = f"down_{level}_pyramid"
        if self.progressive_input == "residual":
            joined = self._average(self._down_conv(pyramid, h.shape[-1], name), h)
            return joined, joined
        pyramid = self._down(pyramid)
        projected = conv(h.shape[-1], name, self.dtype, kernel=1)(pyramid)
        return pyramid, h + projected if self.progressive_combine == "sum" else jnp.concatenate([projected, h], -1)

    def _encode(self, blocks: UNetBlocks, x: Image) -> list[Resized]:
        """The skips, from the input's resolution to the lowest."""
        pyramid = x

        def joined(h: Resized, level: int) -> Resized:
            nonlocal pyramid
            if self.progressive_input != "none":
                pyramid, h = self._join_input(pyramid, h, level)
            return h

        h = conv(self.channels, "conv_in", self.dtype)(x)
        return walk_down(blocks, h, self._widths, self.num_res_blocks, self.attention_resolutions, joined)

    @property
    def _widths(self) -> tuple[int, ...]:
        return tuple(self.channels * mult for mult in self.channel_mult)

    def _head(self, h: Image, channels: int, suffix: str, scale: float) -> Resized:
        h = self._act(GroupNorm(name=f"norm_{suffix}")(h))
        return conv(channels, f"conv_{suffix}", self.dtype, scale=scale)(h)

    def _join_output(
        self, pyramid: Resized | None, h: Image, channels: int, level: int
    ) -> tuple[Resized | None, Resized]:
        """The output pyramid at this level, starting from None, and what the decoder goes on with."""
        if self.progressive == "none":
            return None, h
        name = f"pyramid_{level}"
        if self.progressive == "output_skip":
            image = self._head(h, channels, name, self.init_scale)
            return (image if pyramid is None else self._up(pyramid) + image), h
        if pyramid is None:
            return self._head(h, h.shape[-1], name, 1.0), h
        joined = self._average(self._up_conv(pyramid, h.shape[-1], f"up_{level}_pyramid"), h)
        return joined, joined

    def _decode(self, blocks: UNetBlocks, h: Image, skips: list[Resized], channels: int) -> Resized:
        """The way up over the skips, to the image; attention once a level, before what is joined to the output."""
        pyramid = None
        for level, width in reversed(list(enumerate(self._widths))):
            for i in range(self.num_res_blocks + 1):
                attends = h.shape[1] in self.attention_resolutions and i == self.num_res_blocks
                h = jnp.concatenate([h, skips.pop()], axis=-1)
                h = blocks.block(h, width, f"up_{level}_block_{i}", f"up_{level}_attention" if attends else None)
            pyramid, h = self._join_output(pyramid, h, channels, level)
            if level > 0:
                h = blocks.double(h, f"up_{level}_resample")
        if pyramid is not None and self.progressive == "output_skip":
            return pyramid
        return self._head(h, channels, "out", self.init_scale)


def sigma_of(label: Time, levels: NoiseLevels | None) -> Time:
    """The noise level (b,) that a label stands for: itself, or the level of that index."""
    if levels is None:
        return label
    return jnp.asarray(levels.sigmas, label.dtype)[label.astype(jnp.int32)]
