"""Errors that are neither the user's nor ours: a network or a service that fails now, and works again later."""

import errno
import re
import sys
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
PAUSES = (1.0, 5.0, 20.0)
"""Seconds between the tries of what a network or a service fails."""

_PASSING = {
    *(errno.ETIMEDOUT, errno.ECONNRESET, errno.ECONNREFUSED, errno.ECONNABORTED, errno.EPIPE, errno.EAGAIN),
    *(errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTUNREACH, errno.EIO, errno.ESTALE, errno.EREMOTEIO),
}
_WORDS = re.compile(
    r"\b(?:429|50[0234])\W{1,3}(?:too many|internal server|bad gateway|service unavailable|gateway time)"
    r"|\b(?:HTTP|status|response)\b[^.]{0,20}\b(?:429|50[0234])\b"
    r"|\b(?:UNAVAILABLE|DEADLINE_EXCEEDED)\b|timed out|connection (?:reset|refused|aborted)|temporarily unavailable",
    re.IGNORECASE,
)
"""Of an error that has no number of the operating system: what services and their libraries say."""


def is_outage(error: BaseException) -> bool:
    """Returns whether an error, or one that it came from, is of a network or a service that may be back later."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ConnectionError | TimeoutError) or (isinstance(seen, OSError) and seen.errno in _PASSING):
            return True
        if _WORDS.search(str(seen)):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def patiently(work: Callable[[], T], what: str) -> T:
    """Returns what `work` returns; tries again after `PAUSES` where a network or a service fails, and says so.

    Args:
      work: may be done again.
      what: it does, for the message, such as "read gs://bucket/run".
    """
    for pause in PAUSES:
        try:
            return work()
        except Exception as error:  # whatever libraries make of it
            if not is_outage(error):
                raise
            say_outage(f"cannot {what} now ({error}); trying again in {pause:.0f} s")
            time.sleep(pause)
    return work()


def say_outage(line: str) -> None:
    """Writes a line on stderr, of an outage that may pass."""
    print(f"score_jax: {' '.join(line.split())[:500]}.", file=sys.stderr, flush=True)
