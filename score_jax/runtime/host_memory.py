"""Memory of the host, where a CPU does the computing."""

import ctypes
import os
import sys
from pathlib import Path

from score_jax.runtime.cluster import TPU_DEVICE_FILES

_ACCELERATORS = (*TPU_DEVICE_FILES, "/dev/nvidia0", "/dev/kfd")

# Parameters of glibc's mallopt(3).
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8


def keep_freed_memory() -> None:
    """Where a CPU computes, under glibc: memory that is freed stays with the process. To be called before JAX computes.

    XLA allocates the temporaries of a program at each call. By default glibc gives pieces so large back to the system,
    which clears each page anew at its next touch: a tenth of a training step, on some virtual machines a quarter. The
    price is that the process stays as large as it ever was.
    """
    on_cpu = os.environ.get("JAX_PLATFORMS") == "cpu" or not any(Path(file).exists() for file in _ACCELERATORS)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform.startswith("linux") else None
    if on_cpu and mallopt is not None:
        mallopt(_ARENA_MAX, 1)  # the arenas of threads would map large pieces all the same
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, -1)
