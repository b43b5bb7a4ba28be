"""The probability-flow ODE: its drift, and the diffrax solve that sampling and likelihood share."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import optimistix
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int, PyTree

from score_jax.arrays import broadcast_right
from score_jax.errors import InputError, unknown_name
from score_jax.prediction.predictor import ConditionalPredictor, Conditions, Predictor, with_conditions
from score_jax.processes.gaussian import GaussianProcess
from score_jax.samplers.adams import Adams
from score_jax.samplers.flow_variables import IN_TIME, FlowVariables, InTime
from score_jax.typing import Batch, Time

SOLVERS = {
    "dopri5": diffrax.Dopri5,
    "tsit5": diffrax.Tsit5,
    "heun": diffrax.Heun,
    "dopri8": diffrax.Dopri8,
    "bosh3": diffrax.Bosh3,
    "kvaerno5": diffrax.Kvaerno5,
}
EXPLICIT = tuple(name for name in SOLVERS if name != "kvaerno5")
CONTROLS = ("example", "batch")
ADAMS = "adams"
"""Beside `SOLVERS`, for steps of one length alone."""

# Near t = 1 the drift nearly vanishes and the error estimate is float32 rounding, which differs with the number of
# devices. Up to a growth of 2 such an estimate counts as zero, and step sizes are the same everywhere; diffrax's 10
# would turn rounding into differences between samples as large as the tolerance.
_GROWTH = 2.0


@dataclasses.dataclass(frozen=True)
class AdaptiveODE:
    """A Runge-Kutta solver under PID step control.

    Attributes:
      solver: a key of `SOLVERS`. kvaerno5 is implicit: for stiff drifts of few dimensions, whose Jacobian it inverts.
      rtol: relative tolerance of the step control.
      atol: absolute tolerance, in units of the state.
      max_steps: accepted and rejected steps after which an example is given up (and reported as failed).
      control: "example": each has step sizes of its own, and none depends on its neighbours; "batch": the batch is one
        state, as in score_sde.
      differentiable: reverse mode may pass through the solve, by recomputation from checkpoints.

    Raises:
      InputError: a name is unknown.
    """

    solver: str = "tsit5"
    rtol: float = 1e-5
    atol: float = 1e-5
    max_steps: int = 4096
    control: str = "example"
    differentiable: bool = False

    def __post_init__(self):
        if self.solver not in SOLVERS:
            raise unknown_name("ODE solver", self.solver, SOLVERS)
        if self.control not in CONTROLS:
            raise unknown_name("step control", self.control, CONTROLS)


def _check_explicit(solver: str, known: tuple[str, ...]) -> None:
    if solver not in known:
        raise unknown_name("ODE solver on a grid", solver, known)


@dataclasses.dataclass(frozen=True)
class GridODE:
    """An explicit Runge-Kutta solver on a grid: no step depends on the data, on its neighbours or on rounding.

    Attributes:
      times: increasing, the two ends of the solve among them; a solve the other way takes them in reverse.
      solver: a key of `SOLVERS`.
      differentiable: reverse mode may pass through the solve, by recomputation from checkpoints.

    Raises:
      InputError: the solver is unknown or implicit.
    """

    times: tuple[float, ...]
    solver: str = "dopri5"
    differentiable: bool = False

    def __post_init__(self):
        _check_explicit(self.solver, EXPLICIT)


@dataclasses.dataclass(frozen=True)
class EvenODE:
    """A solver by steps of one length in the variable of the solve: none depends on the data or on rounding.

    Attributes:
      num_steps: between the two ends.
      solver: "adams" (order 4, one evaluation a step), or an explicit key of `SOLVERS`.
      differentiable: reverse mode may pass through the solve, by recomputation from checkpoints.

    Raises:
      InputError: the solver is unknown or implicit, or there is no step.
    """

    num_steps: int
    solver: str = ADAMS
    differentiable: bool = False

    def __post_init__(self):
        _check_explicit(self.solver, (ADAMS, *EXPLICIT))
        if self.num_steps < 1:
            raise InputError(f"{self.num_steps} steps of an ODE solve: give at least one.")


ODE = AdaptiveODE | GridODE | EvenODE


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Solved:
    """End state of a batch of solves, the states kept on the way, evaluations and success per example.

    `error` is what the solver estimates to have missed, in absolute value and summed over the steps, of what `solve`
    was told to measure; NaN where it was told nothing, or the steps are adaptive.
    """

    y: PyTree[Array]
    kept: PyTree[Array]
    nfe: Int[Array, "b"]
    ok: Bool[Array, "b"]
    error: Float[Array, "b"]


def probability_flow_drift(predictor: Predictor, process: GaussianProcess, x: Batch, t: Time) -> Batch:
    """Returns dx/dt = alpha' x0 + sigma' eps for x (b, ...) and t (b,).

    The same as f x - g² score / 2 (Song et al. 2021, eq. 13), without its poles where alpha or sigma is 0.
    """
    prediction = predictor(x, t)
    alpha_rate, sigma_rate = (broadcast_right(rate, x) for rate in process.rates(t))
    return alpha_rate * prediction.x0 + sigma_rate * prediction.eps


def _nothing(error: PyTree[Array]) -> Float[Array, ""]:
    """Measures nothing of an error."""
    return jnp.asarray(jnp.nan, jax.tree.leaves(error)[0].dtype)


class _Positions(diffrax.AbstractStepSizeController):
    """Steps between given positions, as `diffrax.StepTo`, that sums the solver's estimates of its error.

    It has no checks while it runs: those of StepTo are callbacks, which keep a program out of the compile cache.
    """

    positions: Float[Array, "n"]
    measured: Callable[[PyTree[Array]], Float[Array, "..."]] = eqx.field(static=True)

    def wrap(self, direction):
        """Towards smaller positions diffrax negates them."""
        return type(self)(self.positions * direction, self.measured)

    def init(self, terms, t0, t1, y0, dt0, args, func, error_order):
        """The first step, and no error."""
        return self.positions[1], (jnp.asarray(2), jnp.zeros_like(self.measured(y0)))

    def adapt_step_size(self, t0, t1, y0, y1_candidate, args, y_error, error_order, controller_state):
        """On to the next position."""
        index, total = controller_state
        state = index + 1, total + jnp.abs(self.measured(y_error))
        return True, t1, self.positions[index], False, state, diffrax.RESULTS.successful


def solve(
    vector_field,
    y0: PyTree[Array],
    args,
    t0: float,
    t1: float,
    ode: ODE,
    save_ts: Float[Array, "k"] | None = None,
    controlled: Callable[[PyTree[Array]], PyTree[Array]] = lambda y: y,
    measured: Callable[[PyTree[Array]], Float[Array, "..."]] = _nothing,
    *,
    first_step: float = 0.01,
) -> Solved:
    """Integrates every example of a batch.

    Args:
      vector_field: `f(t, y, args) -> dy/dt` for one example.
      y0: states with a leading batch axis.
      args: passed to `vector_field`, with a leading batch axis.
      t0: start, either side of `t1`.
      t1: end.
      ode: solver, and how its steps are chosen.
      save_ts: times at which states are kept, in the order of the solve.
      controlled: the part of the state whose error sets the step sizes.
      measured: of the error of a step, a state (b, ...), the number (b,) whose absolute values are summed.
      first_step: length of the first of adaptive steps, a process's `first_step`.

    Returns:
      `Solved`; `nfe` counts every evaluation of the vector field, those of rejected steps included, but of an implicit
      solver only its stages, not the iterations in them. The batch advances until its slowest example is done.
    """
    solver, per_step, once = _solver_and_cost(ode.solver)
    steps = _steps(ode, t0, t1, first_step, controlled, measured)
    grid = not isinstance(ode, AdaptiveODE)

    def run(field, y, arg):
        subs = [diffrax.SubSaveAt(t1=True)]
        if save_ts is not None:
            subs.append(diffrax.SubSaveAt(ts=save_ts))
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(field),
            solver,
            t0=t0,
            t1=t1,
            dt0=steps.dt0,
            y0=y,
            args=arg,
            stepsize_controller=steps.controller,
            saveat=diffrax.SaveAt(subs=subs, controller_state=grid),
            adjoint=diffrax.RecursiveCheckpointAdjoint() if ode.differentiable else diffrax.ForwardMode(),
            max_steps=steps.max_steps,
            throw=False,
        )
        end = jax.tree.map(lambda leaf: leaf[0], solution.ys[0])
        nfe = once + per_step * solution.stats["num_steps"]
        kept = None if save_ts is None else solution.ys[1]
        error = solution.controller_state[1] if grid else _nothing(y)
        return end, kept, nfe, solution.result == diffrax.RESULTS.successful, error

    if isinstance(ode, AdaptiveODE) and ode.control == "example":
        return Solved(*jax.vmap(functools.partial(run, vector_field))(y0, args))
    end, kept, nfe, ok, error = run(jax.vmap(vector_field, in_axes=(None, 0, 0)), y0, args)
    count = jax.tree.leaves(y0)[0].shape[:1]
    by_example = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, 1), kept)
    return Solved(end, by_example, *(jnp.broadcast_to(of_all, count) for of_all in (nfe, ok, error)))


def _solver_and_cost(name: str) -> tuple[diffrax.AbstractSolver, int, int]:
    """A solver, and its evaluations of each step and beside them."""
    if name == ADAMS:
        return Adams(), 1, 1
    solver = SOLVERS[name]()
    tableau: Any = solver.tableau
    return solver, tableau.num_stages - int(tableau.fsal), int(tableau.fsal)


@dataclasses.dataclass(frozen=True)
class _Steps:
    """diffrax's settings of the steps."""

    dt0: float | None
    controller: diffrax.AbstractStepSizeController
    max_steps: int


