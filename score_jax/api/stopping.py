"""A call that is asked to end, from within a program that may have handlers of its own."""

import contextlib
import signal
import threading
from collections.abc import Iterator

from score_jax.runtime.stop import Stop, stop_on_signals


@contextlib.contextmanager
def stoppable() -> Iterator[Stop]:
    """A `Stop` that SIGTERM and Ctrl-C set for the time of a call, in the main thread; in others nothing sets it.

    What handled SIGTERM before, such as a trainer that saves its state, is told after the call.
    """
    if threading.current_thread() is not threading.main_thread():
        yield Stop()
        return
    before = signal.getsignal(signal.SIGTERM)
    terminated = False
    try:
        with stop_on_signals() as stop:
            try:
                yield stop
            finally:
                terminated = bool(stop) and stop.cause == "SIGTERM"
    finally:
        if terminated and callable(before):
            before(signal.SIGTERM, None)
