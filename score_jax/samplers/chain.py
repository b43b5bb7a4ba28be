"""Any step rule as a diffrax solver on a fixed grid.

diffrax integrates over the step's index 0..N, not over t, so that no time is negated or rounded on the way: step i
leads from grid[i] to grid[i + 1].
"""

from collections.abc import Callable
from typing import ClassVar, NamedTuple

import diffrax
import equinox as eqx
import jax
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


class _State(NamedTuple):
    """Of a walk: the state, its mean, both at the kept steps so far, and what a multistep rule remembers."""

    x: Batch
    mean: Batch
    kept: tuple[Float[Array, "k b ..."], Float[Array, "k b ..."]]
    memory: PyTree = None


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

    marks = jnp.asarray(save_at, int)

    def keep(kept, i, state):
        if not save_at:
            return kept
        slot = jnp.where(jnp.isin(i, marks), jnp.searchsorted(marks, i), len(save_at))
        return tuple(of_one.at[slot].set(value, mode="drop") for of_one, value in zip(kept, state, strict=True))

    def advance(i, y):
        t, s = (jnp.full(x.shape[:1], grid[j], x.dtype) for j in (i, i + 1))
        told = (predictor,) if memory is None else (predictor, y.memory)
        x_next, mean, *remembered = step(path(i), y.x, t, s, *told)
        return _State(x_next, mean, keep(y.kept, i + 1, (x_next, mean)), *remembered)

    nothing = jnp.zeros((len(save_at), *x.shape), x.dtype)
    # A constant step has no checks of its times, which would be callbacks that keep the program out of the compile
    # cache; so would `ts` of SaveAt.
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda t, y, args: y),
        _Chain(advance),
        t0=0,
        t1=num_steps,
        dt0=1,
        y0=_State(x, x, keep((nothing, nothing), 0, (x, x)), memory),
        stepsize_controller=diffrax.ConstantStepSize(),
        saveat=diffrax.SaveAt(t1=True),
        adjoint=diffrax.ForwardMode(),
        max_steps=num_steps + 2,
        throw=False,
    )
    end = jax.tree.map(lambda saved: saved[0], solution.ys)
    return Walk(end.x, end.mean, *end.kept)
