"""Ending a training whose steps stand still, in place of waiting for ever beside machines that cost money."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

from score_jax.training.step_clock import StepClock

FACTOR = 20
"""A dispatch may take so many times the median before it counts as standing still."""
_LOOK_EVERY = 0.25


@contextlib.contextmanager
def watchdog(clock: StepClock, timeout: float, end: Callable[[str], None]) -> Iterator[None]:
    """Watches, in a thread of its own, that each dispatch of steps ends, for the time of the context.

    Args:
      clock: of the dispatches; those that it does not count are not watched.
      timeout: seconds that a dispatch may always take; 0: nothing is watched.
      end: is given the line that says what stood still, in that thread, and ends the process.
    """
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_LOOK_EVERY):
            began, limit = clock.began, limit_of(clock, timeout)
            if began is not None and time.monotonic() - began > limit:
                end(
                    f"no step ended for {limit:.0f} s, where one takes {clock.usual:.3g} s: the stacks above say where "
                    "it stands still. The same command goes on from the newest checkpoint; training.step_timeout says "
                    "how long a step may take."
                )
                return

    if timeout:
        threading.Thread(target=watch, daemon=True, name="score_jax watchdog").start()
    try:
        yield
    finally:
        over.set()


def limit_of(clock: StepClock, timeout: float) -> float:
    """Returns the seconds after which a dispatch counts as standing still."""
    return max(timeout, FACTOR * clock.usual)
