"""Embeddings of the noise level."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def sinusoidal(label: Float[Array, "b"], dim: int) -> Float[Array, "b {dim}"]:
    """[sin(label f), cos(label f)] with frequencies 10000^(-i / (dim/2 - 1)) (Ho et al. 2020); odd `dim` ends in 0."""
    half = dim // 2
    frequencies = jnp.exp(-jnp.log(10000.0) / (half - 1) * jnp.arange(half, dtype=label.dtype))
    angles = label[:, None] * frequencies[None]
    embedding = jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)
    return jnp.pad(embedding, ((0, 0), (0, dim % 2)))


class RandomFourier(nn.Module):
    """[sin(2 pi W u), cos(2 pi W u)] with frozen W ~ N(0, scale²) (Song et al. 2021, section C.2).

    W is a parameter, as in the original, with its gradient stopped.
    """

    dim: int
    scale: float

    @nn.compact
    def __call__(self, u: Float[Array, "b"]) -> Float[Array, "b {2*self.dim}"]:
        """Embeds u (b,), the log of the noise level."""
        frequencies = self.param("W", nn.initializers.normal(self.scale), (self.dim,))
        angles = 2 * jnp.pi * u[:, None] * jax.lax.stop_gradient(frequencies)[None]
        return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)
