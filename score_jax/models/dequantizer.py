"""What is known of the noise between two levels of an image, for variational dequantisation (Ho et al. 2019)."""

import flax.linen as nn
import jax.numpy as jnp

from score_jax.models.blocks.convolution import conv
from score_jax.typing import Image

_LARGEST_LOG_SCALE = 3.0


class Dequantizer(nn.Module):
    """A few residual convolutions, at first without effect.

    Attributes:
      channels: width.
      num_blocks: residual blocks.
    """

    channels: int = 32
    num_blocks: int = 2

    @nn.compact
    def __call__(self, x: Image) -> tuple[Image, Image]:
        """Location and log scale of the noise's logit, of images x (b, h, w, c) in the model's range.

        Both begin at 0, which stands for uniform noise.
        """
        h = conv(x.shape[-1], self.channels, 3, "input")(x)
        for i in range(self.num_blocks):
            change = conv(self.channels, self.channels, 3, f"block_{i}_0")(nn.silu(h))
            h = h + conv(self.channels, self.channels, 3, f"block_{i}_1", zero=True)(nn.silu(change))
        location, log_scale = jnp.split(conv(self.channels, 2 * x.shape[-1], 3, "output", zero=True)(nn.silu(h)), 2, -1)
        return location, _LARGEST_LOG_SCALE * jnp.tanh(log_scale / _LARGEST_LOG_SCALE)
