"""Errors that are neither the user's nor ours: a network or a service that fails now, and works again later."""

import errno
import re

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
