"""Ending a training whose steps stand still, in place of waiting for ever beside machines that cost money."""

import collections
import statistics
import threading
import time
from collections.abc import Callable

FACTOR = 20
"""A step may take so many times the median before it counts as standing still."""
_REMEMBERED = 50
_LOOK_EVERY = 0.25


class Watchdog:
    """Watches, in a thread of its own, that each dispatch of steps ends; a context manager.

    The first dispatch of each size is not watched, since it is compiled.

    Args:
      timeout: seconds that a dispatch may always take; 0: nothing is watched.
      end: is given the line that says what stood still, in that thread, and ends the process.
    """

    def __init__(self, timeout: float, end: Callable[[str], None]):
        self._timeout, self._end_process = timeout, end
        self._known: set[int] = set()
        self._seconds: collections.deque[float] = collections.deque(maxlen=_REMEMBERED)
        self._began: float | None = None
        self._size, self._usual = 0, 0.0
        self._closed = threading.Event()

    def __enter__(self) -> "Watchdog":
        if self._timeout:
            threading.Thread(target=self._watch, daemon=True, name="score_jax watchdog").start()
        return self

    def __exit__(self, *_) -> None:
        self._closed.set()

    def begin(self, size: int) -> None:
        """A dispatch of `size` steps, and the wait for its data, begin; the one before is over."""
        self.end()
        self._began, self._size = time.monotonic(), size

    def end(self) -> None:
        """The dispatch is over; what follows, such as writing a checkpoint, is not watched."""
        if self._began is not None:
            self._seconds.append(time.monotonic() - self._began)
            self._known.add(self._size)
            self._usual = statistics.median(self._seconds)
        self._began = None

    @property
    def limit(self) -> float:
        """Seconds after which a dispatch counts as standing still."""
        return max(self._timeout, FACTOR * self._usual)

    def _watch(self) -> None:
        while not self._closed.wait(_LOOK_EVERY):
            began, limit = self._began, self.limit
            if began is not None and self._size in self._known and time.monotonic() - began > limit:
                self._end_process(
                    f"no step ended for {limit:.0f} s, where one takes {self._usual:.3g} s: the stacks above say where "
                    "it stands still. The same command goes on from the newest checkpoint; training.step_timeout says "
                    "how long a step may take."
                )
                return
