"""Mean and covariance of features, in float64."""

import dataclasses

import numpy as np
from jaxtyping import Float


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


def moments(features: Float[np.ndarray, "n d"]) -> Moments:
    """Moments of one block of features (n, d)."""
    features = np.asarray(features, np.float64)
    mean = features.mean(axis=0)
    deviations = features - mean
    return Moments(len(features), mean, deviations.T @ deviations)
