"""The reverse SDE by an adaptive solver, along a Brownian path that can be asked again.

With u = log(alpha / sigma), which grows as noise is taken away, r = sigma / alpha, the standard deviation q of
z = x / alpha for data of spread s, and w = z / q, the reverse SDE of any process is

    dw = [r² x0 - r (r² + 2 s²) eps] / q³ du + sqrt(2) r / q dW,    q² = s² + r²

in which the noise depends on u alone: it is additive, and a solver of strong order 1.5 needs two evaluations a step
(ShARK: Foster, dos Reis and Strange 2023, arXiv 2210.17543, eq. 6.1). A step that is rejected is tried again, shorter,
on the same path: what was drawn is not drawn anew, which would favour the draws that are easy to follow. The path is a
virtual Brownian tree (Li et al. 2020; Jelincic, Foster and Kidger 2024, arXiv 2405.06464): a function of its key, so
that nothing is stored, and two solves of one example follow one path, whatever their tolerances.
"""

import dataclasses
import math
from collections.abc import Callable

import diffrax
import jax
import jax.numpy as jnp
import lineax
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from score_jax.arrays import broadcast_right
from score_jax.errors import InputError
from score_jax.prediction.predictor import ConditionalPredictor, Conditions, Predictor, with_conditions
from score_jax.processes.gaussian import GaussianProcess
from score_jax.typing import Batch, KeyArray, KeyBatch

_SPREAD = 0.5
"""Standard deviation of the data by which w is scaled: that of images in [-1, 1], about."""
_SHORTEST, _UNIT = 2.0**-16, 2.0**-20
"""Of the length of the path: the shortest step, and what the ends of the steps are multiples of."""
_LENGTHS = 4
"""Lengths of steps within a factor of two."""
_FIRST = 2.0**-4
"""Length of the first step in u."""
_EVALUATIONS = 2
"""Of a step of ShARK."""


@dataclasses.dataclass(frozen=True)
class AdaptiveSDE:
    """ShARK under PI step control; each example has steps of its own.

    Attributes:
      rtol: relative tolerance of the step control.
      atol: absolute tolerance, in units of the standard deviation of x_t.
      max_steps: accepted and rejected steps after which an example is given up (and reported as failed).
    """

    rtol: float = 1e-2
    atol: float = 1e-2
    max_steps: int = 4096


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class SolvedSDE:
    """End states (b, ...), states kept on the way (b, k, ...), evaluations and success of each example."""

    x: Batch
    kept: Float[Array, "b k ..."]
    nfe: Int[Array, "b"]
    ok: Bool[Array, "b"]


class _Control(diffrax.PIDController):
    """PI control, of steps whose lengths are near powers of 2^(1/4) and whose ends are multiples of `unit`.

    A path moves by the root of the time: if rounding, which differs with the size of the batch, moved the ends of the
    steps by 1e-7, samples would differ by 1e-4. Sums of these lengths are exact.
    """

    unit: float = 0.0

    def adapt_step_size(self, *args, **kwargs):
        keep, start, end, jumped, state, result = super().adapt_step_size(*args, **kwargs)
        length = jnp.exp2(jnp.round(_LENGTHS * jnp.log2(end - start)) / _LENGTHS)
        return keep, start, start + self.unit * jnp.round(length / self.unit), jumped, state, result


class _Path(diffrax.VirtualBrownianTree):
    """The tree with space-time Levy areas, without its check that it is asked within its range.

    The check is a callback, which keeps a program out of the compile cache.
    """

    def __init__(self, first: float, last: float, tol: float, shape: jax.ShapeDtypeStruct, key: KeyArray):
        super().__init__(first, last, tol, shape, key, diffrax.SpaceTimeLevyArea)

    def _evaluate(self, r):
        return self._evaluate_leaf(self.key, r, self.shape)


def _positions(process: GaussianProcess, times: tuple[float, ...]) -> tuple[float, ...]:
    """u at times, as numbers: diffrax checks arrays while it runs, by callbacks as well."""
    with jax.ensure_compile_time_eval():
        t = jnp.asarray(times, jnp.result_type(float))
        return tuple(float(u) for u in np.asarray(0.5 * process.log_snr(t)))


