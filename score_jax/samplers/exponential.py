"""What multistep exponential integrators share: the mean over a step of a polynomial through the model's last answers.

Between two times the flow keeps x_t as these equations say exactly, with the mean of x0 over the step in the measure
d(alpha / sigma), or that of eps in d(sigma / alpha):

    x_s = (sigma_s / sigma_t) x_t + (alpha_s - sigma_s alpha_t / sigma_t) mean x0            (1)
    x_s = (alpha_s / alpha_t) x_t + (sigma_s - alpha_s sigma_t / alpha_t) mean eps           (2)

The answer at t in place of the mean is DDIM. With Newton's form of the polynomial through the answers f_j at the places
c_0 = start, c_1, ..., in any coordinate c that is monotonous in time,

    mean f = f_0 + sum over m of f[c_0 ... c_m] W_m,  W_m = mean B_m,  B_m(c) = (c - c_0) ... (c - c_(m-1))      (3)

and since B_m(c_0) = 0, W_m is the integral of B_m'(c) times the share of the measure that lies after c: no large terms
cancel, however short the step. It is taken by Gauss and Legendre's rule of 16 points.

A term is left out where the step is more than twice as long as the mean of the steps between the answers: even levels
of a chain end with such a step, and extrapolated over it a polynomial is far off (published code lowers the order of
the last steps, by their number).
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from score_jax.arrays import broadcast_right
from score_jax.processes.gaussian import NoiseSchedule
from score_jax.typing import Batch, Time

_POINTS, _WEIGHTS = np.polynomial.legendre.leggauss(16)
_LONGEST = 2.0
"""Of a step over the mean of the remembered steps: answers from before a longer one are too near to be extrapolated."""
Share = Callable[[Float[Array, "q b"]], Float[Array, "q b"]]
"""`after(c)`: the share of a step's measure that lies after c: 1 at the start, 0 at the end."""


class Answers(NamedTuple):
    """The model's last answers, the newest first (k, b, ...), where they were given (k, b), and how many are known.

    diffrax takes states of floating-point numbers alone, so that the count is one.
    """

    values: Float[Array, "k b ..."]
    places: Float[Array, "k b"]
    known: Float[Array, ""]

    def with_newest(self, value: Batch, place: Time) -> "Answers":
        """One more; the oldest is still there."""
        values = jnp.concatenate([value[None], self.values])
        return Answers(values, jnp.concatenate([place[None], self.places]), self.known + 1)

    def newest(self, count: int) -> "Answers":
        """No more than so many."""
        return Answers(self.values[:count], self.places[:count], jnp.minimum(self.known, count))


def no_answers(x: Batch, count: int) -> Answers:
    """Returns the memory before the first step, of a rule that remembers `count` answers."""
    zeros = jnp.zeros((count, *x.shape), x.dtype)
    return Answers(zeros, jnp.zeros((count, x.shape[0]), x.dtype), jnp.zeros((), x.dtype))


def mean_over_step(answers: Answers, end: Time, after: Share, *, halfway: bool = False, at_end: int = 0) -> Batch:
    """Returns equation (3): the mean over a step of the polynomial through the known answers.

    Args:
      answers: the first where the step begins, the others anywhere else.
      end: where the step ends, in the coordinate of the places; of infinite steps the first answer is returned.
      after: of the step's measure.
      halfway: of two answers, take their line's value at the middle of the step in the coordinate.
      at_end: how many answers, after the first, are from the step's end; the others are from before the step.
    """
    start = answers.places[0]
    finite = jnp.isfinite(end - start)
    length = jnp.where(finite, end - start, 0.0)
    places = start[None] + 0.5 * (1 + jnp.asarray(_POINTS, start.dtype))[:, None] * length[None]
    weights = 0.5 * jnp.asarray(_WEIGHTS, start.dtype)[:, None] * length[None]
    mean, differences = answers.values[0], list(answers.values)
    for m in range(1, len(answers.values)):
        apart = [answers.places[j + m] - answers.places[j] for j in range(len(differences) - 1)]
        differences = [
            (differences[j + 1] - differences[j]) / broadcast_right(jnp.where(apart[j] == 0, 1.0, apart[j]), mean)
            for j in range(len(apart))
        ]
        basis = functools.partial(_basis, answers.places[:m])
        _, slope = jax.jvp(basis, (places,), (jnp.ones_like(places),))
        of_basis = jnp.sum(weights * slope * after(places), axis=0)
        if halfway and m == 1:
            of_basis = jnp.where(answers.known == 2, 0.5 * length, of_basis)
        past = m - at_end
        near = jnp.abs(length) * past <= _LONGEST * jnp.abs(answers.places[m] - start) if past > 0 else True
        # Infinite where an answer was given at no signal at all, from which the others are infinitely far.
        used = (answers.known > m) & near & finite & jnp.isfinite(of_basis)
        of_basis = jnp.where(used, of_basis, 0.0)
        mean = mean + broadcast_right(of_basis, mean) * differences[0]
    return mean


def _basis(roots: Float[Array, "m b"], c: Float[Array, "q b"]) -> Float[Array, "q b"]:
    """B_m, which vanishes at the places before."""
    return math.prod(c - root[None] for root in roots)


def half_log_snr(process: NoiseSchedule, t: Time) -> Time:
    """Returns lambda = log(alpha / sigma), the coordinate of DPM-Solver++; infinite at the data."""
    return 0.5 * process.log_snr(t)


def by_x0(process: NoiseSchedule, x: Batch, x0: Batch, t: Time, s: Time) -> Batch:
    """Returns equation (1) with this mean of x0."""
    kept = process.sigma(s) / process.sigma(t)
    gained = process.alpha(s) - kept * process.alpha(t)
    return broadcast_right(kept, x) * x + broadcast_right(gained, x) * x0


def mean_of_x0(answers: Answers, end: Time, *, at_end: int = 0) -> Batch:
    """Returns the mean of x0 for equation (1), of answers at values of lambda, over a step to lambda = `end`.

    The measure d(alpha / sigma) is e^lambda d lambda. Of two answers it is their line halfway, as the papers have it.
    """
    start = answers.places[0]
    length = (end - start)[None]

    def after(place: Float[Array, "q b"]) -> Float[Array, "q b"]:
        return jnp.expm1(place - start[None] - length) / jnp.expm1(-length)

    return mean_over_step(answers, end, after, halfway=True, at_end=at_end)
