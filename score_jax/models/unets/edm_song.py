"""SongUNet: DDPM++ and NCSN++ as reimplemented for EDM (Karras et al. 2022, arXiv 2206.00364, appendix F.2).

DDPM++ ("VP"): the defaults. NCSN++ ("VE"): embedding="fourier", channel_mult_noise=2, encoder="residual",
resample_filter=(1, 3, 3, 1). It differs from Song et al.'s NCSN++ in its level embedding and in where attention is.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from score_jax.errors import InputError
from score_jax.models.blocks.edm_block import Design, Init, blocks_in_unet, conv, linear
from score_jax.models.blocks.edm_labels import Label, class_and_augmentation
from score_jax.models.blocks.embeddings import RandomFourier, sinusoidal
from score_jax.models.blocks.initializers import fan_avg_uniform
from score_jax.models.blocks.normalization import GroupNorm
from score_jax.models.blocks.resampling import fir_down, fir_filter, fir_up
from score_jax.models.blocks.unet_walk import UNetBlocks, middle, walk_down, walk_up
from score_jax.models.choices import check_choices
from score_jax.models.conditions import DeclaredConditions, class_label
from score_jax.typing import Batch, Image, Resized, Time

_CHOICES = {
    "embedding": ("positional", "fourier"),
    "encoder": ("standard", "skip", "residual"),
    "decoder": ("standard", "skip"),
}


def _xavier(gain: float) -> Init:
    """Xavier uniform times `gain`, biases 0."""
    return Init(fan_avg_uniform(gain**2), lambda fan_in: nn.initializers.zeros)


SONG = Design(
    heads=lambda channels: 1,
    epsilon=1e-6,
    skip_scale=0.5**0.5,
    adaptive_scale=False,
    project_resampled=True,
    layer=_xavier(1.0),
    qkv=_xavier(0.2**0.5),
    last=_xavier(1e-5),
)


class SongUNet(nn.Module):
    """The UNet SongUNet of EDM: DDPM++ or NCSN++ as the raw network F of a preconditioning (Karras et al. 2022).

    Attributes:
      channels: channels of the first level.
      channel_mult: multiple of `channels` at each resolution level.
      num_res_blocks: residual blocks per level on the way down (one more on the way up).
      attention_resolutions: image heights at which blocks have attention: every block on the way down, the last one on
        the way up. The first block of the middle always has it.
      dropout: dropout rate before the second convolution of a block.
      embedding: kind of the embedding of c_noise: "positional" or "fourier".
      encoder: "skip" adds the projected, halved image to each level, "residual" adds a learned pyramid, "standard" adds
        nothing.
      decoder: "skip" sums images of all levels; "standard" does not.
      resample_filter: taps of the FIR filter that halves and doubles the size; their number is even.
      channel_mult_emb: width of the embedding, as a multiple of `channels`.
      channel_mult_noise: width of the features of the noise level, as a multiple of `channels`.
      num_classes: number of classes; 0: no class labels.
      augment_dim: width of the augmentation labels; 0: no such labels.
      label_dropout: probability in training that class labels become 0, for classifier-free guidance.
      learn_sigma: the network has twice the output channels, as the iDDPM preconditioning expects.
      dtype: compute dtype; parameters, norms, softmax, embedding and output stay float32.

    Raises:
      InputError: a choice is unknown, or the filter's number of taps is odd.
    """

    channels: int = 128
    channel_mult: tuple[int, ...] = (1, 2, 2, 2)
    num_res_blocks: int = 4
    attention_resolutions: tuple[int, ...] = (16,)
    dropout: float = 0.1
    embedding: str = "positional"
    encoder: str = "standard"
    decoder: str = "standard"
    resample_filter: tuple[float, ...] = (1.0, 1.0)
    channel_mult_emb: int = 4
    channel_mult_noise: int = 1
    num_classes: int = 0
    augment_dim: int = 0
    label_dropout: float = 0.0
    learn_sigma: bool = False
    dtype: Any = None

    def __post_init__(self) -> None:
        check_choices(self, _CHOICES)
        if len(self.resample_filter) % 2:
            raise InputError(
                f"network.resample_filter has {len(self.resample_filter)} taps: an odd number cannot double a size. "
                "Give an even number, such as (1, 1) or (1, 3, 3, 1)."
            )
        super().__post_init__()

    def conditions(self, image_shape: tuple[int, int, int]) -> DeclaredConditions:
        """The class of an example."""
        return class_label(self.num_classes)

    @nn.compact
    def __call__(
        self,
        x: Image,
        c_noise: Time,
        label: Label | None = None,
        augment_labels: Float[Array, "b _"] | None = None,
        *,
        train: bool = False,
    ) -> Resized:
        """(b, h, w, c or 2 c) for x (b, h, w, c) and c_noise (b,); h and w divisible by 2^(levels - 1).

        `label` are classes (b,) or weights of them (b, num_classes), `augment_labels` (b, augment_dim) as of the
        augmentation; none: 0.

        Raises:
          InputError: labels that the network has not, or of another width.
        """
        wide = jnp.promote_types(x.dtype, jnp.float32)
        c_noise = c_noise.astype(wide)
        embedding = self._embed(c_noise, *class_and_augmentation(self, label, augment_labels, c_noise, train))
        blocks = blocks_in_unet(SONG, self.dropout, self.dtype, self._down, self._up, embedding, train)
        skips = self._encode(blocks, x)
        return self._decode(blocks, skips, x.shape[-1] * (1 + self.learn_sigma)).astype(wide)

    def _embed(self, c_noise: Time, classes: Float[Array, "b _"], augmentation: Float[Array, "b _"]) -> Batch:
        """The activated level embedding (b, channel_mult_emb channels)."""
        noise_width, width = self.channel_mult_noise * self.channels, self.channel_mult_emb * self.channels
        if self.embedding == "fourier":
            h = RandomFourier(noise_width // 2, 16.0, name="fourier")(c_noise)
        else:
            h = sinusoidal(c_noise, noise_width)
        if self.num_classes:
            h = h + linear(SONG.layer, classes * self.num_classes**0.5, noise_width, "class_embedding")
        if self.augment_dim:
            h = h + linear(SONG.layer, augmentation, noise_width, "augment_embedding", use_bias=False)
        h = nn.swish(linear(SONG.layer, h, width, "embedding_1"))
        return nn.swish(linear(SONG.layer, h, width, "embedding_2"))

    def _down(self, x: Image) -> Resized:
        # The original's doubling convolves with the filter, its halving correlates.
        return fir_down(x, self.resample_filter[::-1])

    def _up(self, x: Image) -> Resized:
        return fir_up(x, self.resample_filter)

    def _down_conv(self, x: Image, channels: int, name: str) -> Resized:
        """Halving by the filter and a learned convolution, padded once for both."""
        half = len(self.resample_filter) // 2
        x = fir_filter(x, self.resample_filter[::-1], (half, half))
        return conv(SONG.layer, x, channels, name, self.dtype, strides=(2, 2), padding="VALID")

    def _join_input(self, pyramid: Resized, h: Image, level: int) -> tuple[Resized, Resized]:
        """The halved input pyramid, and h joined with it."""
        name, channels = f"down_{level}_pyramid", h.shape[-1]
        if self.encoder == "skip":
            pyramid = self._down(pyramid)
            return pyramid, h + linear(SONG.layer, pyramid, channels, name, self.dtype)
        if self.encoder == "residual":
            h = (h + self._down_conv(pyramid, channels, name)) / 2**0.5
            return h, h
        return pyramid, h

    def _encode(self, blocks: UNetBlocks, x: Image) -> list[Resized]:
        """The skips, from the input's resolution to the lowest."""
        pyramid = x

        def joined(h: Resized, level: int) -> Resized:
            nonlocal pyramid
            pyramid, h = self._join_input(pyramid, h, level)
            return h

        h = conv(SONG.layer, x, self.channels, "conv_in", self.dtype)
        return walk_down(blocks, h, self._widths, self.num_res_blocks, self.attention_resolutions, joined)

    @property
    def _widths(self) -> tuple[int, ...]:
        return tuple(self.channels * mult for mult in self.channel_mult)

    def _join_output(self, image: Resized | None, h: Image, channels: int, level: int) -> Resized:
        """This level's image, plus the doubled one of the level below if there is any."""
        h = nn.swish(GroupNorm(None, SONG.epsilon, name=f"norm_out_{level}")(h))
        h = conv(SONG.last, h, channels, f"conv_out_{level}", self.dtype)
        return h if image is None else self._up(image) + h

    def _decode(self, blocks: UNetBlocks, skips: list[Resized], channels: int) -> Resized:
        """The middle, and the way up over the skips, to an image."""
        image = None

        def joined(h: Resized, level: int) -> Resized:
            nonlocal image
            image = self._join_output(image, h, channels, level) if self.decoder == "skip" else None
            return h

        h = walk_up(
            blocks,
            middle(blocks, skips[-1]),
            skips,
            self._widths,
            self.num_res_blocks,
            self.attention_resolutions,
            attend_every_block=False,
            finished=joined,
        )
        return self._join_output(image, h, channels, 0)
