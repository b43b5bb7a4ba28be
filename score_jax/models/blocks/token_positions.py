"""Where tokens stand, for attention: rotated channels, and a bias that is learned by distance."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

BUCKETS, FARTHEST = 32, 128
"""Of T5: distances that are told apart, half of them one by one, and the distance from which all are one."""
_THETA = 10000.0


def rotary_frequencies(count: int) -> Float[np.ndarray, "{count}"]:
    """Radians per token 10000^(-i / count), as RoFormer has them (Su et al. 2021, arXiv 2104.09864, section 3.2.2)."""
    return _THETA ** (-np.arange(count) / count)


def rotate(x: Float[Array, "b n heads d"], frequencies: Float[Array, "f"]) -> Float[Array, "b n heads d"]:
    """Channels 2i and 2i + 1 turned by the angle position * frequencies[i] (Su et al. 2021); the others as they are.

    Args:
      x: queries or keys at the positions 0 to n - 1.
      frequencies: radians per position, at most d / 2 of them.
    """
    n, turned = x.shape[1], 2 * len(frequencies)
    angles = jnp.arange(n, dtype=frequencies.dtype)[None, :, None, None] * frequencies[None, None, None]
    even, odd = x[..., :turned:2], x[..., 1:turned:2]
    pairs = jnp.stack(
        [even * jnp.cos(angles) - odd * jnp.sin(angles), odd * jnp.cos(angles) + even * jnp.sin(angles)], axis=-1
    )
    return jnp.concatenate([pairs.reshape(*x.shape[:-1], turned).astype(x.dtype), x[..., turned:]], axis=-1)


def distance_buckets(distance: Int[np.ndarray, "*shape"]) -> Int[np.ndarray, "*shape"]:
    """The bucket of each distance back, 0 or more: T5's of one direction (Raffel et al. 2020, arXiv 1910.10683).

    The first half of them holds one distance each; the widths of the others grow in proportion to the distance.
    """
    single = BUCKETS // 2
    share = np.log(np.maximum(distance, single) / single) / np.log(FARTHEST / single)
    shared = single + (share * (BUCKETS - single)).astype(distance.dtype)
    return np.where(distance < single, distance, np.minimum(shared, BUCKETS - 1))


class DistanceBias(nn.Module):
    """A number per head and distance, which is added to the logits of attention (Raffel et al. 2020, section 2.1).

    Attributes:
      heads: of the attention.
    """

    heads: int

    @nn.compact
    def __call__(self, queries: int, keys: int) -> Float[Array, "1 {self.heads} {queries} {keys}"]:
        """For the positions of so many queries and keys, both counted from 0; a later key is at the distance 0."""
        table = self.param("table", nn.initializers.normal(1.0), (BUCKETS, self.heads), jnp.float32)
        distance = np.maximum(np.arange(queries)[:, None] - np.arange(keys)[None], 0)
        return jnp.moveaxis(table[distance_buckets(distance)], -1, 0)[None]
