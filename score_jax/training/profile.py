"""A trace of a few training steps, for XProf or Perfetto."""

from collections.abc import Callable
from pathlib import Path

import jax

WARMUP, STEPS = 5, 5


def tracer(folder: Path, first: int) -> Callable[[int], None]:
    """`trace(step)`, to be called after each step: records `STEPS` of them, `WARMUP` after step `first`.

    Each process writes its own devices' trace into the folder.
    """

    def trace(step: int) -> None:
        if step == first + WARMUP:
            jax.profiler.start_trace(str(folder))
        elif step == first + WARMUP + STEPS:
            jax.effects_barrier()
            jax.profiler.stop_trace()
            if jax.process_index() == 0:
                print(f"Trace of steps {step - STEPS + 1} to {step} in {folder}: xprof --logdir={folder}", flush=True)

    return trace
