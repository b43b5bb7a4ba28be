"""Another Python beside this one: it reads one JSON request a line, and answers each with one."""

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from score_jax.runtime.host_memory import keep_freed_memory

HERE = Path(__file__).parent

_KEEP_FREED = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**62)}
"""What `keep_freed_memory` asks of the allocator on this side."""


class Peer:
    """A process that answers requests. To be started before JAX computes: both sides then have the same allocator.

    Args:
      python: its interpreter.
      script: which it runs, beside this file.
      arguments: of the script.
    """

    def __init__(self, python: Path, script: str, *arguments: str):
        keep_freed_memory()
        command = [str(python), str(HERE / script), *arguments]
        environment = {**_KEEP_FREED, **os.environ}
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """The answer.

        Raises:
          RuntimeError: the peer failed; its message is above.
        """
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("The peer failed; its message is above.")
        return json.loads(line)

    def close(self) -> None:
        """Ends it."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()


@contextlib.contextmanager
def peer_of(python: Path, script: str, *arguments: str) -> Iterator[Peer]:
    """A peer for the time of the context."""
    peer = Peer(python, script, *arguments)
    try:
        yield peer
    finally:
        peer.close()
