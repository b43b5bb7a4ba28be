"""The Monge Inception Distance: the sliced Wasserstein distance of features (Berthet et al. 2026, arXiv 2605.06797)."""

import dataclasses

import numpy as np
from jaxtyping import Float

from score_jax.errors import InputError

_SCALE = 3
_ROWS, _DIRECTIONS = 4096, 100
Rows = Float[np.ndarray, "n d"]
Directions = Float[np.ndarray, "k d"]


@dataclasses.dataclass(frozen=True)
class Mind:
    """A distance.

    Attributes:
      value: 3 d times the mean squared distance along a direction: 3 |v|² of a law and the same moved by v.
      standard_error: of that mean over directions; it does not know what other samples would give.
      count: rows of each set.
    """

    value: float
    standard_error: float
    count: int


def mind(*, generated: Rows, real: Float[np.ndarray, "m d"], directions: int = 1000, seed: int = 2020) -> Mind:
    """Returns MIND as torch-fidelity measures it, along other random directions.

    Args:
      generated: features.
      real: features; of the larger set as many random rows are taken as the smaller one has.
      directions: along which the sets are compared, of any angle with equal probability.
      seed: of the directions and rows.

    Raises:
      InputError: a set is empty, or there are fewer than two directions.
    """
    count = min(len(generated), len(real))
    if count == 0 or directions < 2:
        raise InputError(f"MIND of {count} images along {directions} directions: give more of them.")
    rng = np.random.default_rng(seed)
    axes = rng.normal(size=(directions, generated.shape[1]))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    one, other = (x if len(x) == count else x[rng.permutation(len(x))[:count]] for x in (generated, real))
    found = _SCALE * generated.shape[1] * squared_distances_along(axes, generated=one, real=other)
    return Mind(float(found.mean()), float(found.std(ddof=1) / np.sqrt(directions)), count)


def squared_distances_along(directions: Directions, *, generated: Rows, real: Rows) -> Float[np.ndarray, "k"]:
    """Returns the squared 2-Wasserstein distance of as many projections, by their order, along each direction."""
    found = []
    for start in range(0, len(directions), _DIRECTIONS):
        axes = directions[start : start + _DIRECTIONS].T
        one, other = (np.sort(_projected(x, axes), axis=0) for x in (generated, real))
        found.append(((one - other) ** 2).mean(axis=0))
    return np.concatenate(found)


def _projected(x: Rows, axes: Float[np.ndarray, "d k"]) -> Float[np.ndarray, "n k"]:
    """In float64, of which a part of the rows is held at a time."""
    parts = (np.asarray(x[i : i + _ROWS], np.float64) for i in range(0, len(x), _ROWS))
    return np.concatenate([part @ axes for part in parts])
