"""Joining the other processes of a job, whoever started them, and leaving it so that none of them waits for ever.

A process finds the others by the first of these that its environment shows:

jax     JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID, as launch/local.sh sets them
slurm   a step of `srun`
ompi    Open MPI's mpirun
tpu     a TPU machine: Google's Kubernetes or metadata service names its workers
"""

import importlib.util
import math
import os
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from score_jax.errors import InputError, Outage
from score_jax.runtime.exit_codes import AGAIN
from score_jax.runtime.peers import Ending, ending_of_others, tell_end, watch_peers, write_stacks
from score_jax.runtime.rendezvous import seconds_to_wait, waiting

_HEARTBEAT_SECONDS = 100
"""After so long a silence JAX aborts a job; `peers` ends it before, in one line."""
_GRACE_SECONDS, _VERDICT_SECONDS = 4.0, 3.0
_AFTER_OURS_SECONDS = 60
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
      Outage: this process cannot join. Where others do not come in time, the process ends with that code and a line.
    """
    found = launcher(environment, has_tpu=_has_tpu())
    if found is None or jax.distributed.is_initialized():
        return
    stated, seconds = _stated(environment) if found == "jax" else {}, seconds_to_wait(environment)
    number = f"{stated['num_processes']} processes" if stated else "all processes"
    who = f"{number} of this job, started by {found}, to come together"
    # JAX's own service would take SIGTERM for itself.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        with waiting(seconds, who, _end_alone):
            jax.distributed.initialize(
                **stated,
                heartbeat_timeout_seconds=_HEARTBEAT_SECONDS,
                initialization_timeout=math.ceil(seconds) + _AFTER_OURS_SECONDS,
            )
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
    if is_joined():
        watch_peers(jax.process_index(), _end_as_told)


def is_joined() -> bool:
    """Returns whether this process is one of several."""
    if not jax.distributed.is_initialized():
        return False
    try:
        return jax.process_count() > 1
    except RuntimeError:  # no device can be used, which is what is being said
        return False


def lost_peer(error: Exception) -> str:
    """Returns what to say of an error that another process's end may have caused; "" of others."""
    of_network = isinstance(error, ValueError) and "Gloo" in str(error)  # as jax raises what fails on CPUs
    if not (isinstance(error, jax.errors.JaxRuntimeError) or of_network) or "RESOURCE_EXHAUSTED" in str(error):
        return ""
    return (
        "another process of this job ended, or cannot be reached, and this one ends too; its own output says why. The "
        f"same command goes on from what is saved. ({str(error).strip().splitlines()[0][:200]})"
    )


def name_here() -> str:
    """ "" alone, else which process this is, for messages."""
    return f" (process {jax.process_index()} of {jax.process_count()})" if is_joined() else ""


def leave_failed(code: int, line: str) -> None:
    """Ends this process because of its own failure, and tells the others, who end with the same code.

    Args:
      code: one of `exit_codes`.
      line: what failed.
    """
    tell_end(Ending(code, f"process {jax.process_index()} ({socket.gethostname()}) ended: {line}"))
    _leave(code)


def leave_bereft(line: str) -> None:
    """Ends this process, which cannot go on without another one, as the job ends where that is known.

    Args:
      line: why it cannot.
    """
    ending = ending_of_others(_VERDICT_SECONDS)
    if ending is not None:
        _end_as_told(ending)
    leave_failed(AGAIN, line)


def leave_in_order(code: int) -> None:
    """Ends this process at the place where all end, its work done or its state saved."""
    tell_end(None)
    _leave(code)


def finish() -> None:
    """Tells the others that this process's work is done; it ends once theirs is."""
    tell_end(None)


def leave_hung(line: str) -> None:
    """Ends the processes of a job, or the one there is, because a step stands still; each writes its stacks first."""
    ending = Ending(AGAIN, line, stacks=True)
    if is_joined():
        tell_end(ending)
    _end_as_told(ending)


def _end_as_told(ending: Ending) -> None:
    if ending.stacks:
        write_stacks()
    print(f"score_jax{name_here()}: {ending.line}", file=sys.stderr, flush=True)
    _leave(ending.code)


def _end_alone(line: str) -> None:
    """Of a process that has not joined."""
    print(f"score_jax: {line}", file=sys.stderr, flush=True)
    os._exit(AGAIN)


def _leave(code: int) -> None:
    """Ends this process at once: an orderly end would wait for the others, who wait for this one.

    The first process keeps the job together, so it stays a moment, for the others to hear and to say what they have to.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    if is_joined() and jax.process_index() == 0:
        time.sleep(_GRACE_SECONDS)
    os._exit(code)
