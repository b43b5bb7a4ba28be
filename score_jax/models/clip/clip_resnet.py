"""CLIP's residual network (Radford et al. 2021, section 2.4): ResNet-D with pooling by attention.

It differs from torchvision's in a stem of three convolutions with an average pool, in average pools before convolutions
in place of strides, and in its head. Batch normalisation is that of inference and becomes part of the convolution.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from einops import rearrange
from jaxtyping import Array, Float

from score_jax.models.blocks.attention import attend
from score_jax.models.blocks.cpu_convolution import conv_general_dilated
from score_jax.models.blocks.resampling import mean_down
from score_jax.models.clip.clip_transformer import HEAD_CHANNELS
from score_jax.typing import Image, Resized

REDUCTION = 32
"""Pixels of the image, in height and width, to one that the head sees."""
_EPS = 1e-5


class Unit(nn.Module):
    """A convolution that keeps the size, without bias, and its batch normalisation.

    Attributes:
      features: output channels.
      kernel: its size in both directions, odd.
      stride: 2 halves the size.
    """

    features: int
    kernel: int = 1
    stride: int = 1

    @nn.compact
    def __call__(self, x: Image) -> Resized:
        """(b, h, w, c) to (b, h / stride, w / stride, features)."""
        size = (self.kernel, self.kernel, x.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.he_normal(), size, jnp.float32)

        def constant(name: str, value: float) -> Float[Array, "features"]:
            return self.param(name, nn.initializers.constant(value), (self.features,), jnp.float32)

        scale = constant("scale", 1.0) * jax.lax.rsqrt(constant("var", 1.0) + _EPS)
        bias = constant("bias", 0.0) - constant("mean", 0.0) * scale
        padding = [(self.kernel // 2, self.kernel // 2)] * 2
        y = conv_general_dilated(x, kernel * scale[None, None, None], (self.stride, self.stride), padding)
        return y + bias[None, None, None]


class Bottleneck(nn.Module):
    """Three convolutions, added to the input.

    Attributes:
      channels: within; four times as many leave.
      halve: the size, by average pools.
    """

    channels: int
    halve: bool

    @nn.compact
    def __call__(self, x: Image) -> Resized:
        """(b, h, w, c) to (b, h, w, 4 channels), or half of that size."""
        h = nn.relu(Unit(self.channels, name="conv_1")(x))
        h = nn.relu(Unit(self.channels, 3, name="conv_2")(h))
        h, x = (mean_down(h), mean_down(x)) if self.halve else (h, x)
        h = Unit(4 * self.channels, name="conv_3")(h)
        if self.halve or x.shape[-1] != 4 * self.channels:
            x = Unit(4 * self.channels, name="skip")(x)
        return nn.relu(h + x)


class AttentionPool(nn.Module):
    """The mean of all positions attends to them and to itself.

    Attributes:
      features: of the output.
    """

    features: int

    @nn.compact
    def __call__(self, x: Image) -> Float[Array, "b {self.features}"]:
        """Pools x (b, h, w, c) at the size it was initialised with."""
        channels = x.shape[-1]
        tokens = rearrange(x, "b h w c -> b (h w) c")
        tokens = jnp.concatenate([jnp.mean(tokens, axis=1, keepdims=True), tokens], axis=1)
        init = nn.initializers.normal(channels**-0.5)
        tokens = tokens + self.param("position", init, tokens.shape[1:], jnp.float32)[None]

        def projected(tokens: Float[Array, "b n c"], name: str) -> Float[Array, "b n _ _"]:
            return rearrange(nn.Dense(channels, name=name)(tokens), "b n (h d) -> b n h d", d=HEAD_CHANNELS)

        pooled = attend(projected(tokens[:, :1], "query"), projected(tokens, "key"), projected(tokens, "value"))
        return nn.Dense(self.features, name="out")(rearrange(pooled, "b 1 heads d -> b (heads d)"))


class ModifiedResNet(nn.Module):
    """The whole network.

    Attributes:
      image_size: height and width of its images, a multiple of 32.
      width: channels of the stem; the head has 32 times as many.
      layers: blocks at each of the four resolutions.
      features: of the output.
    """

    image_size: int
    width: int
    layers: tuple[int, ...]
    features: int

    @nn.compact
    def __call__(self, images: Image) -> Float[Array, "b {self.features}"]:
        """Features of images (b, image_size, image_size, 3)."""
        x = nn.relu(Unit(self.width // 2, 3, stride=2, name="stem_1")(images))
        x = nn.relu(Unit(self.width // 2, 3, name="stem_2")(x))
        x = mean_down(nn.relu(Unit(self.width, 3, name="stem_3")(x)))
        for level, count in enumerate(self.layers):
            for i in range(count):
                halve = level > 0 and i == 0
                x = Bottleneck(self.width * 2**level, halve, name=f"level_{level}_block_{i}")(x)
        return AttentionPool(self.features, name="pool")(x)
