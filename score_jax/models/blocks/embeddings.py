"""Embeddings of the noise level."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def _angles(label: Float[Array, "b"], count: int, spacing: int) -> Float[Array, "b {count}"]:
    """label * 10000^(-i / spacing) for i < count."""
    frequencies = jnp.exp(-jnp.log(10000.0) / spacing * jnp.arange(count, dtype=label.dtype))
    return label[:, None] * frequencies[None]


def _pad_odd(embedding: Float[Array, "b _"], dim: int) -> Float[Array, "b {dim}"]:
    return jnp.pad(embedding, ((0, 0), (0, dim % 2)))


def sinusoidal(label: Float[Array, "b"], dim: int) -> Float[Array, "b {dim}"]:
    """[sin(label f), cos(label f)] with frequencies 10000^(-i / (dim/2 - 1)) (Ho et al. 2020); odd `dim` ends in 0."""
    angles = _angles(label, dim // 2, dim // 2 - 1)
    return _pad_odd(jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1), dim)


def sinusoidal_cos_first(label: Float[Array, "b"], dim: int) -> Float[Array, "b {dim}"]:
    """[cos(label f), sin(label f)], frequencies 10000^(-i / (dim/2)) (improved diffusion, ADM); odd `dim` ends in 0."""
    angles = _angles(label, dim // 2, dim // 2)
    return _pad_odd(jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=-1), dim)


class RandomFourier(nn.Module):
    """[sin(2 pi W u), cos(2 pi W u)] with frozen W ~ N(0, scale²) (Song et al. 2021, section C.2).

    W is a parameter, as in the original, with its gradient stopped.
    """

    dim: int
    scale: float

    @nn.compact
    def __call__(self, u: Float[Array, "b"]) -> Float[Array, "b {2*self.dim}"]:
        """Embeds u (b,), the log of the noise level."""
        frequencies = self.param("W", nn.initializers.normal(self.scale), (self.dim,), jnp.float32)
        angles = 2 * jnp.pi * u[:, None] * jax.lax.stop_gradient(frequencies)[None]
        return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)
