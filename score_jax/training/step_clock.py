"""How long dispatches of steps take, without what is compiled, saved or drawn between them."""

import collections
import statistics
import time

_REMEMBERED = 50


class StepClock:
    """Is told when each dispatch begins and ends. The first of each size is compiled, and counts for nothing.

    Attributes:
      seconds: of all dispatches that ended.
      usual: median of the last ones, in seconds; 0 before there are any.
      began: when the one under way began, by `time.monotonic`; None between two, and while one is compiled.
    """

    def __init__(self):
        self.seconds = self.usual = 0.0
        self.began: float | None = None
        self._compiled: set[int] = set()
        self._size = 0
        self._last: collections.deque[float] = collections.deque(maxlen=_REMEMBERED)

    def begin(self, size: int) -> None:
        """A dispatch of `size` steps, with the wait for its data, begins; the one before is over."""
        self.end()
        self._size = size
        if size in self._compiled:
            self.began = time.monotonic()

    def end(self) -> None:
        """The dispatch is over; what follows, such as writing a checkpoint, is no part of it."""
        if self.began is not None:
            self._last.append(time.monotonic() - self.began)
            self.seconds += self._last[-1]
            self.usual = statistics.median(self._last)
        self._compiled.add(self._size)
        self.began = None
