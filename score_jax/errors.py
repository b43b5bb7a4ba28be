"""The one exception that is a message to the user rather than a bug."""

import difflib
from collections.abc import Iterable


class InputError(Exception):
    """Bad input (config, file, shape, checkpoint): what was wrong, what was expected, how to mend it.

    The message is one line. The command line prints it without a traceback and exits with code 2.
    """


def unknown_name(kind: str, name: str, known: Iterable[str]) -> InputError:
    """The error for a name that is not in a table: lists the valid names and the nearest one."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return InputError(f"Unknown {kind} {name!r}.{hint} Known: {', '.join(known)}.")
