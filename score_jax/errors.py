"""The two exceptions that are messages to the user rather than bugs."""

import difflib
import re
import reprlib
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

_QUOTED = 100
_Entry = TypeVar("_Entry")


class InputError(Exception):
    """Bad input (config, file, shape, checkpoint): what was wrong, what was expected, how to mend it.

    The message is one line. The command line prints it without a traceback and exits with code 2.
    """


class Outage(Exception):
    """What failed is neither the input nor the code, but a network, a service or another process of the job.

    The message is one line. The command line prints it without a traceback and exits with code 75: later, the same
    command goes on from what is saved.
    """


def unknown_name(kind: str, name: str, known: Iterable[str]) -> InputError:
    """The error for a name that is not in a table: lists the valid names and the nearest one."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return InputError(f"Unknown {kind} {name!r}.{hint} Known: {', '.join(known)}.")


def entry_of(table: Mapping[str, _Entry], kind: str, name: str) -> _Entry:
    """What a table of things of a kind has by this name.

    Raises:
      InputError: it has none; the message lists the names.
    """
    if name not in table:
        raise unknown_name(kind, name, table)
    return table[name]


def quoted(value: Any) -> str:
    """A text or value from a file as a message may show it: its `repr`, cut at 100 characters.

    Control characters and those that change the direction of writing come out escaped, so that a file writes nothing
    into a terminal; a value of any size costs no more than a short one.
    """
    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = _QUOTED
    try:
        text = repr(value[:_QUOTED]) if isinstance(value, str | bytes | bytearray) else short.repr(value)
    except Exception:  # such as an integer of more digits than Python prints
        text = f"<{type(value).__name__}>"
    whole = not isinstance(value, str | bytes | bytearray) or len(value) <= _QUOTED
    return text if whole and len(text) <= _QUOTED else text[: _QUOTED - 3] + "..."


def named(name: Any) -> str:
    """A name from a file as a message may show it: as it is where it is short and plain, else `quoted`."""
    plain = isinstance(name, str) and re.fullmatch(rf"[A-Za-z0-9_./:<>|+-]{{1,{_QUOTED}}}", name)
    return str(name) if plain else quoted(name)


def plural(count: int, one: str, many: str = "") -> str:
    """The form of a word that goes with a count: "image" with 1, "images" with others; `many` where it is no mere s."""
    return one if count == 1 else many or f"{one}s"


def counted(count: int, one: str, many: str = "") -> str:
    """A count with its noun: "1 image", "2 images"."""
    return f"{count} {plural(count, one, many)}"
