"""Adams-Bashforth-Moulton of order 4 as a diffrax solver: one evaluation a step, and an estimate of its error.

A step predicts from the last four derivatives (Adams-Bashforth), takes the derivative there, and corrects by it
(Adams-Moulton). The corrected state is not evaluated again, so a step costs one evaluation where a Runge-Kutta rule of
this order takes four or more. The first predictors have orders 1 to 3, and the first correctors are such that two steps
are Simpson's rule and three the rule of 3/8. So an integral has order 4 from its beginning; the solution of an equation
has order 3, by its first predictor.

Of the predictor's and the corrector's constants follows the error of the corrected state, by Milne's device
(Hairer, Nørsett and Wanner 1993, section III.1 and III.2, eq. 2.22).
"""

from typing import ClassVar

import diffrax
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

_PREDICT = (
    (1.0, 0.0, 0.0, 0.0),
    (3 / 2, -1 / 2, 0.0, 0.0),
    (23 / 12, -16 / 12, 5 / 12, 0.0),
    (55 / 24, -59 / 24, 37 / 24, -9 / 24),
)
"""Of the last derivatives, newest first, by how many steps there have been."""
_CORRECT = (
    (1 / 2, 1 / 2, 0.0, 0.0),
    (1 / 3, 5 / 6, -1 / 6, 0.0),
    (9 / 24, 19 / 24, -5 / 24, 1 / 24),
    (9 / 24, 19 / 24, -5 / 24, 1 / 24),
)
"""The same of the derivative at the step's end, and of those before it."""
_ERROR = (1 / 6, 1 / 10, 1 / 14, 19 / 270)
"""Of the corrected less the predicted state: the corrector's error, or a bound on it in the first steps."""


def _combined(weights: PyTree, states: tuple[PyTree, ...]) -> PyTree:
    return jax.tree.map(
        lambda *leaves: sum(w.astype(leaf.dtype) * leaf for w, leaf in zip(weights, leaves, strict=True)), *states
    )


class Adams(diffrax.AbstractSolver):
    """For steps of one length. The solver's state is the number of steps so far and the last four derivatives."""

    term_structure: ClassVar = diffrax.ODETerm
    interpolation_cls: ClassVar = diffrax.LocalLinearInterpolation

    def order(self, terms):
        """Four."""
        return 4

    def init(self, terms, t0, t1, y0, args):
        """The first derivative, and none before it."""
        first = terms.vf(t0, y0, args)
        nothing = jax.tree.map(jnp.zeros_like, first)
        return jnp.asarray(0), (first, nothing, nothing, nothing)

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        """Predicts, evaluates, corrects."""
        count, last = solver_state
        rank = jnp.minimum(count, 3)
        predict, correct, constant = (jnp.asarray(table)[rank] for table in (_PREDICT, _CORRECT, _ERROR))
        length = terms.contr(t0, t1)  # negative where diffrax counts time backwards

        def moved(weights, derivatives):
            return jax.tree.map(
                lambda y, slope: y + length.astype(y.dtype) * slope, y0, _combined(weights, derivatives)
            )

        predicted = moved(predict, last)
        new = terms.vf(t1, predicted, args)
        last = (new, *last[:3])
        corrected = moved(correct, last)
        error = jax.tree.map(lambda one, other: constant.astype(one.dtype) * (one - other), corrected, predicted)
        return corrected, error, {"y0": y0, "y1": corrected}, (count + 1, last), diffrax.RESULTS.successful

    def func(self, terms, t0, y0, args):
        """The derivative."""
        return terms.vf(t0, y0, args)
