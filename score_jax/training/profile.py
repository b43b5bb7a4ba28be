"""A trace of a few training steps, for XProf or Perfetto."""

from collections.abc import Callable
from pathlib import Path

import jax

WARMUP, STEPS = 5, 5


def tracer(folder: Path, first: int) -> Callable[[int], None]:
    """`trace(step)`, to be called after each dispatch: records at least `STEPS` steps, from `WARMUP` after `first` on.

    Each process writes its own devices' trace into the folder.
    """
    before = after = None  # the recorded steps

    def trace(step: int) -> None:
        nonlocal before, after
        if before is None and step >= first + WARMUP:
            before = step
            jax.profiler.start_trace(str(folder))
        elif before is not None and after is None and step >= before + STEPS:
            after = step
            jax.effects_barrier()
            jax.profiler.stop_trace()
            if jax.process_index() == 0:
                print(f"Trace of steps {before + 1} to {after} in {folder}: xprof --logdir={folder}", flush=True)

    return trace