def _steps(ode: ODE, t0: float, t1: float, first_step: float, controlled: Callable, measured: Callable) -> _Steps:
    if isinstance(ode, EvenODE):
        positions = jnp.linspace(t0, t1, ode.num_steps + 1)
        return _Steps(None, _Positions(positions, measured), ode.num_steps)
    if isinstance(ode, GridODE):
        if (min(t0, t1), max(t0, t1)) != (ode.times[0], ode.times[-1]):
            raise InputError(f"A grid from {ode.times[0]} to {ode.times[-1]} for a solve between {t0} and {t1}.")
        times = jnp.asarray(ode.times if t1 > t0 else ode.times[::-1])
        return _Steps(None, _Positions(times, measured), len(times) - 1)
    dt0 = first_step * (1 if t1 > t0 else -1)

    def norm(error):
        return optimistix.rms_norm(controlled(error))

    return _Steps(dt0, diffrax.PIDController(rtol=ode.rtol, atol=ode.atol, factormax=_GROWTH, norm=norm), ode.max_steps)


def example_drift(
    predictor: ConditionalPredictor,
    process: GaussianProcess,
    z: Array,
    u: Float[Array, ""],
    condition: Conditions,
    variables: FlowVariables = IN_TIME,
) -> Array:
    """Returns the probability flow's drift dz/du of one example without a batch axis, given its own condition.

    In time, the default, z is x and u is t.
    """
    model = with_conditions(predictor, jax.tree.map(lambda row: row[None], condition))
    if isinstance(variables, InTime):  # no product with a scale of one, which would be another program
        return probability_flow_drift(model, process, z[None], jnp.reshape(u, (1,)).astype(z.dtype))[0]
    place = variables.place(process, u.astype(z.dtype))
    prediction = model((place.scale * z)[None], jnp.reshape(place.t, (1,)))
    return place.of_x0 * prediction.x0[0] + place.of_eps * prediction.eps[0]


