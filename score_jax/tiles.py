"""Functions of large images, computed in overlapping tiles of a size that a network knows, and blended without seams.

Averages of overlapping predictions at every step of a sampler are the MultiDiffusion of Bar-Tal et al. 2023
(arXiv 2302.08113); Rombach et al. 2022 (section 4.3.2, "beyond 256 x 256") use their networks convolutionally.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from score_jax.errors import InputError
from score_jax.typing import Image

InTiles = Callable[..., PyTree]


def check_tiles(section: str, tile: int, overlap: int) -> None:
    """Raises InputError where tiles of a section of the config would overlap by their whole size."""
    if tile and overlap >= tile:
        raise InputError(f"{section}.overlap={overlap} is not less than {section}.tile={tile}: give a smaller overlap.")


def starts(length: int, tile: int, overlap: int) -> tuple[int, ...]:
    """Where tiles begin along an axis: as few as reach from end to end and overlap by so much at least.

    Args:
      length: of the axis.
      tile: length of a tile; where it is longer than the axis, one tile is the whole axis.
      overlap: of neighbours, less than a tile.
    """
    if tile >= length:
        return (0,)
    count = -(-(length - overlap) // (tile - overlap))
    return tuple(int(start) for start in np.round(np.linspace(0, length - tile, count)))


def _ramp(tile: int, overlap: int) -> Float[np.ndarray, "{tile}"]:
    """Weights of a tile along an axis: they grow over the overlap, and are 1 within."""
    from_edge = np.minimum(np.arange(tile), np.arange(tile)[::-1]) + 1
    return np.minimum(from_edge / (overlap + 1), 1.0)


def in_tiles(function: InTiles, tile: int, overlap: int) -> InTiles:
    """Returns `function(x, *others)` computed tile by tile, one after another, in the memory of one.

    The parts of the results are averaged where tiles overlap, with weights that fall towards the edges of each. Other
    arrays of the height and width of x are cut as x is; all else is given to every tile as it is. A result may be
    larger than x by a whole factor, as decoded latents are.

    Args:
      function: of x (b, h, w, c) and others, to a tree of arrays (b, k h, k w, ...).
      tile: height and width of a tile.
      overlap: of neighbouring tiles, less than a tile.
    """

    def tiled(x: Image, *others: PyTree) -> PyTree:
        size = x.shape[1:3]
        parts = tuple(min(tile, length) for length in size)
        rows, columns = (starts(length, tile, overlap) for length in size)
        if len(rows) * len(columns) == 1:
            return function(x, *others)
        corners = jnp.array([(row, column) for row in rows for column in columns])

        def cut(leaf: Array, corner: Array) -> Array:
            if leaf.ndim < 4 or leaf.shape[1:3] != size:
                return leaf
            at: Any = (0, corner[0], corner[1], *[0] * (leaf.ndim - 3))
            return jax.lax.dynamic_slice(leaf, at, (leaf.shape[0], *parts, *leaf.shape[3:]))

        def of(corner: Array) -> PyTree:
            return function(*jax.tree.map(lambda leaf: cut(leaf, corner), (x, *others)))

        made = jax.eval_shape(of, corners[0])
        scale = jax.tree.leaves(made)[0].shape[1] // parts[0]
        ramps = [_ramp(scale * part, scale * min(overlap, part - 1)) for part in parts]
        weights = jnp.asarray(np.outer(*ramps)[None, :, :, None], x.dtype)
        whole = (scale * size[0], scale * size[1])

        def add(total: Array, part: Array, corner: Array) -> Array:
            at = (0, scale * corner[0], scale * corner[1], 0)
            known = jax.lax.dynamic_slice(total, at, (total.shape[0], *part.shape[1:3], total.shape[3]))
            return jax.lax.dynamic_update_slice(total, known + part, at)

        def step(totals: tuple[PyTree, Array], corner: Array) -> tuple[tuple[PyTree, Array], None]:
            sums, weight = totals
            sums = jax.tree.map(lambda total, part: add(total, weights * part, corner), sums, of(corner))
            return (sums, add(weight, weights, corner)), None

        empty = jax.tree.map(lambda leaf: jnp.zeros((leaf.shape[0], *whole, leaf.shape[3]), leaf.dtype), made)
        (sums, weight), _ = jax.lax.scan(step, (empty, jnp.zeros((1, *whole, 1), x.dtype)), corners)
        return jax.tree.map(lambda total: total / weight, sums)

    return tiled
