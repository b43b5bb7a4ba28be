"""Who writes a run's checkpoints: one job at a time, since two remove each other's unfinished ones.

CHECKPOINTS/writer.json    the process that writes, and its machine; renewed while it lives, removed when it ends
"""

import contextlib
import dataclasses
import datetime
import json
import os
import secrets
import socket
import threading
import time
from pathlib import Path

import jax
from etils import epath

from score_jax.errors import InputError
from score_jax.runtime.multihost import on_first_process
from score_jax.runtime.outages import is_outage, patiently

FILE_NAME = "writer.json"
RENEWED_SECONDS, LOST_SECONDS = 15.0, 60.0
"""How often a writer says that it lives, and how long one waits for such a word, or for its end."""
_OLD_SECONDS = 600.0
"""A last word from so long ago needs no waiting, whatever the clocks of two machines differ by."""
_POLL_SECONDS = 0.5
_LAST_WORD_SECONDS = 5.0
"""For so long a word that is being written is waited for at the end."""


@dataclasses.dataclass(frozen=True)
class Writer:
    """Who writes, and its last sign of life.

    Attributes:
      run: a random name of its own.
      host: name of its machine.
      machine: of its kernel since the start of the machine, and of the processes that it sees; "" where unknown.
      pid: number of the process.
      started: when, as the kernel counts it; "" where unknown.
      utc: of its last word, seconds since 1970.
    """

    run: str
    host: str
    machine: str
    pid: int
    started: str
    utc: float

    @staticmethod
    def here() -> "Writer":
        """This process."""
        pid = os.getpid()
        return Writer(secrets.token_hex(8), socket.gethostname(), _machine(), pid, _started(pid), time.time())

    @property
    def is_gone(self) -> bool:
        """Whether it surely has ended: it was on this machine, and is not there, or said its last word long ago."""
        here = self.machine and self.machine == _machine()
        return bool(here and _started(self.pid) != self.started) or time.time() - self.utc > _OLD_SECONDS

    def __str__(self) -> str:
        last = datetime.datetime.fromtimestamp(self.utc, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        return f"process {self.pid} on {self.host}, last heard of at {last}"


def _machine() -> str:
    with contextlib.suppress(OSError):
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {os.readlink('/proc/self/ns/pid')}"
    return ""


def _started(pid: int) -> str:
    """Another process may have the same number later, but not the same start; "" where there is none."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return ""


class Lease:
    """The right to write checkpoints in a folder; a context manager that gives it back.

    Only the job's first process has it, for all; the others wait for it.

    Args:
      directory: of the checkpoints.
      wait: seconds for which a writer that may be alive is waited for; None: `LOST_SECONDS`.
    """

    def __init__(self, directory: epath.PathLike, wait: float | None = None):
        self._file = epath.Path(directory) / FILE_NAME
        self._wait = LOST_SECONDS if wait is None else wait
        self._own = Writer.here()
        self._over = threading.Event()
        self._active = jax.process_index() == 0
        self._renewing = threading.Thread(target=self._renew, daemon=True, name="score_jax lease")

    def __enter__(self) -> "Lease":
        """Takes it, as soon as no other has it.

        Raises:
          InputError: another writer is alive.
          Outage: the folder cannot be read or written because a service or a network fails.
        """
        on_first_process(self._take)
        return self

    def _take(self) -> None:
        if (other := self._read_patiently()) is not None and not other.is_gone:
            self._wait_for(other)
        self._write()
        self._renewing.start()

    def __exit__(self, *_) -> None:
        self._over.set()
        if self._renewing.is_alive():  # a word that is being written would bring the file back
            self._renewing.join(_LAST_WORD_SECONDS)
        with contextlib.suppress(Exception):  # a file that stays is found to be of a process that is gone
            if self._active and self._is_own(self._read()):
                self._file.unlink()

    def check(self) -> None:
        """Before a save: whether it is still ours, which a process that stood still for long cannot know.

        Raises:
          InputError: another writer has taken it.
        """
        if not self._active or self._over.is_set():
            return
        try:
            other = self._read()
        except Exception as error:
            if is_outage(error):
                return
            raise
        if other is not None and not self._is_own(other):
            raise InputError(
                f"Another run has taken over the checkpoints in {self._file.parent} ({other}), while this one stood "
                "still: this one ends, and writes nothing more."
            )

    def _is_own(self, writer: Writer | None) -> bool:
        return writer is not None and writer.run == self._own.run

    def _wait_for(self, other: Writer) -> None:
        """Until a writer has ended, or has said nothing for the whole wait.

        Raises:
          InputError: it still says that it lives.
        """
        folder = self._file.parent
        print(f"Checkpoints in {folder} are written by {other}. Waiting {self._wait:.0f} s for its end.", flush=True)
        until, last = time.monotonic() + self._wait, other
        while time.monotonic() < until:
            time.sleep(min(_POLL_SECONDS, self._wait))
            found = self._read_patiently()
            if found is None or found.is_gone:
                return
            last = found
        if last != other:
            raise InputError(
                f"Another run writes checkpoints in {folder}: {last}. Stop it, or give another --workdir or "
                "--config.training.checkpoints."
            )

    def _read_patiently(self) -> Writer | None:
        return patiently(self._read, f"read {self._file}")

    def _read(self) -> Writer | None:
        """None where nobody says to write, or what is said cannot be understood."""
        try:
            return Writer(**json.loads(self._file.read_text() if self._file.exists() else ""))
        except (ValueError, TypeError, FileNotFoundError):
            return None

    def _write(self) -> None:
        text = json.dumps(dataclasses.asdict(dataclasses.replace(self._own, utc=time.time())))

        def write() -> None:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            if "://" in str(self._file):  # a service replaces a file as a whole
                self._file.write_text(text)
                return
            temporary = self._file.parent / f".{FILE_NAME}.{self._own.run}"
            temporary.write_text(text)
            temporary.replace(self._file)

        patiently(write, f"write {self._file}")

    def _renew(self) -> None:
        while not self._over.wait(RENEWED_SECONDS):
            with contextlib.suppress(Exception):  # the next word, or the next save, finds out more
                if self._is_own(self._read()):
                    self._write()
