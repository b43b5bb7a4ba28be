"""The `likelihood` section of a config: what is measured of a model, by which method, how closely."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from score_jax.arrays import as_floats
from score_jax.builder.naming import check_counts, choose
from score_jax.errors import InputError, unknown_name
from score_jax.likelihood.divergence import Divergence
from score_jax.prediction.coordinates import View, itself
from score_jax.prediction.reverse import VARIANCES, Variance, decoding
from score_jax.processes.chain import Chain, chain_at
from score_jax.processes.gaussian import GaussianProcess, NoiseSchedule
from score_jax.processes.interpolated import Interpolated
from score_jax.samplers import grids
from score_jax.samplers.ode import CONTROLS, ODE, AdaptiveODE, GridODE
from score_jax.typing import Time

_FIRST_NOISE = 0.005
"""Noise to signal of a bound's first level, over the width of the data's range."""
_NO_SIGNAL = 1e3
"""Noise to signal from where on the ODE is all but straight."""
METHODS = ("ode", "vlb", "bound")
TRUNCATIONS = ("none", "bound")
DEQUANTIZATIONS = ("uniform", "variational")
DTYPES = ("float32", "mixed", "float64")


@dataclasses.dataclass(frozen=True)
class LikelihoodOptions:
    """The section, with its defaults; `configs/base.py` says what each key means.

    Raises:
      InputError: a name or a number is not possible.
    """

    method: str = "ode"
    num_examples: int = 0
    batch_size: int = 64
    divergence: str = "rademacher"
    probes: int = 1
    fresh_probes: bool = False
    derivative: str = "auto"
    solver: str = "dopri5"
    rtol: float = 1e-5
    atol: float = 1e-5
    control: str = "example"
    num_steps: int = 64
    t_min: float = 1e-5
    truncation: str = "none"
    dequantization: str = "uniform"
    dequantizer_steps: int = 2000
    importance_samples: int = 1
    sensitivity_batches: int = 1
    num_levels: int = 1000
    clip: bool = True
    matmul_precision: str = "highest"
    dtype: str = "float32"
    seed: int = 0

    def __post_init__(self):
        known = {"method": METHODS, "truncation": TRUNCATIONS, "dtype": DTYPES, "dequantization": DEQUANTIZATIONS}
        for key, names in known.items():
            if getattr(self, key) not in names:
                raise unknown_name(f"likelihood.{key}", getattr(self, key), names)
        if self.dequantization == "variational" and self.method != "ode":
            raise InputError(f"likelihood.dequantization=variational is of method=ode, not of method={self.method}.")
        counts = ("batch_size", "importance_samples", "num_steps", "num_levels", "dequantizer_steps")
        check_counts("likelihood", vars(self), counts)
        check_counts("likelihood", vars(self), ("num_examples", "sensitivity_batches"), least=0)
        if self.control not in (*CONTROLS, "grid"):
            raise unknown_name("likelihood.control", self.control, (*CONTROLS, "grid"))
        # The rest is checked where it is made.
        _ = self.of_divergence("forward" if self.derivative == "auto" else self.derivative)
        _ = GridODE((), self.solver) if self.control == "grid" else AdaptiveODE(self.solver)

    def ode(self, process: NoiseSchedule, *, closer: bool = False) -> ODE:
        """The solve from t_min to the process's end.

        Args:
          process: in continuous time.
          closer: at tolerances ten times smaller, or on twice as many steps.
        """
        if self.control == "grid":
            steps = self.num_steps * (2 if closer else 1)
            return GridODE(log_snr_times(process, steps, self.t_min), self.solver)
        tenth = 0.1 if closer else 1.0
        return AdaptiveODE(self.solver, tenth * self.rtol, tenth * self.atol, control=self.control)

    def of_divergence(self, derivative: str) -> Divergence:
        """How the divergence is taken, in this mode, which is `derivative` unless that is "auto"."""
        return Divergence(self.divergence, self.probes, self.fresh_probes, derivative)


def log_snr_times(process: NoiseSchedule, num_steps: int, t_min: float) -> tuple[float, ...]:
    """From t_min to t_max, even in log-SNR; of a process that ends without signal, what lies beyond `_NO_SIGNAL` is
    in the last step."""
    with jax.ensure_compile_time_eval():
        last = min(float(process.time_at(jnp.asarray(_NO_SIGNAL))), process.t_max)
        times = np.asarray(grids.log_snr(num_steps, process, t_min, last), float)[::-1]
    return (t_min, *times[1:-1].tolist(), process.t_max)


def options(config: ConfigDict) -> LikelihoodOptions:
    """The section as values.

    Raises:
      InputError: a key or a value is unknown.
    """
    values: dict[str, Any] = config.likelihood.to_dict()
    known = [field.name for field in dataclasses.fields(LikelihoodOptions)]
    for key in values:
        if key not in known:
            raise unknown_name("key of likelihood:", key, known)
    return LikelihoodOptions(**values)


def flow_of(config: ConfigDict, process: NoiseSchedule) -> GaussianProcess:
    """The process in continuous time whose ODE a model of `process` has: itself, or its chain interpolated.

    Raises:
      InputError: the model has no score between the levels of its chain, or there is one level.
    """
    if isinstance(process, GaussianProcess):
        return process
    if config.prediction.get("label") == "descending_index":
        raise InputError(
            "This network knows nothing but its levels, so it has no score between them and no ODE: measure the "
            "variational bound, --method=vlb."
        )
    if config.prediction.get("output") == "mean":
        raise InputError("A network that outputs means of a chain has no ODE: measure its bound, --method=vlb.")
    assert isinstance(process, Chain)
    flow = Interpolated(process)
    if flow.t_max < 1:
        raise InputError(
            "A chain of one level with a signal has no ODE: give process.num_levels more, or --method=vlb."
        )
    return flow


@dataclasses.dataclass(frozen=True, eq=False)
class Levels:
    """A chain, how a model is asked at its levels, and the variance of its reverse kernels."""

    chain: Chain
    view: View
    variance: Variance


def levels_of(config: ConfigDict, process: NoiseSchedule, num_levels: int) -> Levels:
    """The chain of a model's variational bounds: its own, or levels of its continuous process, even in log-SNR.

    Uneven levels loosen a bound. The first has the noise of DDPM's: far below it the model's error would fill it.
    """
    low, high = config.data.value_range
    variance = choose("sampler.variance", VARIANCES, config.sampler.variance)
    if isinstance(process, Chain):
        return Levels(process, itself(), variance)
    with jax.ensure_compile_time_eval():
        first = float(process.time_at(jnp.asarray(_FIRST_NOISE * (high - low))))
        grid = grids.log_snr(num_levels - 1, process, first, process.t_max)
        times = np.asarray(grid)[::-1]
        chain = chain_at(process, times)

    def time(t: Time) -> Time:
        t = as_floats(t)
        return jnp.asarray(times, t.dtype)[t.astype(jnp.int32)]

    return Levels(chain, View(time), decoding(variance))
