"""Metrics at infinitely many samples, by a straight line in 1/n (Chong & Forsyth 2020)."""

import dataclasses
from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

from score_jax.evaluation import inception_score
from score_jax.evaluation.frechet import frechet_distance
from score_jax.evaluation.statistics import Moments, moments

_FEWEST = 5000
_POINTS = 8
_RESAMPLES = 1000


@dataclasses.dataclass(frozen=True)
class Extrapolated:
    """A line through the distances of subsets, or through their scores.

    Attributes:
      value: at infinitely many samples.
      low: where 95 % of the bootstrap's values begin.
      high: where they end.
      counts: sizes of the subsets (m,).
      distances: theirs (m,).
    """

    value: float
    low: float | None
    high: float | None
    counts: Int[np.ndarray, "m"]
    distances: Float[np.ndarray, "m"]


def subset_sizes(count: int) -> Int[np.ndarray, "m"]:
    """Evenly spaced up to all: from 5000 of many samples, from a tenth of few."""
    fewest = max(min(_FEWEST, count // 2), count // 10, 2)
    return np.unique(np.linspace(fewest, count, _POINTS).astype(int))


def _line(count: int, of_rows: Callable[[Int[np.ndarray, "n"]], float], seed: int) -> Extrapolated:
    """Through the values of random subsets of `count` rows.

    They lie about the line by chance; the interval is of lines through those points drawn again with replacement.
    Rows themselves are not drawn with replacement: doubles narrow a covariance and would raise every distance. It does
    not know what another set of samples would give.
    """
    rng = np.random.default_rng(seed)
    counts = subset_sizes(count)
    values = np.array([of_rows(np.sort(rng.permutation(count)[:size])) for size in counts])

    def at_infinity(points: np.ndarray) -> float:
        return float(np.polyfit(1 / counts[points], values[points], 1)[1])

    if len(counts) < 3:
        return Extrapolated(float(values[-1]), None, None, counts, values)
    draws = (rng.integers(0, len(counts), len(counts)) for _ in range(_RESAMPLES))
    lines = [at_infinity(draw) for draw in draws if len(np.unique(draw)) > 2]
    low, high = np.quantile(lines, [0.025, 0.975])
    return Extrapolated(at_infinity(np.arange(len(counts))), float(low), float(high), counts, values)


def frechet_infinity(features: Float[np.ndarray, "n d"], real: Moments, *, seed: int = 0) -> Extrapolated:
    """Returns the FID of generated features (n, d) at infinitely many samples, and against their number."""

    def distance(rows: np.ndarray) -> float:
        return frechet_distance(generated=moments(features[rows]), real=real)

    return _line(len(features), distance, seed)


def inception_score_infinity(logits: Float[np.ndarray, "n k"], *, seed: int = 0) -> Extrapolated:
    """Inception Score, without splits, at infinitely many samples, and against their number; few samples lower it."""
    return _line(len(logits), lambda rows: inception_score.score(logits[rows]), seed)
