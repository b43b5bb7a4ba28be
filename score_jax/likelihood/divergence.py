"""The divergence of a drift h, the trace of J = dh/dx, from products with J: exactly, or by random probes.

    tr J = E[v' J v]                       for E[v v'] = I    (Hutchinson 1989; Grathwohl et al. 2019, eq. 7)
    tr J = tr(Q' J Q) + E[v' P J P v]      P = I - Q Q', Q a basis of the range of J S (Hutch++, Meyer et al. 2021)

An estimate comes as parts, whose mean is the estimate and whose spread says how far it may be off.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree
from scipy import stats

from score_jax.errors import InputError, unknown_name
from score_jax.typing import KeyArray

Product = Callable[[Float[Array, "d"]], Float[Array, "d"]]
"""v -> J v, or v -> J' v: their traces are the same."""
Probes = Float[Array, "k d"]
Parts = Float[Array, "m"]
_CHUNK = 64
"""Directions of the exact trace that are taken at a time."""


def _independent(draw: Callable) -> Callable[[KeyArray, int, int, jnp.dtype], Probes]:
    return lambda key, count, dim, dtype: draw(key, (count, dim), dtype)


def _orthogonal(key: KeyArray, count: int, dim: int, dtype) -> Probes:
    """Directions of a random frame, each of length sqrt(dim): with as many as dimensions the trace is exact."""
    if count > dim:
        raise InputError(f"{count} orthogonal probes in {dim} dimensions: give at most {dim}, or divergence='exact'.")
    frame, _ = jnp.linalg.qr(jax.random.normal(key, (dim, count), dtype))
    return jnp.sqrt(jnp.asarray(dim, dtype)) * frame.T


