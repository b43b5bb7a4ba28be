"""Vision transformers at image sizes that their position embeddings are not of."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from score_jax.evaluation.resize import Matrix


def whole_patches(size: int, patch: int) -> int:
    """Returns the side of the least image of whole patches that holds one of this size."""
    return -(-size // patch) * patch


def padded_to(images: Float[Array, "b h w c"], size: int) -> Float[Array, "b size size c"]:
    """Adds zeros behind the last rows and columns, as timm does."""
    height, width = images.shape[1:3]
    return jnp.pad(images, ((0, 0), (0, size - height), (0, size - width), (0, 0)))


def resized_positions(
    positions: Float[Array, "tokens c"], matrix: Matrix, first: int
) -> Float[Array, "resized_tokens c"]:
    """Returns the position embeddings of another grid.

    Args:
      positions: those of tokens of no place, then those of a square grid, row by row.
      matrix: from one side of the grid to the new one, in float64.
      first: how many tokens are of no place.
    """
    known = np.asarray(positions, np.float64)
    grid = known[first:].reshape(matrix.shape[1], matrix.shape[1], -1)
    grid = np.einsum("Hi,Wj,ijc->HWc", matrix, matrix, grid, optimize=True).reshape(-1, known.shape[1])
    return jnp.asarray(np.concatenate([known[:first], grid]), positions.dtype)
