"""The instance norms of NCSN and NCSNv2, in float32 whatever the compute dtype; epsilon is 1e-5."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from score_jax.typing import Image, Time

_EPSILON = 1e-5
Channels = Float[Array, "#b 1 1 c"]


def _normal_around_one(key, shape, dtype):
    return 1 + nn.initializers.normal(0.02)(key, shape, dtype)


def _wide(x: Image) -> Image:
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def _instance_norm(x: Image) -> Image:
    """Mean 0 and variance 1 over space, per example and channel."""
    centred = x - jnp.mean(x, axis=(1, 2), keepdims=True)
    return centred / jnp.sqrt(jnp.mean(jnp.square(centred), axis=(1, 2), keepdims=True) + _EPSILON)


def _instance_norm_plus(x: Image, gamma: Channels, alpha: Channels, beta: Channels) -> Image:
    """gamma (instance norm + alpha m) + beta, m the spatial means normalised over channels (Song and Ermon 2019, A.1).

    The originals' variance over channels is the unbiased one.
    """
    means = jnp.mean(x, axis=(1, 2), keepdims=True)
    spread = jnp.var(means, axis=-1, keepdims=True, ddof=1)
    means = (means - jnp.mean(means, axis=-1, keepdims=True)) / jnp.sqrt(spread + _EPSILON)
    return gamma * (_instance_norm(x) + alpha * means) + beta


class InstanceNormPlus(nn.Module):
    """InstanceNorm++ with one scale, mean scale and shift per channel."""

    @nn.compact
    def __call__(self, x: Image, label: Time | None = None) -> Image:
        """Normalises x (b, h, w, c); the label is not used."""
        shape = (x.shape[-1],)
        gamma = self.param("gamma", _normal_around_one, shape, jnp.float32)
        alpha = self.param("alpha", _normal_around_one, shape, jnp.float32)
        beta = self.param("beta", nn.initializers.zeros, shape, jnp.float32)
        gamma, alpha, beta = (v[None, None, None] for v in (gamma, alpha, beta))
        return _instance_norm_plus(_wide(x), gamma, alpha, beta).astype(x.dtype)


class VarianceNorm(nn.Module):
    """alpha x / std, the spatial standard deviation unbiased; neither mean nor shift (an option of NCSNv2)."""

    @nn.compact
    def __call__(self, x: Image, label: Time | None = None) -> Image:
        """Normalises x (b, h, w, c); the label is not used."""
        alpha = self.param("alpha", _normal_around_one, (x.shape[-1],), jnp.float32)
        wide = _wide(x)
        variance = jnp.var(wide, axis=(1, 2), keepdims=True, ddof=1)
        return (alpha[None, None, None] * wide / jnp.sqrt(variance + _EPSILON)).astype(x.dtype)


class ConditionalInstanceNormPlus(nn.Module):
    """InstanceNorm++ whose gamma, alpha, beta are looked up by the noise level's index.

    Attributes:
      num_levels: rows of the table.
      plus: False leaves out the term of the means (the five-stage NCSN).
    """

    num_levels: int
    plus: bool = True

    @nn.compact
    def __call__(self, x: Image, label: Time) -> Image:
        """Normalises x (b, h, w, c) for level indices (b,)."""
        channels, random = x.shape[-1], 2 if self.plus else 1

        def init(key, shape, dtype):
            near_one = _normal_around_one(key, (shape[0], random * channels), dtype)
            return jnp.concatenate([near_one, jnp.zeros((shape[0], channels), dtype)], axis=-1)

        table = self.param("table", init, (self.num_levels, (random + 1) * channels), jnp.float32)
        rows = table[label.astype(jnp.int32)][:, None, None, :]
        wide = _wide(x)
        if self.plus:
            return _instance_norm_plus(wide, *jnp.split(rows, 3, axis=-1)).astype(x.dtype)
        gamma, beta = jnp.split(rows, 2, axis=-1)
        return (gamma * _instance_norm(wide) + beta).astype(x.dtype)
