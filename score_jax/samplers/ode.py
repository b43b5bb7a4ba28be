"""The probability-flow ODE: its drift, and the adaptive diffrax solve that sampling and likelihood share."""

import dataclasses
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from score_jax.arrays import broadcast_right
from score_jax.errors import unknown_name
from score_jax.predictor import Predictor
from score_jax.processes.gaussian import GaussianProcess
from score_jax.typing import Batch, Time

SOLVERS = {
    "dopri5": diffrax.Dopri5,
    "tsit5": diffrax.Tsit5,
    "heun": diffrax.Heun,
    "dopri8": diffrax.Dopri8,
    "bosh3": diffrax.Bosh3,
}


# Near t = 1 the drift nearly vanishes and the error estimate is float32 rounding, which differs with the number of
# devices. Up to a growth of 2 such an estimate counts as zero, and step sizes are the same everywhere; diffrax's 10
# would turn rounding into differences between samples as large as the tolerance.
_GROWTH = 2.0


@dataclasses.dataclass(frozen=True)
class AdaptiveODE:
    """An explicit Runge-Kutta solver under PID step control.

    Attributes:
      solver: a key of `SOLVERS`.
      rtol: relative tolerance of the step control.
      atol: absolute tolerance, in units of the state.
      max_steps: accepted and rejected steps after which an example is given up (and reported as failed).
    """

    solver: str = "tsit5"
    rtol: float = 1e-5
    atol: float = 1e-5
    max_steps: int = 4096

    def __post_init__(self):
        if self.solver not in SOLVERS:
            raise unknown_name("ODE solver", self.solver, SOLVERS)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Solved:
    """End state of a batch of solves, the states kept on the way, evaluations and success per example."""

    y: PyTree[Array]
    kept: PyTree[Array]
    nfe: Int[Array, "b"]
    ok: Bool[Array, "b"]


def probability_flow_drift(predictor: Predictor, process: GaussianProcess, x: Batch, t: Time) -> Batch:
    """dx/dt = alpha' x0 + sigma' eps for x (b, ...) and t (b,).

    The same as f x - g² score / 2 (Song et al. 2021, eq. 13), without its poles where alpha or sigma is 0.
    """
    prediction = predictor(x, t)
    alpha_rate, sigma_rate = (broadcast_right(rate, x) for rate in process.rates(t))
    return alpha_rate * prediction.x0 + sigma_rate * prediction.eps


def solve(
    vector_field,
    y0: PyTree[Array],
    args,
    t0: float,
    t1: float,
    ode: AdaptiveODE,
    save_ts: Float[Array, "k"] | None = None,
) -> Solved:
    """Integrates each example with its own step sizes, so that none depends on its neighbours.

    Args:
      vector_field: `f(t, y, args) -> dy/dt` for one example.
      y0: states with a leading batch axis.
      args: passed to `vector_field`, with a leading batch axis.
      t0: start, either side of `t1`.
      t1: end.
      ode: solver and tolerances.
      save_ts: times at which states are kept, in the order of the solve.

    Returns:
      `Solved`; `nfe` counts every evaluation of the vector field, those of rejected steps included. The batch
      advances until its slowest example is done.
    """
    solver = SOLVERS[ode.solver]()
    tableau: Any = solver.tableau
    per_step, once = tableau.num_stages - int(tableau.fsal), int(tableau.fsal)
    # As diffrax begins, but near t = 0 shorter: there the drift of image models changes on the scale of t itself.
    dt0 = min(0.01, 100 * t0) * (1 if t1 > t0 else -1)

    def one(y, arg):
        subs = [diffrax.SubSaveAt(t1=True)]
        if save_ts is not None:
            subs.append(diffrax.SubSaveAt(ts=save_ts))
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(vector_field),
            solver,
            t0=t0,
            t1=t1,
            dt0=dt0,
            y0=y,
            args=arg,
            stepsize_controller=diffrax.PIDController(rtol=ode.rtol, atol=ode.atol, factormax=_GROWTH),
            saveat=diffrax.SaveAt(subs=subs),
            adjoint=diffrax.ForwardMode(),
            max_steps=ode.max_steps,
            throw=False,
        )
        end = jax.tree.map(lambda leaf: leaf[0], solution.ys[0])
        nfe = once + per_step * solution.stats["num_steps"]
        kept = None if save_ts is None else solution.ys[1]
        return end, kept, nfe, solution.result == diffrax.RESULTS.successful

    return Solved(*jax.vmap(one)(y0, args))


def integrate_drift(
    predictor: Predictor,
    process: GaussianProcess,
    x: Batch,
    t0: float,
    t1: float,
    ode: AdaptiveODE,
    save_ts: Float[Array, "k"] | None = None,
) -> Solved:
    """Carries x (b, ...) along the probability flow from t0 to t1, in either direction."""

    def vector_field(t: Float[Array, ""], y, args):
        return probability_flow_drift(predictor, process, y[None], jnp.reshape(t, (1,)).astype(y.dtype))[0]

    return solve(vector_field, x, None, t0, t1, ode, save_ts)
