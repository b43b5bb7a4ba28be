"""Any step rule as a diffrax solver on a fixed grid.

diffrax integrates over the step's index 0..N, not over t, so that no time is negated or rounded on the way: step i
leads from grid[i] to grid[i + 1].
"""

from collections.abc import Callable
from typing import ClassVar, NamedTuple

import diffrax
import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from score_jax.arrays import largest_whole
from score_jax.errors import InputError
from score_jax.prediction.predictor import Predictor
from score_jax.processes.noise import Noise, NoisePath
from score_jax.typing import Batch, Time

RememberingStep = Callable[[Noise, Batch, Time, Time, Predictor, PyTree], tuple[Batch, Batch, PyTree]]
"""A step rule that hands something on to the next step: `step(noise, x, t, s, predictor, memory)`."""


class Walk(NamedTuple):
    """Where a walk ended: the state x, its mean (the last noise left out), and both at the kept steps (k, b, ...)."""

    x: Batch
    mean: Batch
    kept: Float[Array, "k b ..."]
    kept_means: Float[Array, "k b ..."]


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
        """Never called: the grid is fixed."""
        raise NotImplementedError


def run_chain(
    step: Callable[..., tuple],
    predictor: Predictor,
    path: NoisePath,
    x: Batch,
    grid: Float[Array, "n"],
    save_at: tuple[int, ...] = (),
    memory: PyTree = None,
) -> Walk:
    """Walks `x` (b, ...) down the grid.

    Args:
      step: the rule, a `Step`; with a `memory` a `RememberingStep`.
      predictor: the model.
      path: the noise; step i draws from `path(i)`.
      x: state at grid[0].
      grid: times (N + 1,); a traced value, so that other times are no other program.
      save_at: increasing step counts in 0..N at which the state is kept.
      memory: what a multistep rule begins with.

    Raises:
      InputError: the grid has more steps than its dtype can count.
    """
    num_steps = grid.shape[0] - 1
    if num_steps > largest_whole(grid.dtype):
        raise InputError(
            f"{num_steps} steps are more than {grid.dtype} can count: give at most {largest_whole(grid.dtype)}."
        )

    def advance(i, y):
        t, s = (jnp.full(x.shape[:1], grid[j], x.dtype) for j in (i, i + 1))
        if memory is None:
            return *step(path(i), y[0], t, s, predictor), None
        return step(path(i), y[0], t, s, predictor, y[2])

    subs = [diffrax.SubSaveAt(t1=True, fn=lambda t, y, args: y[:2])]
    if save_at:
        ts = jnp.asarray(save_at, grid.dtype)
        subs.append(diffrax.SubSaveAt(ts=ts, fn=lambda t, y, args: y[:2]))
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda t, y, args: y),
        _Chain(advance),
        t0=0,
        t1=num_steps,
        dt0=None,
        y0=(x, x, memory),
        stepsize_controller=diffrax.StepTo(ts=jnp.arange(num_steps + 1, dtype=grid.dtype)),
        saveat=diffrax.SaveAt(subs=subs),
        adjoint=diffrax.ForwardMode(),
        max_steps=num_steps + 2,
        throw=False,
    )
    nothing = jnp.zeros((0, *x.shape), x.dtype)
    kept, kept_means = solution.ys[1] if save_at else (nothing, nothing)
    return Walk(solution.ys[0][0][0], solution.ys[0][1][0], kept, kept_means)
