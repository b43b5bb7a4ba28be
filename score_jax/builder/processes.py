"""The `process` section."""

from collections.abc import Callable

from ml_collections import ConfigDict

from score_jax.builder.naming import construct
from score_jax.builder.options import Values
from score_jax.processes.chain import ve_chain, vp_chain
from score_jax.processes.gaussian import EDM, VE, VP, Cosine, Flow, LinearVE, NoiseSchedule, SubVP

PROCESSES: dict[str, Callable[..., NoiseSchedule]] = {
    "ve": VE,
    "vp": VP,
    "sub_vp": SubVP,
    "edm": EDM,
    "linear_ve": LinearVE,
    "flow": Flow,
    "cosine": Cosine,
    "vp_chain": vp_chain,
    "ve_chain": ve_chain,
}
VALUES = {
    **dict.fromkeys(("beta_min", "beta_max", "sigma_min", "sigma_max", "rho"), Values(above=0.0)),
    "num_levels": Values(least=1),
}
"""Values that arguments of processes may have."""


def build_process(config: ConfigDict) -> NoiseSchedule:
    """The process of the `process` section.

    Raises:
      InputError: its name or a key is unknown, or a value is not possible.
    """
    return construct("process", PROCESSES, config.process.to_dict(), VALUES)
