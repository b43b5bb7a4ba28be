"""Sliced score matching (Song et al. 2019, arXiv 1905.07088): the score's Jacobian along random directions.

    E [ v^T J v + (v^T s)² / 2 ]        plain              (eq. 7)
    E [ v^T J v + ||s||² / 2 ]          variance reduced   (eq. 8; E[v v^T] = 1)

Values are per example and in the two parts, which papers report apart.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from score_jax.arrays import broadcast_right, sum_per_example
from score_jax.processes.gaussian import NoiseSchedule
from score_jax.typing import Batch, KeyBatch, Time

Score = Callable[[Batch], Batch]
Curvature = Callable[[Score, Batch, Batch], tuple[Batch, Float[Array, "b"]]]
"""`curvature(score, x, v)`: the score at x, and v^T J v of each example."""


def exact(score: Score, x: Batch, v: Batch) -> tuple[Batch, Float[Array, "b"]]:
    """Returns the directional derivative of the score by one Jacobian-vector product."""
    value, along = jax.jvp(score, (x,), (v,))
    return value, sum_per_example(v * along)


def finite_difference(epsilon: float) -> Curvature:
    """Returns the derivative by a central difference over 2 epsilon v (Pang et al. 2020, eq. 12): three evaluations."""

    def curvature(score: Score, x: Batch, v: Batch) -> tuple[Batch, Float[Array, "b"]]:
        change = score(x + epsilon * v) - score(x - epsilon * v)
        return score(x), sum_per_example(v * change) / (2 * epsilon)

    return curvature


def sliced(
    score: Score, x: Batch, v: Batch, *, variance_reduced: bool, curvature: Curvature = exact
) -> tuple[Float[Array, "b"], Float[Array, "b"]]:
    """Returns the norm's part and the curvature's part of the objective, at x (b, ...) along v like x.

    Args:
      score: of the model; of an energy, its negative gradient.
      x: points.
      v: directions, drawn by one of `PROJECTIONS`.
      variance_reduced: half of ||s||² for half of (v^T s)².
      curvature: `exact` or `finite_difference(epsilon)`.
    """
    value, bend = curvature(score, x, v)
    norm = sum_per_example(value**2) if variance_reduced else sum_per_example(v * value) ** 2
    return 0.5 * norm, bend


def annealed(
    score: Callable[[Batch, Time], Batch], process: NoiseSchedule, x0: Batch, t: Time, noise: Batch, v: Batch
) -> Float[Array, "b"]:
    """Returns sigma² times the variance-reduced objective at x_t (Song and Ermon 2019, section 3.2)."""
    x = process.perturb(x0, t, noise)
    norm, bend = sliced(lambda x: score(x, t), x, v, variance_reduced=True)
    return process.sigma(t) ** 2 * (norm + bend)


def rademacher(z: Batch) -> Batch:
    """Returns the signs of the normal draws z."""
    return jnp.sign(z)


def gaussian(z: Batch) -> Batch:
    """Returns the normal draws themselves."""
    return z


def sphere(z: Batch) -> Batch:
    """Scales the draws to length sqrt(d), so that E[v v^T] = 1."""
    return z * broadcast_right(jnp.sqrt(z[0].size / sum_per_example(z**2)), z)


def unit(z: Batch) -> Batch:
    """Scales the draws to length 1."""
    return z * broadcast_right(1 / jnp.sqrt(sum_per_example(z**2)), z)


PROJECTIONS: dict[str, Callable[[Batch], Batch]] = {
    "rademacher": rademacher,
    "gaussian": gaussian,
    "sphere": sphere,
    "unit": unit,
}


def directions(keys: KeyBatch, like: Batch, projection: Callable[[Batch], Batch] = rademacher) -> Batch:
    """Draws one direction per example, like `like` (b, ...)."""
    return projection(jax.vmap(lambda key: jax.random.normal(key, like.shape[1:], like.dtype))(keys))
