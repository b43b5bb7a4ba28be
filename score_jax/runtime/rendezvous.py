"""Waiting for the other processes of a job: for how long, and who has come.

JAX's own wait says nothing while it lasts and ends in an abort of the process, with a stack of C++ functions.
"""

import contextlib
import ipaddress
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from score_jax.errors import InputError

SECONDS_KEY = "SCORE_JAX_JOIN_SECONDS"
"""Variable of the environment: how long a process waits for the others."""
_SECONDS, _LINE_EVERY = 300.0, 30.0
_ESTABLISHED, _LISTENING = "01", "0A"


def seconds_to_wait(environment: Mapping[str, str]) -> float:
    """Returns for how long a process waits for the others.

    Raises:
      InputError: the variable is no positive number.
    """
    return seconds_of(environment, SECONDS_KEY) or _SECONDS


def seconds_of(environment: Mapping[str, str], key: str) -> float | None:
    """Returns a time that the environment states; None where it does not.

    Raises:
      InputError: the variable is no positive number.
    """
    text = environment.get(key, "")
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e6:
        raise InputError(f"{key}={text}: expected a number of seconds above 0, such as 600.")
    return seconds


@contextlib.contextmanager
def waiting(seconds: float, who: str, end: Callable[[str], None]) -> Iterator[None]:
    """Says every half minute that the context still waits, and ends it after `seconds`.

    Args:
      seconds: to wait.
      who: is waited for.
      end: is given a line, in another thread, and ends the process.
    """
    over = threading.Event()

    def watch() -> None:
        waited = 0.0
        while not over.wait(min(_LINE_EVERY, seconds - waited)):
            waited += min(_LINE_EVERY, seconds - waited)
            if waited >= seconds:
                end(
                    f"waited {seconds:.0f} s for {who}{_who_came()}. Start all of them at once, and see that they "
                    f"reach each other; {SECONDS_KEY} says how long a process waits."
                )
                return
            print(f"Waiting for {who}, {waited:.0f} of {seconds:.0f} s{_who_came()}.", file=sys.stderr, flush=True)

    threading.Thread(target=watch, daemon=True, name="score_jax waiting").start()
    try:
        yield
    finally:
        over.set()


def expected_hosts(environment: Mapping[str, str]) -> list[str]:
    """Returns the names of a job's machines where its launcher says them, as SLURM and Google's Kubernetes do."""
    if names := environment.get("TPU_WORKER_HOSTNAMES", ""):
        return names.split(",")
    nodes = environment.get("SLURM_STEP_NODELIST", "")
    if not nodes:
        return []
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        command = ["scontrol", "show", "hostnames", nodes]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.split()
    return [nodes]


def _who_came() -> str:
    """What the process that the others connect to knows of them; "" of another process, or where nothing is known."""
    came = connected(_rows_of_sockets(), _own_sockets())
    if came is None:
        return ""
    missing = missing_hosts(expected_hosts(os.environ), came)
    of_missing = f"; not there: {', '.join(missing)}" if missing else ""
    return f" ({len(came)} connected, from {', '.join(sorted(set(came))) or 'nowhere'}{of_missing})"


def missing_hosts(expected: Sequence[str], came: Sequence[str]) -> list[str]:
    """Returns the names of `expected` that belong to none of the addresses in `came`, nor to this machine."""

    def addresses(name: str) -> set[str]:
        with contextlib.suppress(OSError):
            return {str(found[4][0]) for found in socket.getaddrinfo(name, None)}
        return set()

    here = {socket.gethostname(), socket.gethostname().split(".")[0]}
    return [name for name in expected if name not in here and not addresses(name) & set(came)]


def connected(rows: Sequence[Sequence[str]], own: set[str]) -> list[str] | None:
    """Returns the addresses from which others are connected to a port that this process listens on.

    Args:
      rows: of Linux' /proc/net/tcp and tcp6, split at spaces.
      own: numbers of this process's sockets.

    Returns:
      An address for each connection; None where this process listens nowhere.
    """
    ports = {row[1].rpartition(":")[2] for row in rows if row[3] == _LISTENING and row[9] in own}
    if not ports:
        return None
    return [
        _address(row[2].rpartition(":")[0])
        for row in rows
        if row[3] == _ESTABLISHED and row[1].rpartition(":")[2] in ports
    ]


def _address(text: str) -> str:
    """Of the kernel's hexadecimal words, each in the byte order of the machine."""
    words = [bytes.fromhex(text[i : i + 8])[:: -1 if sys.byteorder == "little" else 1] for i in range(0, len(text), 8)]
    address = ipaddress.ip_address(b"".join(words))
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def _rows_of_sockets() -> list[list[str]]:
    rows = []
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        with contextlib.suppress(OSError):
            rows += [line.split() for line in table.read_text().splitlines()[1:]]
    return rows


def _own_sockets() -> set[str]:
    own = set()
    with contextlib.suppress(OSError):
        for link in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(OSError):
                kind, _, number = os.readlink(link).partition(":")
                if kind == "socket":
                    own.add(number.strip("[]"))
    return own
