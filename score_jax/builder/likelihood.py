"""The `likelihood` section: from the options of a method to solves, divergences and levels."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from score_jax.arrays import as_floats
from score_jax.builder.likelihood_options import ByLevels, Exact
from score_jax.builder.model_facts import ModelFacts
from score_jax.errors import InputError
from score_jax.likelihood.divergence import Divergence
from score_jax.prediction.analytic_variance import ANALYTIC
from score_jax.prediction.coordinates import View, itself
from score_jax.prediction.reverse import VARIANCES, Variance, decoding
from score_jax.processes.chain import Chain, chain_at
from score_jax.processes.gaussian import GaussianProcess, NoiseSchedule
from score_jax.processes.interpolated import Interpolated
from score_jax.samplers import grids
from score_jax.samplers.flow_variables import IN_TIME, FlowVariables, InLogSNR
from score_jax.samplers.ode import ODE, AdaptiveODE, EvenODE
from score_jax.typing import Time

_FIRST_NOISE = 0.005
"""Noise to signal of a bound's first level, over the width of the data's range."""
_NO_SIGNAL = 1e3
"""Noise to signal from where on the ODE is all but straight."""


def log_snr_times(process: NoiseSchedule, num_steps: int, t_min: float) -> tuple[float, ...]:
    """From t_min to t_max, even in log-SNR; of a process that ends without signal, what lies beyond `_NO_SIGNAL` is
    in the last step."""
    with jax.ensure_compile_time_eval():
        last = min(float(process.time_at(jnp.asarray(_NO_SIGNAL))), process.t_max)
        times = np.asarray(grids.log_snr(num_steps, process, t_min, last), float)[::-1]
    return (t_min, *times[1:-1].tolist(), process.t_max)


def ode_of(c: Exact, *, closer: bool = False) -> ODE:
    """Returns how the ODE is solved.

    Args:
      c: the options.
      closer: at tolerances ten times smaller, or on twice as many steps.
    """
    if c.on_grid:
        return EvenODE(c.num_steps * (2 if closer else 1), c.solver)
    tenth = 0.1 if closer else 1.0
    return AdaptiveODE(c.solver, tenth * c.rtol, tenth * c.atol, control=c.control)


def variables_of(c: Exact, start: float) -> FlowVariables:
    """Returns the variable and the scale of x in which the ODE is solved from the time `start`."""
    return InLogSNR(start) if c.chosen_variable == "log_snr" else IN_TIME


def divergence_of(c: Exact, derivative: str) -> Divergence:
    """Returns the estimator of the divergence in this mode, which is the option's unless that is "auto".

    Raises:
      InputError: the number of probes is none of this estimator.
    """
    return Divergence(c.divergence, c.probes, c.fresh_probes, derivative)


def flow_of(model: ModelFacts) -> GaussianProcess:
    """Returns the process in continuous time whose ODE a model has: its own, or its chain interpolated.

    Raises:
      InputError: the model has no score between the levels of its chain, or there is one level.
    """
    process = model.process
    if isinstance(process, GaussianProcess):
        return process
    if model.label == "descending_index":
        raise InputError(
            "This network is defined only at its levels. It has no score between them, so it has no ODE: measure "
            "the variational bound, --method=vlb."
        )
    if model.outputs_mean:
        raise InputError("A network that outputs the means of a chain has no ODE: measure its bound, --method=vlb.")
    assert isinstance(process, Chain)
    flow = Interpolated(process)
    if flow.t_max < 1:
        raise InputError(
            "A chain in which only one level has a signal has no ODE: give a larger process.num_levels, or "
            "--method=vlb."
        )
    return flow


@dataclasses.dataclass(frozen=True, eq=False)
class Levels:
    """A chain, how a model is asked at its levels, and the variance of its reverse kernels."""

    chain: Chain
    view: View
    variance: Variance


def levels_of(c: ByLevels, model: ModelFacts, own_variance: str) -> Levels:
    """Returns the chain of a model's variational bounds: its own, or levels of its continuous process, even in log-SNR.

    Uneven levels loosen a bound. The first has the noise of DDPM's: far below it the model's error would fill it.

    Args:
      c: the options.
      model: facts of the model.
      own_variance: with which the model samples or was trained, for "auto".

    Raises:
      InputError: it samples with the analytic variance, which is measured at the times of a sampler's walk alone.
    """
    process = model.process
    if c.variance == "auto" and own_variance == ANALYTIC:
        raise InputError(
            "likelihood.variance=auto is that of the sampler, and sampler.variance=analytic is known at the sampler's "
            f"times alone: give likelihood.variance={' or '.join(VARIANCES)}."
        )
    variance = VARIANCES[own_variance if c.variance == "auto" else c.variance]
    if isinstance(process, Chain):
        return Levels(process, itself(), variance)
    with jax.ensure_compile_time_eval():
        first = float(process.time_at(jnp.asarray(_FIRST_NOISE * model.codec.width)))
        grid = grids.log_snr(c.num_levels - 1, process, first, process.t_max)
        times = np.asarray(grid)[::-1]
        chain = chain_at(process, times)

    def time(t: Time) -> Time:
        t = as_floats(t)
        return jnp.asarray(times, t.dtype)[t.astype(jnp.int32)]

    return Levels(chain, View(time), decoding(variance))
