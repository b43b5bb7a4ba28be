"""The first stages of latent diffusion (Rombach et al. 2022, section 3.1): images to a smaller latent and back.

One that is regularised by a KL divergence outputs the moments of a posterior (`posterior.py`), one that is regularised
by vector quantisation a latent whose vectors are replaced by the nearest of a codebook (`quantizer.py`). Both have the
encoder and the decoder of Esser et al. 2021.
"""

import dataclasses
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from score_jax.errors import InputError
from score_jax.models.autoencoders.blocks import Attention, ResidualBlock, double, halve, normalise, wide
from score_jax.models.autoencoders.posterior import Posterior, posterior_of
from score_jax.models.autoencoders.quantizer import Quantized, quantize
from score_jax.models.blocks.convolution import conv
from score_jax.models.blocks.normalization import GROUPS
from score_jax.typing import Image, KeyArray, Resized


@dataclasses.dataclass(frozen=True)
class Levels:
    """What encoder and decoder have in common; fields are those of `Autoencoder`."""

    channels: int
    channel_mult: tuple[int, ...]
    num_res_blocks: int
    attention_factors: tuple[int, ...]
    middle_attention: bool
    resample_with_conv: bool
    dropout: float
    dtype: Any
    norm_groups: int

    def _residual(self, channels: int, name: str) -> ResidualBlock:
        return ResidualBlock(channels, self.dropout, self.dtype, self.norm_groups, name=name)

    def _attention(self, name: str) -> Attention:
        return Attention(self.dtype, self.norm_groups, name=name)

    def block(self, h: Image, train: bool, level: int, way: str, i: int) -> Resized:
        """A residual block of a level, and the attention that follows it there, if any."""
        h = self._residual(self.channels * self.channel_mult[level], f"{way}_{level}_block_{i}")(h, train)
        attends = 2**level in self.attention_factors
        return self._attention(f"{way}_{level}_attention_{i}")(h) if attends else h

    def middle(self, h: Image, train: bool) -> Image:
        """Two residual blocks, with attention between them if there is any."""
        h = self._residual(h.shape[-1], "middle_block_0")(h, train)
        h = self._attention("middle_attention")(h) if self.middle_attention else h
        return self._residual(h.shape[-1], "middle_block_1")(h, train)

    def out(self, h: Image, channels: int) -> Resized:
        """The last norm and convolution."""
        h = nn.swish(normalise(h, "norm_out", self.norm_groups))
        return conv(h.shape[-1], channels, 3, "conv_out", dtype=self.dtype)(h)


class Encoder(nn.Module):
    """Images to features at the lowest level.

    Attributes:
      out_channels: of the features.
      levels: its blocks.
    """

    out_channels: int
    levels: Levels

    @nn.compact
    def __call__(self, x: Image, train: bool) -> Resized:
        """x (b, h, w, c) to (b, h / f, w / f, out_channels)."""
        c = self.levels
        h = conv(x.shape[-1], c.channels, 3, "conv_in", dtype=c.dtype)(x)
        for level in range(len(c.channel_mult)):
            for i in range(c.num_res_blocks):
                h = c.block(h, train, level, "down", i)
            if level + 1 < len(c.channel_mult):
                h = halve(h, f"down_{level}_resample", with_conv=c.resample_with_conv, dtype=c.dtype)
        return c.out(c.middle(h, train), self.out_channels)


class Decoder(nn.Module):
    """Features at the lowest level to images.

    It has one residual block more per level, and names its levels by the encoder's numbers.

    Attributes:
      out_channels: of the images.
      levels: its blocks, by the encoder's numbers.
    """

    out_channels: int
    levels: Levels

    @nn.compact
    def __call__(self, z: Image, train: bool) -> Resized:
        """z (b, h / f, w / f, c) to (b, h, w, out_channels)."""
        c = self.levels
        h = conv(z.shape[-1], c.channels * c.channel_mult[-1], 3, "conv_in", dtype=c.dtype)(z)
        h = c.middle(h, train)
        for level in reversed(range(len(c.channel_mult))):
            for i in range(c.num_res_blocks + 1):
                h = c.block(h, train, level, "up", i)
            if level:
                h = double(h, f"up_{level}_resample", with_conv=c.resample_with_conv, dtype=c.dtype)
        return c.out(h, self.out_channels)


