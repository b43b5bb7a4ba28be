"""Mean and covariance of features, in float64, as they stream by."""

import dataclasses

import numpy as np
from jaxtyping import Float

from score_jax.errors import InputError, named, quoted

_BLOCK = 2048
"""Rows that are centred together: sums of products are taken about a mean of their own."""

_ROUNDING = 1e-4
"""Of stored covariances, of their largest eigenvalue: thirty times what float32 sums of 2048 features leave."""


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
    """Merges the moments of two sets, without cancellation (Chan, Golub & LeVeque 1983, eq. 1.5)."""
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
    """Returns the moments of the rows of an array, which may lie on disk; bit-identical to `MomentAccumulator`."""
    accumulator = MomentAccumulator()
    accumulator.add(features)
    return accumulator.result()


def checked_statistics(
    mean: np.ndarray, covariance: np.ndarray, name: str
) -> tuple[Float[np.ndarray, "d"], Float[np.ndarray, "d d"]]:
    """Returns a mean (d,) and a covariance (d, d) that a file states, in float64.

    Args:
      mean: what is stored as the mean.
      covariance: what is stored as the covariance.
      name: what to call them in an error.

    Raises:
      InputError: they are not real and finite, not of these shapes, or the covariance is within rounding not symmetric
        or not positive semidefinite, so that no distance from it means anything.
    """
    for array in (mean, covariance):
        if array.dtype.kind not in "fiu":
            raise InputError(f"{name}: expected real numbers, found {named(str(array.dtype))}.")
    if mean.ndim != 1 or not mean.size or covariance.shape != (len(mean), len(mean)):
        shapes = f"{quoted(mean.shape)} and {quoted(covariance.shape)}"
        raise InputError(f"{name}: expected finite (d,) and (d, d), found shapes {shapes}.")
    for array, what in ((mean, "mean"), (covariance, "covariance")):
        wrong = np.argwhere(~np.isfinite(array))
        if len(wrong):
            place = ", ".join(map(str, wrong[0]))
            raise InputError(f"{name}: {len(wrong)} numbers of the {what} are not finite, the first at [{place}].")
    mean, covariance = mean.astype(np.float64), covariance.astype(np.float64)
    largest = float(np.abs(covariance).max())
    difference = np.abs(covariance - covariance.T)
    if difference.max() > _ROUNDING * largest:
        i, j = np.unravel_index(difference.argmax(), difference.shape)
        pair = f"{covariance[i, j]:.4g} at [{i}, {j}] and {covariance[j, i]:.4g} at [{j}, {i}]"
        raise InputError(f"{name}: the covariance is not symmetric, it has {pair}: compute the statistics anew.")
    _check_semidefinite(covariance, largest, name)
    return mean, covariance


def _check_semidefinite(covariance: Float[np.ndarray, "d d"], largest: float, name: str) -> None:
    """Raises InputError where a variance is negative in some direction, beyond rounding."""
    try:  # at a tenth of the cost of eigenvalues; the diagonal's largest is at most the largest eigenvalue
        np.linalg.cholesky(
            covariance + _ROUNDING * max(float(covariance.diagonal().max()), 0.0) * np.eye(len(covariance))
        )
        return
    except np.linalg.LinAlgError:
        values = np.linalg.eigvalsh((covariance + covariance.T) / 2)
    if values[0] < -_ROUNDING * max(values[-1], 0.0):
        raise InputError(
            f"{name}: this is no covariance: its eigenvalues go from {values[0]:.4g} to {values[-1]:.4g}, but none may "
            "be negative. Compute the statistics anew."
        )
