"""Mean and covariance of features, in float64, as they stream by."""

import dataclasses

import numpy as np
from jaxtyping import Float

_BLOCK = 2048
"""Rows that are centred together: sums of products are taken about a mean of their own."""


@dataclasses.dataclass(frozen=True)
class Moments:
    """Moments of `count` feature vectors.

    Attributes:
      count: how many.
      mean: (d,), float64.
      scatter: sum of outer products of deviations from the mean (d, d), float64.
    """

    count: int
    mean: Float[np.ndarray, "d"]
    scatter: Float[np.ndarray, "d d"]

    @property
    def covariance(self) -> Float[np.ndarray, "d d"]:
        """Unbiased: divisor count - 1."""
        return self.scatter / (self.count - 1)


def _of_block(features: Float[np.ndarray, "n d"]) -> Moments:
    features = np.asarray(features, np.float64)
    mean = features.mean(axis=0)
    deviations = features - mean
    return Moments(len(features), mean, deviations.T @ deviations)


def merge(one: Moments, other: Moments) -> Moments:
    """Moments of two sets together, without cancellation (Chan, Golub & LeVeque 1983, eq. 1.5)."""
    count = one.count + other.count
    shift = other.mean - one.mean
    mean = one.mean + shift * (other.count / count)
    between = np.outer(shift, shift * (one.count * other.count / count))
    return Moments(count, mean, one.scatter + other.scatter + between)


class MomentAccumulator:
    """Moments of any number of rows in the memory of one covariance.

    Rows are regrouped into blocks of one size, merged in their order, so that the result does not depend on how they
    were cut into batches, to the last bit.
    """

    def __init__(self):
        self._waiting: list[np.ndarray] = []
        self._rows = 0
        self._merged: Moments | None = None

    def add(self, features: Float[np.ndarray, "n d"]) -> None:
        """The next rows; they are copied, so the array may be filled anew."""
        for start in range(0, len(features), _BLOCK):
            chunk = np.array(features[start : start + _BLOCK])
            self._waiting.append(chunk)
            self._rows += len(chunk)
            if self._rows >= _BLOCK:
                rows = chunk if len(self._waiting) == 1 else np.concatenate(self._waiting)
                self._take(rows[:_BLOCK])
                self._waiting, self._rows = [rows[_BLOCK:]], self._rows - _BLOCK

    def _take(self, rows: np.ndarray) -> None:
        block = _of_block(rows)
        self._merged = block if self._merged is None else merge(self._merged, block)

    def result(self) -> Moments:
        """Of all rows so far; rows may still be added after it.

        Raises:
          ValueError: there are none.
        """
        if self._rows == 0:
            if self._merged is None:
                raise ValueError("No features were added.")
            return self._merged
        rest = _of_block(np.concatenate(self._waiting))
        return rest if self._merged is None else merge(self._merged, rest)


def moments(features: Float[np.ndarray, "n d"]) -> Moments:
    """Moments of the rows of an array, which may lie on disk; the bits of `MomentAccumulator`."""
    accumulator = MomentAccumulator()
    accumulator.add(features)
    return accumulator.result()