def _sketch_and_rest(key: KeyArray, count: int, dim: int, dtype) -> Probes:
    """Hutch++'s: the first half normal, since signs may coincide in few dimensions and then span less."""
    first, second = jax.random.split(key)
    sketch = jax.random.normal(first, (count // 2, dim), dtype)
    return jnp.concatenate([sketch, jax.random.rademacher(second, (count // 2, dim), dtype)])


def _nothing(key: KeyArray, count: int, dim: int, dtype) -> Probes:
    return jnp.zeros((0, dim), dtype)


def _quadratic(product: Product, probes: Probes) -> Parts:
    """v' J v of each probe."""
    return jax.vmap(lambda v: jnp.vdot(v, product(v)))(probes)


def _hutch_plus_plus(product: Product, probes: Probes) -> Parts:
    """A third of the products each for the range, the trace on it, and the trace on what is left."""
    sketch, rest = jnp.split(probes, 2)
    basis, _ = jnp.linalg.qr(jax.vmap(product)(sketch).T)
    rest = rest - (rest @ basis) @ basis.T
    return jnp.sum(_quadratic(product, basis.T)) + _quadratic(product, rest)


def _exact(product: Product, probes: Probes) -> Parts:
    basis = jnp.eye(probes.shape[1], dtype=probes.dtype)
    diagonal = jax.lax.map(lambda e: jnp.vdot(e, product(e)), basis, batch_size=min(_CHUNK, len(basis)))
    return jnp.sum(diagonal)[None]


@dataclasses.dataclass(frozen=True)
class _Estimator:
    """How probes (k, d) are drawn, and what they say of the trace."""

    draw: Callable[[KeyArray, int, int, jnp.dtype], Probes]
    estimate: Callable[[Product, Probes], Parts]


ESTIMATORS = {
    "rademacher": _Estimator(_independent(jax.random.rademacher), _quadratic),
    "gaussian": _Estimator(_independent(jax.random.normal), _quadratic),
    "orthogonal": _Estimator(_orthogonal, _quadratic),
    "hutch_plus_plus": _Estimator(_sketch_and_rest, _hutch_plus_plus),
    "exact": _Estimator(_nothing, _exact),
}


def _forward(drift: Callable[[Array], Array], x: Array) -> tuple[Array, Product]:
    value, linear = jax.linearize(drift, x)
    return value, lambda v: jnp.ravel(linear(v.reshape(x.shape)))


def _reverse(drift: Callable[[Array], Array], x: Array) -> tuple[Array, Product]:
    value, transposed = jax.vjp(drift, x)
    return value, lambda v: jnp.ravel(transposed(v.reshape(x.shape))[0])


_LINEARISATIONS = {"forward": _forward, "reverse": _reverse}
DERIVATIVES = tuple(_LINEARISATIONS)


@dataclasses.dataclass(frozen=True)
class Divergence:
    """How the divergence along a path is taken.

    Attributes:
      name: rademacher or gaussian (Hutchinson's, independent probes), orthogonal (the directions of a random frame),
        hutch_plus_plus, or exact (as many products as dimensions).
      probes: products with the Jacobian per evaluation; Hutch++ splits them in three.
      fresh: probes drawn anew at every time, which averages their noise along the path. Otherwise they are held fixed,
        as in Song et al. 2021: the path is then a smooth ODE, and its log-density part of the error control.
      derivative: forward (J v; the cheaper where both exist) or reverse (J' v; for a network that has no forward
        mode, e.g. of attention by cuDNN).

    Raises:
      InputError: a name is unknown, or the number of probes is not possible.
    """

    name: str = "rademacher"
    probes: int = 1
    fresh: bool = False
    derivative: str = "forward"

    def __post_init__(self):
        if self.name not in ESTIMATORS:
            raise unknown_name("divergence estimator", self.name, ESTIMATORS)
        if self.derivative not in DERIVATIVES:
            raise unknown_name("derivative", self.derivative, DERIVATIVES)
        if self.probes < 1:
            raise InputError(f"{self.probes} probes for the divergence: give at least one.")
        if self.name == "hutch_plus_plus" and self.probes % 3:
            raise InputError(f"Hutch++ splits its probes in three: give 3, 6, ... instead of {self.probes}.")

    @property
    def parts(self) -> int:
        """Values whose mean is the estimate."""
        return {"exact": 1, "hutch_plus_plus": self.probes // 3}.get(self.name, self.probes)

    def draw(self, key: KeyArray, x: Array) -> Probes:
        """Probes for an example like x, of d elements.

        Raises:
          InputError: more orthogonal ones than dimensions.
        """
        count = 2 * self.parts if self.name == "hutch_plus_plus" else self.probes
        return ESTIMATORS[self.name].draw(key, count, x.size, x.dtype)

    def of(self, drift: Callable[[Array], Array], x: Array, probes: Probes) -> tuple[Array, Parts]:
        """The drift at one example x, and the parts of its divergence."""
        value, product = _LINEARISATIONS[self.derivative](drift, x)
        return value, ESTIMATORS[self.name].estimate(product, probes.astype(x.dtype))

    @property
    def degrees_of_freedom(self) -> int:
        """Of `standard_error`, which few probes estimate roughly: an interval is `student_factor` of them wide."""
        return self.parts - 1

    def standard_error(self, parts: Float[Array, "b m"], dim: int) -> Float[Array, "b"]:
        """Of the mean of the parts; NaN of a single probe, which does not know its own error."""
        if self.name == "exact":
            return jnp.zeros(len(parts), parts.dtype)
        if self.parts == 1:
            return jnp.full(len(parts), jnp.nan, parts.dtype)
        # A frame is a sample without replacement of directions: all of them together have no error.
        known = self.parts / dim if self.name == "orthogonal" else 0.0
        return jnp.std(parts, axis=1, ddof=1) * jnp.sqrt((1 - known) / self.parts)


def student_factor(degrees_of_freedom: int | float, level: float = 0.95) -> float:
    """Returns how many estimated standard errors an interval of this level extends to either side (Student's t).

    At 95 % 12.7 of two probes or examples, 4.3 of three, 2.3 of ten, 1.96 of very many. NaN without degrees of freedom.
    """
    return float(stats.t.ppf(0.5 + 0.5 * level, degrees_of_freedom)) if degrees_of_freedom > 0 else math.nan


def cheaper_derivative(drift: Callable[..., Array], *args: PyTree[Array | jax.ShapeDtypeStruct]) -> str:
    """Returns which of `DERIVATIVES` takes fewer operations, as XLA counts them, for the drift and one product.

    Args:
      drift: `drift(x, ...)`; what it is of beside x, its parameters too, must be arguments.
      args: what it is called with; shapes and types suffice.

    Returns:
      "reverse" also where the drift has no forward mode.
    """
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), args)

    def operations(name: str) -> float:
        def once(x, *others):
            value, product = _LINEARISATIONS[name](lambda x: drift(x, *others), x)
            return value, product(jnp.ones(x.size, x.dtype))

        counted: Any = jax.jit(once).lower(*shapes).cost_analysis()
        return counted["flops"]

    try:
        forward = operations("forward")
    except TypeError:  # what jax raises of a function with a reverse mode of its own
        return "reverse"
    return "reverse" if operations("reverse") < forward else "forward"
