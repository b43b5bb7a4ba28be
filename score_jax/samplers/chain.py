"""Any step rule as a diffrax solver on a fixed grid.

diffrax integrates over the step's index 0..N, not over t, so that no time is negated or rounded on the way: step i
leads from grid[i] to grid[i + 1].
"""

from collections.abc import Callable
from typing import ClassVar

import diffrax
import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from score_jax.arrays import fold_in_each
from score_jax.predictor import Predictor
from score_jax.samplers.steps import Step
from score_jax.typing import Batch, KeyBatch


class _Chain(diffrax.AbstractSolver):
    """Applies `advance(i, y) -> y` at its i-th step; the solver state is i."""

    advance: Callable[[Int[Array, ""], PyTree], PyTree] = eqx.field(static=True)
    term_structure: ClassVar = diffrax.ODETerm
    interpolation_cls: ClassVar = diffrax.LocalLinearInterpolation

    def order(self, terms):
        """No order in the index."""
        return None

    def init(self, terms, t0, t1, y0, args):
        """The first step is step 0."""
        return jnp.asarray(0)

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        """One application of the rule."""
        y1 = self.advance(solver_state, y0)
        return y1, None, {"y0": y0, "y1": y1}, solver_state + 1, diffrax.RESULTS.successful

    def func(self, terms, t0, y0, args):
        """Never asked for: the grid is fixed."""
        raise NotImplementedError


def run_chain(
    step: Step,
    predictor: Predictor,
    keys: KeyBatch,
    x: Batch,
    grid: Float[Array, "n"],
    save_at: tuple[int, ...],
) -> tuple[Batch, Float[Array, "k b ..."]]:
    """Walks `x` (b, ...) down the grid.

    Args:
      step: the rule.
      predictor: the model.
      keys: one key per example (b,); step i draws from `fold_in(key, i)`.
      x: state at grid[0].
      grid: decreasing times (N + 1,).
      save_at: increasing step counts in 0..N at which the state is kept.

    Returns:
      The mean of the last step (its noise left out), and the kept states (k, b, ...).
    """
    num_steps = grid.shape[0] - 1

    def advance(i, y):
        t, s = (jnp.full(x.shape[:1], grid[j], x.dtype) for j in (i, i + 1))
        return step(fold_in_each(keys, i), y[0], t, s, predictor)

    subs = [diffrax.SubSaveAt(t1=True, fn=lambda t, y, args: y[1])]
    if save_at:
        ts = jnp.asarray(save_at, grid.dtype)
        subs.append(diffrax.SubSaveAt(ts=ts, fn=lambda t, y, args: y[0]))
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda t, y, args: y),
        _Chain(advance),
        t0=0,
        t1=num_steps,
        dt0=None,
        y0=(x, x),
        stepsize_controller=diffrax.StepTo(ts=jnp.arange(num_steps + 1, dtype=grid.dtype)),
        saveat=diffrax.SaveAt(subs=subs),
        adjoint=diffrax.ForwardMode(),
        max_steps=num_steps + 2,
        throw=False,
    )
    kept = solution.ys[1] if save_at else jnp.zeros((0, *x.shape), x.dtype)
    return solution.ys[0][0], kept
