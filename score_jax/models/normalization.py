"""Normalization in float32 whatever the compute dtype."""

import flax.linen as nn
import jax.numpy as jnp

from score_jax.typing import Image


class GroupNorm(nn.Module):
    """Group norm with `min(channels // 4, 32)` groups and epsilon 1e-6 (Song et al. 2021)."""

    @nn.compact
    def __call__(self, x: Image) -> Image:
        """Normalises x (b, h, w, c) over space and the channels of a group."""
        groups = max(1, min(x.shape[-1] // 4, 32))
        wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        norm = nn.GroupNorm(num_groups=groups, epsilon=1e-6, use_fast_variance=False, name="norm")
        return norm(wide).astype(x.dtype)
