"""A verb beside services that fail for a moment: `python fault_services.py KIND VERB ...`, for `faults.py`.

Each kind has some function of a library or of the system fail once or twice, and work again, as storage does.
"""

import asyncio
import errno
import inspect
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import orbax.checkpoint as ocp
from etils import epath
from orbax.checkpoint._src.path import atomicity

from score_jax.cli.main import main
from score_jax.data import sources
from score_jax.runtime import outages
from score_jax.training import checkpoint


def unavailable() -> Exception:
    """As TensorStore says it of a bucket."""
    return ValueError("UNAVAILABLE: Error opening kvs driver: HTTP response code: 503 with body 'backendError'")


def unreadable() -> Exception:
    """As the system says it of a file system over a network."""
    return OSError(errno.EIO, "Input/output error")


def failing(owner: Any, name: str, calls: Sequence[int], error: Callable[[], Exception]) -> None:
    """Has a function or method fail at these of its calls, counted from 1."""
    works, count = getattr(owner, name), iter(range(1, 10**9))

    def perhaps(*args, **kwargs):
        if next(count) in calls:
            raise error()
        return works(*args, **kwargs)

    async def perhaps_later(*args, **kwargs):
        if next(count) in calls:
            await asyncio.sleep(0)
            raise error()
        return await works(*args, **kwargs)

    setattr(owner, name, perhaps_later if inspect.iscoroutinefunction(works) else perhaps)


def failing_text(ending: str) -> None:
    """Has the first two reads of a text file whose path ends so fail."""
    path_type = type(epath.Path("."))
    works, left = path_type.read_text, [2]

    def perhaps(self, *args, **kwargs):
        if str(self).endswith(ending) and left[0]:
            left[0] -= 1
            raise unavailable()
        return works(self, *args, **kwargs)

    path_type.read_text = perhaps


def failing_record(times: int) -> None:
    """Has one record of the data fail so often."""
    works, left, victim = sources._patiently, [times], []

    def patiently(read: Callable[[], Any], name: str) -> Any:
        if not victim:
            victim.append(name)

        def perhaps() -> Any:
            if name in victim and left[0]:
                left[0] -= 1
                raise unreadable()
            return read()

        return works(perhaps, name)

    sources._patiently = patiently


_MANAGER, _COMMIT = ocp.CheckpointManager, atomicity.AtomicRenameTemporaryPath
KINDS: dict[str, Callable[[], object]] = {
    "a save does not begin": lambda: failing(_MANAGER, "save", [3], unavailable),
    "two saves in a row do not begin": lambda: failing(_MANAGER, "save", [3, 4], unavailable),
    "the last save does not begin, twice": lambda: failing(_MANAGER, "save", [16, 17], unavailable),
    "a save is not committed": lambda: failing(_COMMIT, "finalize", [3], unreadable),
    "the last save is not committed": lambda: failing(_COMMIT, "finalize", [16], unreadable),
    "a checkpoint cannot be read, twice": lambda: failing(_MANAGER, "restore", [1, 2], unavailable),
    "what a checkpoint says of its run cannot be read, twice": lambda: failing_text("about/metadata"),
    "who writes checkpoints cannot be read, twice": lambda: failing_text("writer.json"),
    "a record cannot be read, twice": lambda: failing_record(2),
    "a record cannot be read for longer": lambda: failing_record(6),
}


if __name__ == "__main__":
    outages.PAUSES = checkpoint.PAUSES = sources.PAUSES = (0.5, 0.5, 0.5)  # what fails here works again at once
    KINDS[sys.argv[1]]()
    sys.exit(main([Path(sys.argv[0]).name, *sys.argv[2:]]))