def integrate_reverse_sde(
    predictor: ConditionalPredictor,
    process: GaussianProcess,
    keys: KeyBatch,
    x: Batch,
    t1: float,
    sde: AdaptiveSDE,
    save_ts: tuple[float, ...] = (),
    conditions: Conditions = None,
) -> SolvedSDE:
    """Carries x (b, ...) along the reverse SDE from the most noise to the time t1.

    Args:
      predictor: the model; with `conditions`, `predictor(x, t, conditions)`.
      process: from whose `t_max` the solve begins.
      keys: of the paths (b,).
      x: states at `t_max`.
      t1: where to end, above the data.
      sde: the tolerances.
      save_ts: decreasing times at which states are kept; steps end there.
      conditions: of each example, arrays (b, ...).

    Raises:
      InputError: there is no noise at t1.
    """
    first, last = _positions(process, (process.t_max, t1))
    if not np.isfinite(last):
        raise InputError(
            f"sampler.t_min={t1:g}: there is no noise at this time, and the reverse SDE is solved in the log of the "
            "signal-to-noise ratio. Give a larger one, e.g. 1e-3."
        )
    # The solve is in v = u - first, and the path has a power of two as its length: both are scaled without rounding.
    span = last - first
    length = 2.0 ** math.ceil(math.log2(span))
    # The first and the last of them are the ends to rounding, outside of which diffrax saves nothing.
    saved = [min(max(u - first, 0.0), span) for u in _positions(process, save_ts)]
    controller, saves = _steps(sde, length, saved)
    shape = jax.ShapeDtypeStruct(x.shape[1:], x.dtype)
    of_noise = _noise(shape, first)

    def run(key: KeyArray, w: Array, condition: Conditions):
        model = with_conditions(predictor, jax.tree.map(lambda row: row[None], condition))
        path = _Path(0.0, length, 0.5 * _SHORTEST * length, shape, key)
        drift = diffrax.ODETerm(lambda v, w, _: _drift(model, process, jnp.asarray(first + v, x.dtype), jnp.asarray(w)))
        solution = diffrax.diffeqsolve(
            diffrax.MultiTerm(drift, diffrax.ControlTerm(of_noise, path)),
            diffrax.ShARK(),
            t0=0.0,
            t1=span,
            dt0=_FIRST,
            y0=w,
            stepsize_controller=controller,
            saveat=diffrax.SaveAt(subs=saves),
            adjoint=diffrax.ForwardMode(),
            max_steps=sde.max_steps,
            throw=False,
        )
        end, *kept = solution.ys
        nothing = jnp.zeros((0, *w.shape), w.dtype)
        ok = solution.result == diffrax.RESULTS.successful
        return end[0], (kept[0] if kept else nothing), _EVALUATIONS * solution.stats["num_steps"], ok

    def scale(t: Float[Array, "*k"]) -> Float[Array, "*k"]:
        return jnp.hypot(_SPREAD * process.alpha(t), process.sigma(t))

    before, after = (scale(jnp.asarray(t, x.dtype)) for t in (process.t_max, t1))
    end, kept, nfe, ok = jax.vmap(run)(keys, x / before, conditions)
    on_the_way = broadcast_right(scale(jnp.asarray(save_ts, x.dtype)), kept[0])[None]
    return SolvedSDE(after * end, on_the_way * kept, nfe, ok)


def _steps(
    sde: AdaptiveSDE, length: float, saved: list[float]
) -> tuple[diffrax.AbstractStepSizeController, list[diffrax.SubSaveAt]]:
    """How steps are chosen, and what is kept: the end, and states at the saved v, where steps then end as well."""
    controller = _Control(
        rtol=sde.rtol,
        atol=sde.atol,
        pcoeff=0.1,
        icoeff=0.3,
        dtmin=_SHORTEST * length,
        force_dtmin=False,
        unit=_UNIT * length,
    )
    if not saved:
        return controller, [diffrax.SubSaveAt(t1=True)]
    stopping = diffrax.ClipStepSizeController(controller, step_ts=saved)
    return stopping, [diffrax.SubSaveAt(t1=True), diffrax.SubSaveAt(ts=saved)]


def _drift(model: Predictor, process: GaussianProcess, u: Float[Array, ""], w: Array) -> Array:
    """What multiplies du, of one example without a batch axis."""
    ratio, spread = jnp.exp(-u), jnp.asarray(_SPREAD, u.dtype)
    q = jnp.hypot(spread, ratio)
    t = jnp.clip(process.time_at(ratio), 0.0, process.t_max)
    prediction = model((process.alpha(t) * q * w)[None], jnp.reshape(t, (1,)))
    of_eps = ratio * (ratio**2 + 2 * spread**2)
    return (ratio**2 * prediction.x0[0] - of_eps * prediction.eps[0]) / q**3


def _noise(shape: jax.ShapeDtypeStruct, first: float) -> Callable[..., lineax.AbstractLinearOperator]:
    """What multiplies dW: a number that depends on u alone."""
    identity = lineax.IdentityLinearOperator(shape)

    def noise(v: Float[Array, ""], w: Array, _) -> lineax.AbstractLinearOperator:
        ratio = jnp.exp(-(first + v)).astype(shape.dtype)
        return identity * (2**0.5 * ratio / jnp.hypot(jnp.asarray(_SPREAD, ratio.dtype), ratio))

    return noise
