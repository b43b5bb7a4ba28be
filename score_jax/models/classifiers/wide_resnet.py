"""The noise-conditional classifier of Song et al. 2021 (section 5): Wide ResNet 28-10 on noisy CIFAR-10 images."""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from einops import reduce
from jaxtyping import Array, Float, Real

from score_jax.models.blocks.cpu_convolution import Conv
from score_jax.models.blocks.embeddings import RandomFourier
from score_jax.models.blocks.normalization import GroupNorm
from score_jax.models.blocks.resampling import mean_down
from score_jax.typing import Batch, Image, KeyArray, Resized

CIFAR10_MEAN = (0.49139968, 0.48215841, 0.44653091)
CIFAR10_STD = (0.24703223, 0.24348513, 0.26158784)
EMBEDDING_DIM = 128


def _conv(channels: int, name: str, dtype: Any, stride: int = 1) -> nn.Conv:
    kernel_init = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
    return Conv(
        channels,
        (3, 3),
        (stride, stride),
        use_bias=False,
        kernel_init=kernel_init,
        dtype=dtype,
        name=name,
    )


def _norm_relu(x: Image, name: str) -> Image:
    return nn.relu(GroupNorm(epsilon=1e-5, name=name)(x))


def _standardized(x: Image) -> Image:
    """Each image with mean 0 and variance 1 over all its values; the divisor is at least N^(-1/2)."""
    x = x - jnp.mean(x, axis=(1, 2, 3), keepdims=True)
    variance = jnp.mean(jnp.square(x), axis=(1, 2, 3), keepdims=True)
    return x / jnp.sqrt(jnp.maximum(variance, 1 / math.prod(x.shape[1:])))


def _logits_init(key: KeyArray, shape: tuple[int, int], dtype=jnp.float32) -> Array:
    bound = shape[1] ** -0.5
    return jax.random.uniform(key, shape, dtype, -bound, bound)


class WideResidualBlock(nn.Module):
    """norm, ReLU, conv, + level embedding, norm, ReLU, conv; added to the input, averaged and padded to its shape.

    Attributes:
      channels: of the output.
      stride: 2 halves the resolution.
      activate_input: what is added is the input after the first norm and ReLU.
      dtype: compute dtype.
    """

    channels: int
    stride: int
    activate_input: bool
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Image, embedding: Batch) -> Resized:
        """x (b, h, w, c) and the activated level embedding (b, d) to (b, h', w', channels)."""
        h = _norm_relu(x, "norm_1")
        x = h if self.activate_input else x
        h = _conv(self.channels, "conv_1", self.dtype, self.stride)(h)
        h = h + nn.Dense(self.channels, dtype=self.dtype, name="embedding")(embedding)[:, None, None, :]
        h = _conv(self.channels, "conv_2", self.dtype)(_norm_relu(h, "norm_2"))
        x = mean_down(x) if self.stride == 2 else x
        return h + jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, self.channels - x.shape[-1])))


class WideResNet(nn.Module):
    """The classifier of Song et al. 2021, a Wide ResNet: logits of the class of a noisy image at its noise level.

    Attributes:
      num_classes: number of classes.
      blocks_per_group: residual blocks at each of the three resolutions; 4 make 28 layers.
      widen_factor: multiple of 16, 32 and 64 channels.
      dtype: compute dtype; parameters, norms, embedding and logits stay float32.
    """

    num_classes: int = 10
    blocks_per_group: int = 4
    widen_factor: int = 10
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Image, label: Real[Array, "b"], *, train: bool = False) -> Float[Array, "b k"]:
        """Logits (b, num_classes) of RGB images x = x_0 + sigma z, x_0 in [0, 1]; label (b,) is sigma."""
        wide = jnp.promote_types(x.dtype, jnp.float32)
        mean, std = (jnp.asarray(values, x.dtype)[None, None, None] for values in (CIFAR10_MEAN, CIFAR10_STD))
        h = _conv(16, "conv_in", self.dtype)(_standardized((x - mean) / std))
        embedding = self._embed(label.astype(wide))
        for group, channels in enumerate((16, 32, 64)):
            for i in range(self.blocks_per_group):
                stride = 2 if group > 0 and i == 0 else 1
                block = WideResidualBlock(
                    channels * self.widen_factor,
                    stride,
                    activate_input=group == 0 and i == 0,
                    dtype=self.dtype,
                    name=f"group_{group}_block_{i}",
                )
                h = block(h, embedding)
        h = reduce(_norm_relu(h, "norm_out").astype(wide), "b h w c -> b c", "mean")
        return nn.Dense(self.num_classes, kernel_init=_logits_init, name="out")(h)

    def _embed(self, sigma: Float[Array, "b"]) -> Float[Array, "b _"]:
        h = RandomFourier(EMBEDDING_DIM, 16.0, name="fourier")(jnp.log(sigma))
        h = nn.Dense(4 * EMBEDDING_DIM, name="embedding_1")(h)
        return nn.swish(nn.Dense(4 * EMBEDDING_DIM, name="embedding_2")(nn.swish(h)))
