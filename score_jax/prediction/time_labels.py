"""What number a network is given as its "time": a convention of its paper. All of them are here and nowhere else."""

from collections.abc import Callable

import jax.numpy as jnp

from score_jax.errors import InputError
from score_jax.processes.chain import Chain
from score_jax.processes.gaussian import NoiseSchedule
from score_jax.processes.interpolated import Interpolated
from score_jax.typing import Time

Label = Callable[[Time, NoiseSchedule], Time]


def chain_of(process: NoiseSchedule) -> Chain:
    """Returns the chain whose levels a process has.

    Raises:
      InputError: it has none.
    """
    if isinstance(process, Interpolated):
        return process.chain
    if not isinstance(process, Chain):
        raise InputError("This prediction.label counts levels: choose a process that has them, vp_chain or ve_chain.")
    return process


LABELS: dict[str, Label] = {
    # score_sde, VP and sub-VP, continuous: the last label of DDPM's 1000 at t = 1.
    "999t": lambda t, process: 999.0 * t,
    # score_sde, VE, continuous: the network embeds log sigma and divides its output by sigma.
    "sigma": lambda t, process: process.sigma(t),
    # Rectified flow: as 999t, of the time that runs from noise to data.
    "999_minus_999t": lambda t, process: 999.0 * (1.0 - t),
    # DDPM, improved diffusion without rescaling, ADM: the index of the level; score_sde's discrete VP between indices.
    "index": lambda t, process: t,
    # Improved diffusion with rescaling: the index as if there were 1000 levels.
    "index_of_1000": lambda t, process: t * (1000 / chain_of(process).num_levels),
    # NCSN, NCSNv2, score_sde's discrete VE: the index counted from the most noise.
    "descending_index": lambda t, process: jnp.round(chain_of(process).num_levels - 1 - t),
    # Ours: sigma / alpha. Its log is -log_snr / 2, which still moves near t = 0, where t itself stands still.
    "noise_to_signal": lambda t, process: jnp.exp(-0.5 * process.log_snr(t)),
}
