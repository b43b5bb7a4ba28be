"""Memory that is freed stays with a process that computes on a CPU, and only there."""

import ctypes
import platform
import subprocess
import sys

import pytest

from score_jax.runtime import host_memory

_FAULTS = """
import resource
import sys
import time
from score_jax.runtime.host_memory import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
import jax
import jax.numpy as jnp

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

make = jax.jit(lambda: jnp.ones(2**24))
make().block_until_ready().delete()
before = faults()
for _ in range(20):
    time.sleep(0.01)  # XLA's own thread lets go of a buffer a little after it is ready
    make().block_until_ready().delete()
print((faults() - before) / 20)
"""


def faults_per_use_of_64_mib(how):
    run = subprocess.run([sys.executable, "-c", _FAULTS, how], capture_output=True, text=True, check=True)
    return float(run.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator is what it asks")
def test_memory_used_again_is_not_cleared_anew():
    pages = 2**26 // 4096
    # Where a buffer is let go of too late, the next one takes new memory, which is then kept too: a few uses, not all.
    assert faults_per_use_of_64_mib("keep") < pages / 2 < 0.9 * pages < faults_per_use_of_64_mib("leave")


def test_beside_an_accelerator_the_allocator_is_left_alone(tmp_path, monkeypatch):
    device = tmp_path / "accel0"
    device.touch()
    monkeypatch.setattr(host_memory, "_ACCELERATORS", (str(device),))
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    asked = []

    class Library:
        def __init__(self, name):
            pass

        def mallopt(self, parameter, value):
            asked.append(parameter)

    monkeypatch.setattr(ctypes, "CDLL", Library)
    host_memory.keep_freed_memory()
    assert not asked
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    host_memory.keep_freed_memory()
    assert len(asked) == 3 * sys.platform.startswith("linux")
