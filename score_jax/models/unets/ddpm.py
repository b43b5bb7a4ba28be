"""The UNet of DDPM (Ho et al. 2020), and its variant in score_sde with fewer attentions on the way up."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from score_jax.arrays import broadcast_right
from score_jax.models.blocks.attention import PixelAttention
from score_jax.models.blocks.embeddings import sinusoidal
from score_jax.models.blocks.initializers import fan_avg_uniform
from score_jax.models.blocks.normalization import GroupNorm
from score_jax.models.blocks.remat import remat_blocks
from score_jax.models.blocks.resampling import mean_down, nearest_up
from score_jax.models.blocks.residual import ResidualBlock, conv, strided_conv
from score_jax.models.blocks.unet_walk import UNetBlocks, followed_by, middle, walk_down, walk_up
from score_jax.models.unets.ncsnpp import sigma_of
from score_jax.processes.levels import NoiseLevels
from score_jax.typing import Batch, Image, Resized, Time

_GROUPS = 32


class DDPM(nn.Module):
    """The UNet of DDPM (Ho et al. 2020), and its variant in score_sde.

    Attributes:
      channels: channels of the first level (`ch`, `nf`).
      channel_mult: multiple of `channels` at each resolution level.
      num_res_blocks: residual blocks per level on the way down (one more on the way up).
      attention_resolutions: image heights at which there is attention (the middle always has attention).
      dropout: dropout rate before the second convolution of a block.
      attend_every_up_block: on the way up, attention follows every block (Ho et al.); otherwise only the last block of
        a level (score_sde).
      linear_scale: variance scale of the initial 1 x 1 projections: 1 in Ho et al., 0.1 in score_sde.
      resample_with_conv: resample with a convolution; otherwise only by mean and nearest neighbour.
      centered: the input is in [-1, 1]; otherwise [0, 1] is mapped to it first.
      scale_by_sigma: divide the output by sigma, the noise level of which the label is the index.
      conditional: the blocks get the embedding of the label.
      levels: the noise levels of a VE model, whose labels are indices.
      remat: kinds of blocks to recompute in the backward pass: "residual", "attention".
      dtype: compute dtype; parameters, norms, softmax, embedding and output stay float32.
    """

    channels: int
    channel_mult: tuple[int, ...]
    num_res_blocks: int
    attention_resolutions: tuple[int, ...]
    dropout: float
    attend_every_up_block: bool = True
    linear_scale: float = 1.0
    resample_with_conv: bool = True
    centered: bool = True
    scale_by_sigma: bool = False
    conditional: bool = True
    levels: NoiseLevels | None = None
    remat: tuple[str, ...] = ()
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Image, label: Time, *, train: bool = False) -> Image:
        """Output like x (b, h, w, c) for labels (b,); h and w divisible by 2^(levels - 1)."""
        wide = jnp.promote_types(x.dtype, jnp.float32)
        label = label.astype(wide)
        embedding = nn.swish(self._embed(label)) if self.conditional else None
        blocks, widths = self._blocks(embedding, train), tuple(self.channels * mult for mult in self.channel_mult)
        h = conv(self.channels, "conv_in", self.dtype)(x if self.centered else 2 * x - 1)
        skips = walk_down(blocks, h, widths, self.num_res_blocks, self.attention_resolutions)
        h = walk_up(
            blocks,
            middle(blocks, skips[-1]),
            skips,
            widths,
            self.num_res_blocks,
            self.attention_resolutions,
            attend_every_block=self.attend_every_up_block,
        )
        h = nn.swish(GroupNorm(_GROUPS, name="norm_out")(h))
        h = conv(x.shape[-1], "conv_out", self.dtype, scale=0.0)(h).astype(wide)
        return h / broadcast_right(sigma_of(label, self.levels), h) if self.scale_by_sigma else h

    def _embed(self, label: Time) -> Batch:
        h = nn.Dense(4 * self.channels, kernel_init=fan_avg_uniform(), name="embedding_1")(
            sinusoidal(label, self.channels)
        )
        return nn.Dense(4 * self.channels, kernel_init=fan_avg_uniform(), name="embedding_2")(nn.swish(h))

    def _block(self, h: Image, embedding: Batch | None, train: bool, channels: int, name: str) -> Resized:
        block = remat_blocks(self.remat, "residual", ResidualBlock, train_argument=3)(
            channels, self.dropout, nn.swish, _GROUPS, self.linear_scale, 0.0, False, None, self.dtype, name=name
        )
        return block(h, embedding, train)

    def _attend(self, h: Image, name: str) -> Image:
        block = remat_blocks(self.remat, "attention", PixelAttention)
        return block(_GROUPS, self.linear_scale, 0.0, False, self.dtype, name=name)(h)

    def _blocks(self, embedding: Batch | None, train: bool) -> UNetBlocks:
        def halve(h: Image, name: str) -> Resized:
            return strided_conv(h.shape[-1], name, self.dtype)(h) if self.resample_with_conv else mean_down(h)

        def double(h: Image, name: str) -> Resized:
            h = nearest_up(h)
            return conv(h.shape[-1], name, self.dtype)(h) if self.resample_with_conv else h

        def residual(h: Image, channels: int, name: str) -> Resized:
            return self._block(h, embedding, train, channels, name)

        return UNetBlocks(followed_by(residual, self._attend), halve, double)
