"""Joining the other processes of a job, whoever started them, and leaving it so that none of them waits for ever.

A process finds the others by the first of these that its environment shows:

jax     JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID, as launch/local.sh sets them
slurm   a step of `srun`
ompi    Open MPI's mpirun
tpu     a TPU machine: Google's Kubernetes or metadata service names its workers
"""

import importlib.util
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from score_jax.errors import InputError, Outage

HEARTBEAT_SECONDS = 30
"""A process that was silent for so long is dead; the coordinator then ends the others."""
_GRACE_SECONDS = 2.0
_KEYS = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
TPU_DEVICE_FILES = ("/dev/accel0", "/dev/vfio/0")
"""One of them exists on a machine with TPU chips."""


def launcher(environment: Mapping[str, str], *, has_tpu: bool) -> str | None:
    """Who started this process as one of several; None: it is alone.

    Args:
      environment: its variables.
      has_tpu: whether the machine has TPU chips and the library for them.
    """
    if _KEYS[0] in environment:
        return "jax"
    if int(environment.get("SLURM_STEP_NUM_TASKS", "1")) > 1:  # set by srun alone, not within a batch script
        return "slurm"
    if int(environment.get("OMPI_COMM_WORLD_SIZE", "1")) > 1:
        return "ompi"
    if environment.get("JAX_PLATFORMS", "tpu").startswith("tpu") and has_tpu:
        return "tpu"
    return None


def _has_tpu() -> bool:
    return importlib.util.find_spec("libtpu") is not None and any(Path(file).exists() for file in TPU_DEVICE_FILES)


def _stated(environment: Mapping[str, str]) -> dict[str, Any]:
    """What the three variables say."""
    missing = [key for key in _KEYS if key not in environment]
    if missing:
        raise InputError(f"{_KEYS[0]} is set without {' and '.join(missing)}: set all three, or none.")
    address, count, number = (environment[key] for key in _KEYS)
    if not (count.isdecimal() and number.isdecimal() and int(number) < int(count) and ":" in address):
        raise InputError(
            f"{', '.join(f'{key}={environment[key]}' for key in _KEYS)}: expected HOST:PORT, the number of processes, "
            "and this one's, from 0 on."
        )
    return {"coordinator_address": address, "num_processes": int(count), "process_id": int(number)}


def join(environment: Mapping[str, str] = os.environ) -> None:
    """Joins the job that this process is part of, if it is; before anything of JAX is computed.

    Raises:
      InputError: the variables are not usable.
      Outage: the others did not come within five minutes.
    """
    found = launcher(environment, has_tpu=_has_tpu())
    if found is None or jax.distributed.is_initialized():
        return
    stated = _stated(environment) if found == "jax" else {}
    # JAX's own service would take SIGTERM for itself.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(**stated, heartbeat_timeout_seconds=HEARTBEAT_SECONDS)
        on_cpus = jax.devices()[0].platform == "cpu"
    except (RuntimeError, ValueError) as error:
        if found == "tpu" and "should be defined" in str(error):
            return  # one machine, and no service that numbers it
        reason = str(error).strip().splitlines()[0][:200]
        raise Outage(
            f"Cannot join the other processes (started by {found}): {reason}. Start all of them at once, and see that "
            "they reach each other."
        ) from error
    # What several processes load from the compile cache waits for ever on CPUs, with jaxlib 0.10.1.
    if on_cpus:
        jax.config.update("jax_enable_compilation_cache", False)


def is_joined() -> bool:
    """Returns whether this process is one of several."""
    return jax.distributed.is_initialized() and jax.process_count() > 1


def lost_peer(error: Exception) -> str:
    """Returns what to say of an error that another process's end may have caused; "" of others."""
    if not isinstance(error, jax.errors.JaxRuntimeError) or "RESOURCE_EXHAUSTED" in str(error):
        return ""
    return (
        "another process of this job ended, or cannot be reached, and this one ends too; its own output says why. The "
        f"same command goes on from what is saved. ({str(error).strip().splitlines()[0][:200]})"
    )


def name_here() -> str:
    """ "" alone, else which process this is, for messages."""
    return f" (process {jax.process_index()} of {jax.process_count()})" if is_joined() else ""


def leave(code: int) -> None:
    """Ends this process at once with an exit code: an orderly end would wait for the others, who wait for this one.

    The first process keeps the job together, so it stays a moment, for the others to say what they have to say.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    if jax.process_index() == 0:
        time.sleep(_GRACE_SECONDS)
    os._exit(code)
