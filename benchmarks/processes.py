"""Processes of their own for benchmarks: with so many devices, two as one job, ended one way or another."""

import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
_DEVICES = "--xla_force_host_platform_device_count"


def environment(devices: int) -> dict[str, str]:
    """Of a process with so many CPU devices; it finds the programs that others compiled, the quick ones too."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    cache = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    others = [flag for flag in os.environ.get("XLA_FLAGS", "").split() if not flag.startswith(_DEVICES)]
    flags = " ".join([*others, f"{_DEVICES}={devices}"])
    return os.environ | cache | {"XLA_FLAGS": flags, "PYTHONPATH": path}


def started(arguments: Sequence[str], devices: int, more: Mapping[str, str] | None = None) -> subprocess.Popen:
    """Python with these arguments, which says on stderr what it says."""
    return subprocess.Popen([sys.executable, *arguments], env=environment(devices) | (more or {}), stdout=sys.stderr)


def done(*processes: subprocess.Popen) -> None:
    """Waits until all have ended well."""
    if any([process.wait() for process in processes]):
        raise RuntimeError("A run failed; its message is above.")


def two_started(arguments: Sequence[str], devices: int) -> list[subprocess.Popen]:
    """Two processes of one job, which finds itself by JAX's environment variables of jobs."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    job = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2"}
    return [started(arguments, devices, job | {"JAX_PROCESS_ID": str(i)}) for i in range(2)]
