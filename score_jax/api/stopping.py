"""A call that is asked to end, from within a program that may have handlers of its own."""

import contextlib
import signal
import threading
from collections.abc import Iterator

from score_jax.runtime.stop import Stop, stop_on_signals


@contextlib.contextmanager
def stoppable() -> Iterator[Stop]:
    """A `Stop` that SIGTERM and Ctrl-C set for the time of a call, in the main thread; in others nothing sets it.

    Whoever handled the signal before, such as a trainer that saves its state, is told of it after the call; not Python,
    whose answer to Ctrl-C would hide that the call can go on.
    """
    if threading.current_thread() is not threading.main_thread():
        yield Stop()
        return
    before = {"SIGTERM": signal.getsignal(signal.SIGTERM), "Ctrl-C": signal.getsignal(signal.SIGINT)}
    asked = Stop()
    try:
        with stop_on_signals() as asked:
            yield asked
    finally:
        handler = before[asked.cause] if asked else None
        if callable(handler) and handler is not signal.default_int_handler:
            handler(signal.SIGTERM if asked.cause == "SIGTERM" else signal.SIGINT, None)
