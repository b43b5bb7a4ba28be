"""Is a sample a copy? The nearest training image in pixel space."""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Int, UInt8

_BYTES, _MOST = 2**26, 1024


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
    queries = generated.reshape(len(generated), -1).astype(np.float64)
    best, where, start = np.full(len(queries), np.inf), np.zeros(len(queries), int), 0
    for part in parts:
        images = part.reshape(-1, queries.shape[1]).astype(np.float64)
        # Less the query's own square, which is the same for all images.
        squares = np.einsum("kd,kd->k", images, images)[:, None] - 2 * (images @ queries.T)
        nearest = squares.argmin(axis=0)
        value = squares[nearest, np.arange(len(queries))]
        where = np.where(value < best, start + nearest, where)
        best, start = np.minimum(best, value), start + len(images)
    return where
