"""Knowing that the other processes of a job live, and ending as they do.

Each process tells the job's coordination service every second that it lives, and why it ends where it fails. The first
one concludes from it what becomes of the job, and the others read that: a process that stands still or is gone ends the
others with one line in a known time, and one that fails ends them with its own exit code.
"""

import contextlib
import dataclasses
import faulthandler
import io
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Protocol, TextIO, cast, runtime_checkable

from orbax.checkpoint import multihost

from score_jax.runtime.exit_codes import AGAIN
from score_jax.runtime.relay import Overheard, Relay

SILENCE_SECONDS = 30.0
"""A process that told nothing for so long stands still, or its machine is gone."""
_EVERY_SECONDS = 1.0
_TURN_SECONDS = 0.25
_OWN_WORD_SECONDS = 1.5
"""What a process has to say for itself before it ends because of another one."""
_LAST_WORD_SECONDS = 3.0
"""For which a first process is waited for that does not answer."""
_FIRST, _OTHERS, _FAILED, _VERDICT = (f"score_jax/{name}/" for name in ("first", "others", "failed", "verdict"))
_LEFT = "left"


@dataclasses.dataclass(frozen=True)
class Ending:
    """How a job ends before its work is done.

    Attributes:
      code: exit code of all its processes, one of `exit_codes`.
      line: why.
      stacks: whether each process writes the stacks of its threads first, as of a step that stands still.
    """

    code: int
    line: str
    stacks: bool = False

    def to_text(self) -> str:
        """JSON."""
        return json.dumps(dataclasses.asdict(self))

    @staticmethod
    def of_text(text: str) -> "Ending":
        """From `to_text`."""
        return Ending(**json.loads(text))


@runtime_checkable
class Store(Protocol):
    """Texts by key that all processes of a job share; each method raises where the job's first process is gone."""

    def put(self, key: str, text: str) -> None:
        """Writes one, over an older one."""

    def below(self, folder: str) -> Mapping[str, str]:
        """Those whose key begins with `folder`, which ends with a slash, by the rest of their keys."""


class Peers:
    """What one process tells of itself and concludes of the others.

    Args:
      store: of the job.
      index: of this process, from 0 on.
      silence: seconds without a word after which a process counts as gone.
    """

    def __init__(self, store: Store, index: int, silence: float = SILENCE_SECONDS):
        self._store, self._index, self._silence = store, index, silence
        self._words = 0
        self._heard: dict[str, tuple[str, float]] = {}

    def tell(self, now: float) -> Ending | None:
        """One more sign of life; returns how the job ends, None while it goes on.

        Args:
          now: seconds, of any clock that does not go back.
        """
        self._words += 1
        self._say(str(self._words))
        if self._index:
            return self._of_first(now)
        if (ending := self._concluded(now)) is not None:
            self.fail(ending)
        return ending

    def _say(self, word: str) -> None:
        """Only the first process reads what the many others say, so that what travels grows with their number alone."""
        self._store.put(f"{_OTHERS if self._index else _FIRST}{self._index}", f"{socket.gethostname()} {word}")

    def fail(self, ending: Ending) -> None:
        """Tells the others that this process ends, and why."""
        self._store.put(f"{_FAILED if self._index else _VERDICT}{self._index}", ending.to_text())

    def leave(self) -> None:
        """Tells the others that this process ends as they do, and that its silence means nothing."""
        self._say(_LEFT)

    def _of_first(self, now: float) -> Ending | None:
        """What the first process concluded; or that it is silent."""
        for verdict in self._store.below(_VERDICT).values():
            return Ending.of_text(verdict)
        return self._silent(self._store.below(_FIRST), now)

    def _concluded(self, now: float) -> Ending | None:
        failed = [Ending.of_text(text) for text in self._store.below(_FAILED).values()]
        if failed:  # one that ends with 75 may have lost the one that failed
            return min(failed, key=lambda ending: ending.code == AGAIN)
        return self._silent(self._store.below(_OTHERS), now)

    def _silent(self, words: Mapping[str, str], now: float) -> Ending | None:
        gone = []
        for index, word in words.items():
            host, last = word.split()
            if self._heard.get(index, ("", now))[0] != word:
                self._heard[index] = word, now
            elif last != _LEFT and now - self._heard[index][1] > self._silence:
                gone.append(f"{index} ({host})")
        if not gone:
            return None
        who = f"process {gone[0]}" if len(gone) == 1 else f"processes {', '.join(gone)}"
        return Ending(
            AGAIN,
            f"{who} of this job gave no sign of life for {self._silence:.0f} s: the machine is gone, stands still or "
            "cannot be reached. The same command goes on from what is saved.",
        )