def ends(
    variables: FlowVariables, process: GaussianProcess, t0: float, t1: float, dtype: DTypeLike
) -> tuple[float, float]:
    """Returns the positions between which the flow is solved: of a solve in time the times themselves.

    They are no arrays: diffrax checks the direction of an array's steps while it runs, by a callback that keeps the
    program out of the compile cache.
    """
    if isinstance(variables, InTime):
        return t0, t1
    with jax.ensure_compile_time_eval():
        first, last = (float(variables.position(process, jnp.asarray(t, dtype))) for t in (t0, t1))
    return first, last


def integrate_drift(
    predictor: ConditionalPredictor,
    process: GaussianProcess,
    x: Batch,
    t0: float,
    t1: float,
    ode: ODE,
    save_ts: Float[Array, "k"] | None = None,
    conditions: Conditions = None,
    variables: FlowVariables = IN_TIME,
) -> Solved:
    """Carries x (b, ...) along the probability flow from time t0 to t1, in either direction.

    States are kept at `save_ts` where the variable is the time.
    """

    def vector_field(u: Float[Array, ""], z, condition):
        return example_drift(predictor, process, z, u, condition, variables)

    (first, last), begun = ends(variables, process, t0, t1, x.dtype), variables.first_step(process, t0)
    if isinstance(variables, InTime):
        return solve(vector_field, x, conditions, first, last, ode, save_ts, first_step=begun)
    before, after = (variables.scale(process, jnp.asarray(t, x.dtype)) for t in (t0, t1))
    solved = solve(vector_field, x / before, conditions, first, last, ode, save_ts, first_step=begun)
    return dataclasses.replace(solved, y=after * solved.y)
