"""Is a sample a copy? The nearest training image in pixel space."""

import numpy as np
from jaxtyping import Int, UInt8

_CHUNK = 1024


def nearest_neighbours(
    generated: UInt8[np.ndarray, "m h w c"], training: UInt8[np.ndarray, "n h w c"]
) -> Int[np.ndarray, "m"]:
    """Returns the index of the training image with the least Euclidean distance to each generated image."""
    queries = generated.reshape(len(generated), -1).astype(np.float64)
    best, where = np.full(len(queries), np.inf), np.zeros(len(queries), int)
    for start in range(0, len(training), _CHUNK):
        chunk = training[start : start + _CHUNK].reshape(-1, queries.shape[1]).astype(np.float64)
        squares = (queries**2).sum(1)[:, None] - 2 * queries @ chunk.T + (chunk**2).sum(1)
        nearest = squares.argmin(axis=1)
        value = squares[np.arange(len(queries)), nearest]
        where = np.where(value < best, start + nearest, where)
        best = np.minimum(best, value)
    return where
