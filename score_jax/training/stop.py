"""Being asked to end: by SIGTERM, as a preempted machine or a scheduler sends."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from score_jax.training.sharding import over_batch, replicated


class Stop:
    """True once the process has been asked to end."""

    def __init__(self):
        self._asked = threading.Event()

    def __bool__(self) -> bool:
        return self._asked.is_set()

    def ask(self, *_) -> None:
        """Ends the work at the next safe point."""
        self._asked.set()


@contextlib.contextmanager
def stop_on_sigterm() -> Iterator[Stop]:
    """A `Stop` that SIGTERM sets, for the time of the context (main thread only)."""
    stop = Stop()
    previous = signal.signal(signal.SIGTERM, stop.ask)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGTERM, previous)


def any_process_asks(stop: Stop, mesh: Mesh) -> Callable[[], Callable[[], bool]]:
    """`post()` tells all processes whether this one is asked to end, and returns the question whether any was.

    The notice reaches the machines of a pod at different steps, and all must end after the same one. The answer is
    computed by the devices behind the step in flight, so a question that waits a step holds nothing up.
    """
    if jax.process_count() == 1:
        return lambda: lambda: bool(stop)
    split, local = over_batch(mesh), len(mesh.local_devices)
    any_of = jax.jit(jnp.any, out_shardings=replicated(mesh))

    def post() -> Callable[[], bool]:
        flags = jax.make_array_from_process_local_data(split, np.full(local, bool(stop)))
        answer = any_of(flags)
        return lambda: bool(answer)

    return post
