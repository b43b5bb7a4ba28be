"""Precision and recall (Kynkaanniemi et al. 2019), density and coverage (Naeem et al. 2020).

The manifold of a set is the union of balls about its features, each reaching its k-th nearest neighbour.
"""

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Float

from score_jax.errors import InputError

_BLOCK = 2048
Rows = Float[np.ndarray, "n d"]
Squares = Callable[[Rows, Float[np.ndarray, "m d"]], Float[np.ndarray, "n m"]]
"""Squared distances between the rows of two arrays."""


def squared_distances(x: Rows, y: Float[np.ndarray, "m d"]) -> Float[np.ndarray, "n m"]:
    """Returns squared distances in float64, by a product of matrices."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    return np.maximum((x**2).sum(1)[:, None] - 2 * x @ y.T + (y**2).sum(1), 0)


def squared_distances_in_half(x: Rows, y: Float[np.ndarray, "m d"]) -> Float[np.ndarray, "n m"]:
    """Of features rounded to float16, and rounded to it: guided-diffusion's, unless they overflow."""
    half = squared_distances(x.astype(np.float16), y.astype(np.float16)).astype(np.float16)
    return half.astype(np.float64)


def _blocks(x: Rows) -> Iterator[tuple[slice, Rows]]:
    return ((slice(start, start + _BLOCK), x[start : start + _BLOCK]) for start in range(0, len(x), _BLOCK))


def squared_radii(x: Rows, k: int, squares: Squares = squared_distances) -> Float[np.ndarray, "n"]:
    """Returns the squared distance of each row to its k-th nearest neighbour among the others; 0 for a duplicate.

    Raises:
      InputError: there are not as many others.
    """
    if len(x) <= k:
        raise InputError(f"{len(x)} features have no {k}-th neighbours: give at least {k + 1} images.")
    radii = np.empty(len(x))
    for here, rows in _blocks(x):
        nearest = np.empty((len(rows), 0))
        for _, others in _blocks(x):
            nearest = np.concatenate([nearest, squares(rows, others)], axis=1)
            if nearest.shape[1] > k + 1:
                nearest = np.partition(nearest, k, axis=1)[:, : k + 1]  # itself and k others
        radii[here] = nearest.max(axis=1)
    return radii


@dataclasses.dataclass(frozen=True)
class Manifold:
    """What two sets share.

    Attributes:
      precision: share of generated images within the real manifold.
      recall: share of real images within the generated manifold.
      density: mean number of real balls about a generated image, over k.
      coverage: share of real balls that hold a generated image.
    """

    precision: float
    recall: float
    density: float
    coverage: float

    @property
    def f_score(self) -> float:
        """Harmonic mean of precision and recall."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0


def manifold(
    *, generated: Rows, real: Float[np.ndarray, "m d"], k: int = 3, squares: Squares = squared_distances
) -> Manifold:
    """Returns all four metrics, by blocks of rows and columns: the memory is that of one block.

    Args:
      generated: features.
      real: features.
      k: neighbours that the balls reach.
      squares: how squared distances are taken; a ball includes its surface.
    """
    real_radii, generated_radii = squared_radii(real, k, squares), squared_radii(generated, k, squares)
    balls = np.zeros(len(generated), int)
    real_covered, in_generated = np.zeros(len(real), bool), np.zeros(len(real), bool)
    for here, rows in _blocks(generated):
        for there, others in _blocks(real):
            found = squares(rows, others)
            inside = found <= real_radii[there]
            balls[here] += inside.sum(axis=1)
            real_covered[there] |= inside.any(axis=0)
            in_generated[there] |= (found <= generated_radii[here, None]).any(axis=0)
    return Manifold(
        precision=float((balls > 0).mean()),
        recall=float(in_generated.mean()),
        density=float(balls.mean() / k),
        coverage=float(real_covered.mean()),
    )


def realism(
    *, generated: Rows, real: Float[np.ndarray, "m d"], k: int = 3, squares: Squares = squared_distances
) -> Float[np.ndarray, "n"]:
    """Returns the largest ratio of a real ball's radius to its distance, of each generated image; 1 or more is within.

    Squared, as guided-diffusion has it (Kynkaanniemi et al. 2019, section 3, without the median's cut).
    """
    radii, largest = squared_radii(real, k, squares), np.zeros(len(generated))
    for here, rows in _blocks(generated):
        for there, others in _blocks(real):
            largest[here] = np.maximum(largest[here], (radii[there] / squares(rows, others)).max(axis=1))
    return largest
