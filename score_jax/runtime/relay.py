"""What the other processes of a job write on stderr, as warnings are, said by the first one too, where a person looks.

Each gives its lines to the job's coordination service, and the first one takes them from there, every second.
"""

import datetime
import io
import json
import socket
import sys
import threading
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol, runtime_checkable

FILE_NAME = "other_processes.log"
"""Of a workdir."""
_MOST, _PERIOD_SECONDS = 50, 60.0
"""Lines of a process that travel in a period; the others are counted."""
_LONGEST = 500
_NAMED = 4
_EARLY = 1000
"""Lines that are remembered where there is no file yet."""
_SAID = "score_jax/said/"


@runtime_checkable
class Mail(Protocol):
    """Texts by key that all processes of a job share; each method raises where the job's first process is gone."""

    def put(self, key: str, text: str) -> None:
        """Writes one."""

    def take(self, folder: str) -> Mapping[str, str]:
        """Returns and removes those whose key begins with `folder`, by the rest of their keys."""


class Overheard:
    """A stream of text whose lines are kept, until they are taken, beside what becomes of them otherwise.

    Args:
      stream: whatever is written goes to it.
    """

    def __init__(self, stream: io.TextIOBase):
        self._stream, self._lock = stream, threading.RLock()  # a signal's handler may write within `write`
        self._begun, self._lines, self._left_out = "", deque[str](), 0
        self._period, self._allowed = 0.0, _MOST

    def __getattr__(self, name: str):
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Writes and keeps."""
        written = self._stream.write(text)
        with self._lock:
            *lines, self._begun = (self._begun + text).split("\n")
            self._begun = self._begun[:_LONGEST]
            for line in filter(str.strip, lines):
                if len(self._lines) < _MOST:
                    self._lines.append(line.rstrip()[:_LONGEST])
                else:
                    self._left_out += 1
        return written

    def taken(self, now: float) -> list[str]:
        """Returns the lines since the last call, and how many were too many.

        Args:
          now: seconds, of any clock that does not go back.
        """
        with self._lock:
            if now - self._period >= _PERIOD_SECONDS:
                self._period, self._allowed = now, _MOST
            lines = [self._lines.popleft() for _ in range(min(self._allowed, len(self._lines)))]
            self._allowed -= len(lines)
            self._left_out += len(self._lines)
            self._lines.clear()
            if self._left_out and self._allowed:
                lines.append(f"... and {self._left_out} more lines, in its own output.")
                self._left_out, self._allowed = 0, self._allowed - 1
        return lines


class Relay:
    """One process's part in it.

    Args:
      mail: of the job.
      index: of this process, from 0 on.
      overheard: what this process writes; of the first one nothing is passed on.
    """

    def __init__(self, mail: Mail, index: int, overheard: Overheard | None = None):
        self._mail, self._index, self._overheard, self._turns = mail, index, overheard, 0

    def turn(self, now: float) -> None:
        """Passes on what was written since the last turn; the first process says it.

        Args:
          now: seconds, of any clock that does not go back.
        """
        if self._overheard is None:
            say_of_others(self._mail.take(_SAID))
        elif lines := self._overheard.taken(now):
            self._turns += 1
            self._mail.put(f"{_SAID}{self._index}/{self._turns}", json.dumps([socket.gethostname(), lines]))


_kept: Path | None = None
_early = deque[str](maxlen=_EARLY)


def keep_of_others(workdir: Path) -> None:
    """Has what is said of other processes, and was until now, written into a file of the workdir too."""
    global _kept
    _kept = workdir / FILE_NAME
    _write_down([_early.popleft() for _ in range(len(_early))])


def _write_down(lines: list[str]) -> None:
    if _kept is None:
        _early.extend(lines)
    elif lines:
        with _kept.open("a") as file:
            file.writelines(lines)


def say_of_others(mail: Mapping[str, str]) -> None:
    """Writes on stderr what others wrote, each text once with all that wrote it.

    Args:
      mail: JSON of host and lines, by process/turn.
    """
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    lines = [f"{now} {line}\n" for line in grouped(mail)]
    if not lines:
        return
    sys.stderr.write("".join(lines))
    sys.stderr.flush()
    _write_down(lines)


def grouped(mail: Mapping[str, str]) -> list[str]:
    """Returns a line for each text, with those that wrote it before it.

    Args:
      mail: JSON of host and lines, by process/turn.
    """
    of_text: dict[str, dict[int, str]] = {}
    for key in sorted(mail, key=lambda key: tuple(map(int, key.split("/")))):
        host, lines = json.loads(mail[key])
        for line in lines:
            of_text.setdefault(line, {})[int(key.partition("/")[0])] = host
    return [f"{_who(writers.items())}: {text}" for text, writers in of_text.items()]


def _who(writers: Iterable[tuple[int, str]]) -> str:
    names = [f"{index} ({host})" for index, host in writers]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"process{'es' * (len(names) > 1)} {', '.join(names[:_NAMED])}{more}"
