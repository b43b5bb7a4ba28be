"""The instance norms of NCSN and NCSNv2, in float32 whatever the compute dtype; epsilon is 1e-5."""

import flax.linen as nn
import jax
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


def _over_deviation(x: Image) -> Image:
    """x over its spatial standard deviation, unbiased as in the original."""
    return x / jnp.sqrt(jnp.var(x, axis=(1, 2), keepdims=True, ddof=1) + _EPSILON)


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
    """alpha x / std, neither mean nor shift (an option of NCSNv2)."""

    @nn.compact
    def __call__(self, x: Image, label: Time | None = None) -> Image:
        """Normalises x (b, h, w, c); the label is not used."""
        alpha = self.param("alpha", _normal_around_one, (x.shape[-1],), jnp.float32)
        return (alpha[None, None, None] * _over_deviation(_wide(x))).astype(x.dtype)


class NoNorm(nn.Module):
    """None (an option of NCSNv2)."""

    @nn.compact
    def __call__(self, x: Image, label: Time | None = None) -> Image:
        """x as it is."""
        return x


NORMS: dict[str, type[nn.Module]] = {
    "instance_plus": InstanceNormPlus,
    "variance": VarianceNorm,
    "none": NoNorm,
}
"""Norms of an unconditional network, by the names of configs."""

COEFFICIENTS = {"instance_plus": 3, "instance": 2, "variance": 1, "none": 2}
"""Norms of a network that knows the level, and how many coefficients each has per channel."""


class ConditionalNorm(nn.Module):
    """A norm whose coefficients are looked up by the noise level's index.

    Attributes:
      num_levels: rows of the table, each gamma, (alpha,) (beta).
      kind: key of `COEFFICIENTS`.
    """

    num_levels: int
    kind: str = "instance_plus"

    @nn.compact
    def __call__(self, x: Image, label: Time) -> Image:
        """Normalises x (b, h, w, c) for level indices (b,)."""
        channels, count = x.shape[-1], COEFFICIENTS[self.kind]
        near_one = self.kind in ("instance_plus", "variance")

        def init(key, shape, dtype):
            scales = (shape[0], max(1, count - 1) * channels)
            scale_init = _normal_around_one if near_one else jax.random.uniform
            shifts = jnp.zeros((shape[0], shape[1] - scales[1]), dtype)
            return jnp.concatenate([scale_init(key, scales, dtype), shifts], axis=-1)

        table = self.param("table", init, (self.num_levels, count * channels), jnp.float32)
        rows = jnp.split(table[label.astype(jnp.int32)][:, None, None, :], count, axis=-1)
        wide = _wide(x)
        if self.kind == "instance_plus":
            h = _instance_norm_plus(wide, *rows)
        elif self.kind == "variance":
            h = rows[0] * _over_deviation(wide)
        else:
            h = rows[0] * (_instance_norm(wide) if self.kind == "instance" else wide) + rows[1]
        return h.astype(x.dtype)
