"""The patch discriminator that first stages are trained against (Isola et al. 2017; Esser et al. 2021)."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from score_jax.models.blocks.cpu_convolution import Conv
from score_jax.models.blocks.initializers import bias_uniform
from score_jax.typing import Image, KeyArray, Resized

_SPREAD = 0.02
_SLOPE = 0.2


class BatchNorm(nn.Module):
    """Batch norm with PyTorch's running statistics, in the collection "batch_stats".

    A batch is normalised by its own mean and biased variance; the running variance is of the unbiased ones. Under jit
    the statistics are those of the whole batch, over however many devices it is split.

    Attributes:
      epsilon: added to the variance.
      momentum: share of a batch in the new running statistics.
    """

    epsilon: float = 1e-5
    momentum: float = 0.1

    @nn.compact
    def __call__(self, x: Image, train: bool) -> Image:
        """Normalises x (b, h, w, c) by its own statistics where `train`, else by the running ones.

        The running ones are updated where "batch_stats" is mutable and `train`.
        """
        channels = x.shape[-1]
        scale = self.param("scale", _around_one, (channels,))
        bias = self.param("bias", nn.initializers.zeros, (channels,), jnp.float32)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, (channels,), jnp.float32)
        running_var = self.variable("batch_stats", "var", jnp.ones, (channels,), jnp.float32)
        wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        mean, var = running_mean.value, running_var.value
        if train:
            mean = jnp.mean(wide, axis=(0, 1, 2))
            var = jnp.mean(jnp.square(wide - _per_channel(mean)), axis=(0, 1, 2))
            if self.is_mutable_collection("batch_stats") and not self.is_initializing():
                n = x.size // channels
                running_mean.value = self._moved(running_mean.value, mean)
                running_var.value = self._moved(running_var.value, var * (n / max(n - 1, 1)))
        factor = scale / jnp.sqrt(var + self.epsilon)
        return ((wide - _per_channel(mean)) * _per_channel(factor) + _per_channel(bias)).astype(x.dtype)

    def _moved(self, running: Float[Array, "c"], of_batch: Float[Array, "c"]) -> Float[Array, "c"]:
        return (1 - self.momentum) * running + self.momentum * jax.lax.stop_gradient(of_batch)


class PatchDiscriminator(nn.Module):
    """4 x 4 convolutions that say of each patch how real it looks.

    Attributes:
      channels: of the first convolution.
      num_layers: convolutions with batch norm, of which all but the last have stride 2, as the first one has.
      dtype: compute dtype; parameters, statistics and logits stay float32.
    """

    channels: int = 64
    num_layers: int = 3
    dtype: Any = None

    @nn.compact
    def __call__(self, images: Image, train: bool) -> Resized:
        """Logits (b, h', w', 1) of images (b, h, w, c) in [-1, 1]; what they depend on too is appended to channels.

        Args:
          images: real or generated.
          train: whether batch norm goes by the batch, or by its running statistics.
        """
        h = nn.leaky_relu(self._conv(images, self.channels, 2, "conv_in", use_bias=True), _SLOPE)
        for i in range(1, self.num_layers + 1):
            stride = 2 if i < self.num_layers else 1
            h = self._conv(h, self.channels * min(2**i, 8), stride, f"conv_{i}", use_bias=False)
            h = nn.leaky_relu(BatchNorm(name=f"norm_{i}")(h, train), _SLOPE)
        h = self._conv(h, 1, 1, "conv_out", use_bias=True)
        return h.astype(jnp.promote_types(h.dtype, jnp.float32))

    def _conv(self, x: Image, channels: int, stride: int, name: str, *, use_bias: bool) -> Resized:
        return Conv(
            channels,
            (4, 4),
            (stride, stride),
            padding=1,
            use_bias=use_bias,
            kernel_init=nn.initializers.normal(_SPREAD),
            bias_init=bias_uniform(16 * x.shape[-1]),
            dtype=self.dtype,
            name=name,
        )(x)


def _around_one(key: KeyArray, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
    return 1 + _SPREAD * jax.random.normal(key, shape, dtype)


def _per_channel(values: Float[Array, "c"]) -> Float[Array, "1 1 1 c"]:
    return values[None, None, None]
