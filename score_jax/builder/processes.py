"""The `process` section."""

import dataclasses
from collections.abc import Callable
from typing import Any

from ml_collections import ConfigDict

from score_jax.builder.naming import construct
from score_jax.builder.options import CHAIN, CODES, CONTINUOUS, KERNELS, Values
from score_jax.errors import InputError
from score_jax.processes.binomial import BinomialChain, binomial_chain
from score_jax.processes.chain import ve_chain, vp_chain
from score_jax.processes.gaussian import EDM, VE, VP, Cosine, Flow, LinearVE, NoiseSchedule, SubVP
from score_jax.processes.learned import STARTS, LearnedChain
from score_jax.processes.schedules import BETAS

NONE = "none"
"""The process of runs that noise nothing: autoencoders and CLIPs."""
AUTOREGRESSIVE = "autoregressive"
"""The process of models of codes, which noise nothing either."""


@dataclasses.dataclass(frozen=True)
class NoProcess:
    """What stands in the place of a process where nothing is noised."""


@dataclasses.dataclass(frozen=True)
class Autoregression:
    """What stands in the place of a process where codes are drawn one after another."""


Process = NoiseSchedule | LearnedChain | BinomialChain | Autoregression | NoProcess
PROCESSES: dict[str, Callable[..., Process]] = {
    "ve": VE,
    "vp": VP,
    "sub_vp": SubVP,
    "edm": EDM,
    "linear_ve": LinearVE,
    "flow": Flow,
    "cosine": Cosine,
    "vp_chain": vp_chain,
    "ve_chain": ve_chain,
    "learned_chain": LearnedChain,
    "binomial_chain": binomial_chain,
    AUTOREGRESSIVE: Autoregression,
    NONE: NoProcess,
}
_KINDS = {
    **dict.fromkeys(("vp_chain", "ve_chain"), CHAIN),
    **dict.fromkeys(("learned_chain", "binomial_chain"), KERNELS),
    AUTOREGRESSIVE: CODES,
}
SPACINGS = ("geometric", "uniform")
VALUES = {
    **dict.fromkeys(("beta_min", "beta_max", "sigma_min", "sigma_max", "rho"), Values(above=0.0)),
    "t_max": Values(above=0.0, below=1.0),
    "beta_1": Values(above=0.0, below=1.0),
    "start": Values(one_of=tuple(STARTS)),
    "num_levels": Values(least=1),
    "schedule": Values(one_of=tuple(BETAS)),
    "spacing": Values(one_of=SPACINGS),
}
"""Values that arguments of processes may have."""


def kind_of(name: Any) -> str:
    """Returns the kind of a process of this name, of `options.KINDS`."""
    return _KINDS.get(name, CONTINUOUS) if isinstance(name, str) else CONTINUOUS


def build_process(config: ConfigDict) -> Process:
    """Builds the process of the `process` section.

    Raises:
      InputError: its name or a key is unknown or missing, or a value is not possible.
    """
    values = config.process.to_dict()
    process = construct("process", PROCESSES, values, VALUES)
    for low, high in (("beta_min", "beta_max"), ("sigma_min", "sigma_max")):
        if low in values and high in values and None not in (values[low], values[high]):
            _check_order(low, values[low], high, values[high])
    return process


def _check_order(low: str, first: float, high: str, last: float) -> None:
    if first > last:
        raise InputError(f"process.{low}={first:g} is more than process.{high}={last:g}: give the smaller one first.")