class _CoordinationService:
    """The texts of `jax.distributed`, for which Orbax has a public name and JAX none."""

    def __init__(self):
        self._client = multihost.get_jax_distributed_client()

    def put(self, key: str, text: str) -> None:
        self._client.key_value_set(key, text, allow_overwrite=True)

    def below(self, folder: str) -> Mapping[str, str]:
        return {key.removeprefix(folder): text for key, text in self._client.key_value_dir_get(folder)}

    def take(self, folder: str) -> Mapping[str, str]:
        found = self.below(folder)
        for key in found:  # not the folder, in which there may be more by now
            self._client.key_value_delete(folder + key)
        return found


class _Watch:
    """Two threads: one talks with the service, which may not answer, and the other waits for it no longer than that."""

    def __init__(self, peers: Peers, relay: Relay, end: Callable[[Ending], None]):
        self._peers, self._relay, self._end = peers, relay, end
        self._ended, self._told = threading.Event(), threading.Event()
        self.ending: Ending | None = None
        for work in (self._talk, self._wait):
            threading.Thread(target=work, daemon=True, name=f"score_jax peers{work.__name__}").start()

    def _talk(self) -> None:
        while not self._ended.wait(_EVERY_SECONDS):
            try:
                ending = self._peers.tell(time.monotonic())
            except Exception:  # whatever the service's client raises; how long that goes on counts
                continue
            with contextlib.suppress(Exception):  # what is not passed on stands in the other's own output
                self._relay.turn(time.monotonic())
            self.ending = ending
            self._told.set()
            if self.ending is not None:
                return

    def _wait(self) -> None:
        """Counts its own turns: while this process stands still, or Python is busy elsewhere, there are none."""
        turns = 0
        while not self._ended.wait(_TURN_SECONDS):
            turns = 0 if self._told.is_set() else turns + 1
            self._told.clear()
            if self.ending is None and turns * _TURN_SECONDS > SILENCE_SECONDS:
                self.ending = Ending(
                    AGAIN,
                    f"the first process of this job could not be reached for {SILENCE_SECONDS:.0f} s. The same command "
                    "goes on from what is saved.",
                )
            if self.ending is not None:
                if not self._ended.wait(_OWN_WORD_SECONDS):
                    self._end(self.ending)
                return

    def tell_end(self, ending: Ending | None) -> None:
        """Of this process; nothing is heard after it."""
        self._ended.set()

        def tell() -> None:
            # Where the first process is gone there is nobody to tell.
            with contextlib.suppress(Exception):
                self._relay.turn(time.monotonic())
            with contextlib.suppress(Exception):
                self._peers.leave() if ending is None else self._peers.fail(ending)

        telling = threading.Thread(target=tell, daemon=True)
        telling.start()
        telling.join(_LAST_WORD_SECONDS)


_watch: _Watch | None = None


def watch_peers(index: int, end: Callable[[Ending], None]) -> None:
    """Begins to tell and to listen, in threads of their own; what is written on stderr is passed on from now on.

    Args:
      index: of this process, from 0 on.
      end: ends this process; called in another thread than the main one.
    """
    global _watch
    service = _CoordinationService()
    overheard = Overheard(cast(io.TextIOBase, sys.stderr)) if index else None
    if overheard is not None:
        sys.stderr = cast(TextIO, overheard)
    _watch = _Watch(Peers(service, index), Relay(service, index, overheard), end)


def tell_end(ending: Ending | None) -> None:
    """Tells the others that this process ends: as it fails, or, with None, as they all do."""
    if _watch is not None:
        _watch.tell_end(ending)


def ending_of_others(seconds: float) -> Ending | None:
    """Waits for what is known of the job's end; None where nothing is, or nothing came in time."""
    until = time.monotonic() + seconds
    while _watch is not None and _watch.ending is None and time.monotonic() < until:
        time.sleep(0.05)
    return None if _watch is None else _watch.ending


def write_stacks() -> None:
    """Writes the stacks of all threads of this process to stderr."""
    print(f"Stacks of process {os.getpid()} on {socket.gethostname()}:", file=sys.stderr, flush=True)
    faulthandler.dump_traceback(file=sys.stderr, all_threads=True)