class Autoencoder(nn.Module):
    """What both first stages have in common; use one of them.

    Attributes:
      channel_mult: multiples of `channels` for each level, halving the resolution from one to the next.
      latent_channels: between encoder and decoder, `z_channels` of the original.
      embed_channels: of the latent that a diffusion model sees, `embed_dim` of the original.
      channels: at the first level.
      num_res_blocks: per level of the encoder; the decoder has one more.
      attention_factors: downsampling factors (1, 2, 4, ...) at whose levels attention follows each block.
      middle_attention: whether the middle blocks have attention.
      image_channels: of the images.
      resample_with_conv: resample with convolutions; otherwise by the mean of 2 x 2 pixels and nearest neighbour.
      dropout: rate in residual blocks.
      dtype: compute dtype; parameters, norms, softmax and outputs stay float32.
      norm_groups: groups of channels of a norm; 32 of all published ones. Narrow levels want fewer: with one channel to
        a group, norms take out how bright and how coloured an image is.
    """

    channel_mult: tuple[int, ...]
    latent_channels: int
    embed_channels: int
    channels: int = 128
    num_res_blocks: int = 2
    attention_factors: tuple[int, ...] = ()
    middle_attention: bool = True
    image_channels: int = 3
    resample_with_conv: bool = True
    dropout: float = 0.0
    dtype: Any = None
    norm_groups: int = GROUPS
    _moments: ClassVar[int] = 1
    """Numbers that the encoder outputs for one of the latent."""

    @property
    def factor(self) -> int:
        """How many times smaller than an image its latent is, in height and in width."""
        return 2 ** (len(self.channel_mult) - 1)

    def setup(self) -> None:
        """Makes the parts."""
        levels = Levels(**{field.name: getattr(self, field.name) for field in dataclasses.fields(Levels)})
        features, embedded = self._moments * self.latent_channels, self._moments * self.embed_channels
        self.encoder = Encoder(features, levels)
        self.quant_conv = conv(features, embedded, 1, "quant_conv", dtype=self.dtype)
        self.post_quant_conv = conv(self.embed_channels, self.latent_channels, 1, "post_quant_conv", dtype=self.dtype)
        self.decoder = Decoder(self.image_channels, levels)

    def encode(self, images: Image, train: bool = False) -> Resized:
        """Encodes images (b, h, w, c) in [-1, 1] to (b, h / f, w / f, embed_channels), or twice that of a KL one.

        Raises:
          InputError: height or width is no multiple of the factor f.
        """
        if any(size % self.factor for size in images.shape[1:3]):
            size = f"{images.shape[1]} x {images.shape[2]}"
            raise InputError(f"Images of {size} for an autoencoder of factor {self.factor}: crop to a multiple of it.")
        return wide(self.quant_conv(self.encoder(images, train)))

    def decode(self, z: Image, train: bool = False) -> Resized:
        """Decodes latents (b, h / f, w / f, embed_channels) to images (b, h, w, c), as they are, not cut to [-1, 1]."""
        return wide(self.decoder(self.post_quant_conv(z), train))


class AutoencoderKL(Autoencoder):
    """The first stage with a posterior; fields are those of `Autoencoder`.

    `encode` outputs the moments: means first, then log-variances, which are not clamped yet; see `posterior`.
    """

    _moments = 2

    def posterior(self, images: Image, train: bool = False) -> Posterior:
        """Encodes images to the distribution of their latents."""
        return posterior_of(self.encode(images, train))

    def __call__(self, images: Image, train: bool = False) -> Image:
        """Reconstructs images (b, h, w, c) from the means of their latents."""
        return self.decode(self.posterior(images, train).mean, train)


class AutoencoderVQ(Autoencoder):
    """The first stage with a codebook; fields are those of `Autoencoder`, and one more.

    `encode` outputs the latent before it is quantised and `decode` does not quantise: a diffusion model lives in
    between, and its samples are decoded by `decode(quantize(z).values)`.

    Attributes:
      codebook_size: vectors in the codebook.
    """

    codebook_size: int = 8192

    def setup(self) -> None:
        """Makes the parts and the codebook."""
        super().setup()
        self.codebook = self.param("codebook", _codebook, (self.codebook_size, self.embed_channels))

    def quantize(self, z: Image, beta: float = 0.25, legacy: bool = True) -> Quantized:
        """Replaces the vectors of latents (b, h, w, embed_channels): see `quantizer.quantize`."""
        return quantize(self.codebook, z, beta=beta, legacy=legacy)

    def entries(self, indices: Int[Array, "b h w"]) -> Float[Array, "b h w c"]:
        """Looks up the vectors of codes."""
        return self.codebook[indices]

    def __call__(self, images: Image, train: bool = False) -> Image:
        """Reconstructs images (b, h, w, c) from their quantised latents."""
        return self.decode(self.quantize(self.encode(images, train)).values, train)


def _codebook(key: KeyArray, shape: tuple[int, int], dtype: Any = jnp.float32) -> Float[Array, "n c"]:
    """U(-1, 1) / n, as the original begins."""
    return jax.random.uniform(key, shape, dtype, -1 / shape[0], 1 / shape[0])
