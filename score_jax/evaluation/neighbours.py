"""Is a sample a copy? The nearest training image, in pixel space or by features."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8

_BYTES, _MOST = 2**26, 1024
_QUERIES = 2048
Rows = Float[np.ndarray, "m d"]


class Nearest(NamedTuple):
    """The nearest row of a set to each query.

    Attributes:
      row: its index; the first one of equally near ones.
      squared: distance, squared.
    """

    row: Int[np.ndarray, "m"]
    squared: Float[np.ndarray, "m"]


def nearest_rows(queries: Rows, rows: Float[np.ndarray, "n d"], itself: Int[np.ndarray, "m"] | None = None) -> Nearest:
    """Returns the nearest of `rows` to each query, in float64, by blocks of both.

    Args:
      queries: features.
      rows: features.
      itself: for each query the row that it is, which is not its own neighbour; None: queries are no rows.
    """
    found = []
    for start in range(0, len(queries), _QUERIES):
        here = slice(start, start + _QUERIES)
        parts = (rows[i : i + _MOST] for i in range(0, len(rows), _MOST))
        found.append(_nearest(queries[here], parts, None if itself is None else itself[here]))
    return Nearest(*(np.concatenate(part) for part in zip(*found, strict=True)))


def images_at_a_time(numbers: int) -> int:
    """Returns how many training images of so many numbers are compared at a time: 64 MiB of float64, or 1024."""
    return int(np.clip(_BYTES // (8 * numbers), 1, _MOST))


def nearest_neighbours(
    generated: UInt8[np.ndarray, "m h w c"], training: UInt8[np.ndarray, "n h w c"]
) -> Int[np.ndarray, "m"]:
    """Returns the index of the training image with the least Euclidean distance to each generated image."""
    size = images_at_a_time(generated[0].size)
    return nearest_of_parts(generated, (training[start : start + size] for start in range(0, len(training), size)))


def nearest_of_parts(
    generated: UInt8[np.ndarray, "m h w c"], parts: Iterable[UInt8[np.ndarray, "_ h w c"]]
) -> Int[np.ndarray, "m"]:
    """`nearest_neighbours` among training images that come in parts, of which one is held at a time.

    Squares of bytes are whole numbers, which float64 adds exactly: parts make no difference.
    """
    queries = generated.reshape(len(generated), -1)
    return _nearest(queries, (part.reshape(-1, queries.shape[1]) for part in parts)).row


def _nearest(queries: np.ndarray, parts: Iterable[np.ndarray], itself: Int[np.ndarray, "m"] | None = None) -> Nearest:
    """Of queries (m, d) among rows that come in parts (k, d)."""
    queries = queries.astype(np.float64)
    best, where, start = np.full(len(queries), np.inf), np.zeros(len(queries), int), 0
    for part in parts:
        rows = part.astype(np.float64)
        # Less the query's own square, which is the same for all rows.
        squares = np.einsum("kd,kd->k", rows, rows)[:, None] - 2 * (rows @ queries.T)
        if itself is not None:
            mine = np.flatnonzero((itself >= start) & (itself < start + len(rows)))
            squares[itself[mine] - start, mine] = np.inf
        nearest = squares.argmin(axis=0)
        value = squares[nearest, np.arange(len(queries))]
        where = np.where(value < best, start + nearest, where)
        best, start = np.minimum(best, value), start + len(rows)
    return Nearest(where, np.maximum(best + np.einsum("md,md->m", queries, queries), 0))
