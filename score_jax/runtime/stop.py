"""Being asked to end: by SIGTERM, as a preempted machine or a scheduler sends, or by Ctrl-C."""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from score_jax.runtime.exit_codes import INTERRUPTED, STOPPED
from score_jax.runtime.sharding import over_batch, replicated

IMPATIENCE_SECONDS = 1.0
"""A second Ctrl-C later than this after the first ends the process at once; one key press may arrive twice."""


class Stop:
    """True once the process has been asked to end."""

    def __init__(self):
        self._asked = threading.Event()
        self._interrupted: float | None = None

    def __bool__(self) -> bool:
        return self._asked.is_set()

    def ask(self, *_) -> None:
        """Ends the work at the next safe point."""
        self._asked.set()

    def interrupt(self, *_) -> None:
        """The same by Ctrl-C; asked again it ends the process, since an exception may be lost in a callback."""
        now = time.monotonic()
        if self._interrupted is None:
            self._interrupted = now
            print(" Stopping at the next safe point; Ctrl-C again ends at once.", file=sys.stderr, flush=True)
        elif now - self._interrupted > IMPATIENCE_SECONDS:
            os._exit(INTERRUPTED)
        self.ask()

    @property
    def cause(self) -> str:
        """What asked, for messages; SIGTERM to another process where none asked this one."""
        return "SIGTERM" if self._interrupted is None else "Ctrl-C"

    @property
    def exit_code(self) -> int:
        """Of a command that ends as asked, before its work is done."""
        return STOPPED if self._interrupted is None else INTERRUPTED


@contextlib.contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """A `Stop` that SIGTERM and Ctrl-C set, for the time of the context (main thread only)."""
    stop = Stop()
    handlers = {signal.SIGTERM: stop.ask, signal.SIGINT: stop.interrupt}
    previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


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
