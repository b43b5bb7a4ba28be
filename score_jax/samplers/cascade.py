"""Cascades: a base model, then models that enlarge what the one before drew (Dhariwal and Nichol 2021, section 5.2)."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from score_jax.typing import Image, KeyArray, Resized

Stage = Callable[[KeyArray, Int[Array, "b"], Int[Array, "b"], Resized | None], Image]
"""`stage(key, indices, labels, low_res) -> images` (b, h, w, c) in [-1, 1]; the base is given no low_res."""


def quantised(x: Resized) -> Resized:
    """Images in [-1, 1] as 8-bit files would hold them, truncated: what stages hand on in the original."""
    levels = jnp.floor(jnp.clip((x + 1) * 127.5, 0, 255))
    return levels / 127.5 - 1


def cascade(stages: Sequence[Stage], key: KeyArray, indices: Int[Array, "b"], labels: Int[Array, "b"]) -> list[Resized]:
    """Images of every stage, the last the largest; image i depends on the key and on its global index alone.

    Args:
      stages: the base, then the enlarging models; guidance, if any, is each stage's own.
      key: of the whole set; each stage folds in its place.
      indices: global indices (b,).
      labels: classes (b,), the same for all stages.
    """
    images: list[Resized] = []
    for i, stage in enumerate(stages):
        low_res = quantised(images[-1]) if images else None
        images.append(stage(jax.random.fold_in(key, i), indices, labels, low_res))
    return images
