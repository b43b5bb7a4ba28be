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
        sides = tuple(min(tile, length) for length in size)
        rows, columns = (starts(length, tile, overlap) for length in size)
        corners = [(row, column) for row in rows for column in columns]
        if len(corners) == 1:
            return function(x, *others)

        def cut(leaf: Array, corner: Array) -> Array:
            if leaf.ndim < 4 or leaf.shape[1:3] != size:
                return leaf
            at: Any = (0, corner[0], corner[1], *[0] * (leaf.ndim - 3))
            return jax.lax.dynamic_slice(leaf, at, (leaf.shape[0], *sides, *leaf.shape[3:]))

        def of(corner: Array) -> PyTree:
            return function(*jax.tree.map(lambda leaf: cut(leaf, corner), (x, *others)))

        parts = jax.lax.map(of, jnp.array(corners))
        return jax.tree.map(lambda leaf: _blended(leaf, corners, size, sides, overlap), parts)

    return tiled


def _blended(
    parts: Float[Array, "tiles b _ _ c"],
    corners: list[tuple[int, int]],
    size: tuple[int, ...],
    sides: tuple[int, ...],
    overlap: int,
) -> Float[Array, "b _ _ c"]:
    """The whole of tiles whose corners, height and width are given in the units of an image of this size."""
    scale = parts.shape[2] // sides[0]
    ramps = [_ramp(scale * side, scale * min(overlap, side - 1)) for side in sides]
    weights = np.outer(*ramps)[None, :, :, None]
    total = jnp.zeros((parts.shape[1], scale * size[0], scale * size[1], parts.shape[4]), parts.dtype)
    weight = np.zeros((1, *total.shape[1:3], 1))
    for part, (row, column) in zip(parts, corners, strict=True):
        place = (slice(scale * row, scale * (row + sides[0])), slice(scale * column, scale * (column + sides[1])))
        total = total.at[:, *place].add(jnp.asarray(weights, parts.dtype) * part)
        weight[:, *place] += weights
    return total / jnp.asarray(weight, parts.dtype)
