"""Group normalization in float32 whatever the compute dtype."""

import flax.linen as nn
import jax.numpy as jnp
from einops import rearrange
from jaxtyping import Array, Float

from score_jax.typing import Batch

GROUPS = 32
"""Of channels in the norms of ADM, latent diffusion and Stable Diffusion."""


class GroupNorm(nn.Module):
    """Group norm over all axes between the first and the last, and the channels of a group.

    Attributes:
      groups: how many; None: `min(channels // 4, 32)` (Song et al. 2021).
      epsilon: 1e-6 in DDPM and score_sde, 1e-5 in PyTorch's default and thus in ADM.
    """

    groups: int | None = None
    epsilon: float = 1e-6

    @nn.compact
    def __call__(self, x: Batch) -> Batch:
        """Normalises x (b, ..., c), c divisible by the groups."""
        channels = x.shape[-1]
        groups = self.groups or max(1, min(channels // 4, 32))
        wide = jnp.promote_types(x.dtype, jnp.float32)
        scale = self.param("scale", nn.initializers.ones, (channels,), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (channels,), jnp.float32)
        h: Float[Array, "b n g c"] = rearrange(x.astype(wide), "b ... (g c) -> b (...) g c", g=groups)
        h = h - jnp.mean(h, axis=(1, 3), keepdims=True)
        h = h / jnp.sqrt(jnp.mean(jnp.square(h), axis=(1, 3), keepdims=True) + self.epsilon)
        affine = h.reshape(x.shape) * scale.reshape((1,) * (x.ndim - 1) + (-1,))
        return (affine + bias.reshape((1,) * (x.ndim - 1) + (-1,))).astype(x.dtype)
