"""Work over many examples in batches: finished ones are kept on disk, and an interrupted run goes on behind them.

The files lie in a folder named after what is measured, so that another measurement never takes them for its own. A
finished run removes them. All processes must see the folder.
"""

import contextlib
import dataclasses
import functools
import hashlib
import json
import shutil
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jaxtyping import Array
from tqdm import tqdm

from score_jax.errors import InputError
from score_jax.runtime.array_files import read_arrays
from score_jax.runtime.multihost import any_says
from score_jax.runtime.results import write_arrays, write_json
from score_jax.runtime.stop import Stop

Columns = dict[str, np.ndarray]
"""Arrays (b, ...) by name, one row an example."""


class Interrupted(Exception):
    """The work was asked to end before it was done; what was finished is kept."""


@dataclasses.dataclass(frozen=True)
class Parts:
    """Finished batches on disk.

    Attributes:
      folder: of this one measurement.
    """

    folder: Path

    def _file(self, start: int) -> Path:
        return self.folder / f"{start:09d}.npz"

    def has(self, start: int) -> bool:
        """Whether the batch that begins with this example is done."""
        return self._file(start).is_file()

    def read(self, start: int) -> Columns:
        """A finished batch.

        Raises:
          InputError: its file is damaged.
        """
        try:
            return read_arrays(self._file(start))
        except InputError as error:
            raise InputError(f"A finished part is damaged ({error}): remove it, and it is computed anew.") from None

    def write(self, start: int, columns: Columns) -> None:
        """Keeps a finished batch."""
        write_arrays(self._file(start), columns)

    def remove(self) -> None:
        """Once the whole is written elsewhere."""
        shutil.rmtree(self.folder, ignore_errors=True)
        with contextlib.suppress(OSError):  # another measurement's parts
            self.folder.parent.rmdir()


def parts_of(folder: Path, what: dict[str, Any]) -> Parts:
    """Returns the parts of a measurement that these facts (JSON-able) tell apart from all others."""
    text = json.dumps(what, sort_keys=True)
    parts = Parts(folder / hashlib.sha256(text.encode()).hexdigest()[:16])
    if jax.process_index() == 0:
        write_json(parts.folder / "what.json", what)
    return parts


def _finished(parts: Parts | None, starts: range) -> np.ndarray:
    """Which batches are done (n,), as the first process sees it."""
    seen = np.array([parts is not None and parts.has(start) for start in starts])
    return np.asarray(multihost_utils.broadcast_one_to_all(seen)) if jax.process_count() > 1 else seen


@dataclasses.dataclass
class Part:
    """A batch of examples: who works through `parts_to_do` gives it its columns, unless it has them already.

    Attributes:
      start: its first example.
      valid: its examples.
      columns: of them; None until they are known.
    """

    start: int
    valid: int
    columns: Columns | None


def parts_to_do(
    *,
    count: int,
    batch_size: int,
    name: str,
    parts: Parts | None = None,
    stop: Stop | None = None,
    running: Callable[[Columns], dict[str, str]] = lambda columns: {},
) -> Generator[Part, None, None]:
    """Batch after batch, on every process; what it is given is kept before the next one. To be closed.

    Args:
      count: examples.
      batch_size: examples at a time; the last batch may have fewer.
      name: of the progress bar.
      parts: where finished batches are kept.
      stop: checked before every batch.
      running: what the progress bar says after each.

    Raises:
      InputError: a kept batch is damaged.
      Interrupted: `stop`, before all was done.
    """
    starts = range(0, count, batch_size)
    done, compiled = _finished(parts, starts), False
    with tqdm(total=count, desc=name, unit="image", disable=jax.process_index() > 0, smoothing=0.05) as bar:
        for start, is_done in zip(starts, done, strict=True):
            kept = parts.read(start) if parts is not None and is_done else None
            if kept is None and any_says(bool(stop)):
                raise Interrupted(f"{bar.n} of {count} examples are done")
            part = Part(start, min(batch_size, count - start), kept)
            if kept is None and not compiled:
                bar.set_postfix_str("compiling (the first batch takes a while) ...")
                compiled = True
            yield part
            assert part.columns is not None, "whoever takes a part computes it"
            if kept is None and parts is not None and jax.process_index() == 0:
                parts.write(start, part.columns)
            bar.set_postfix(running(part.columns), refresh=False)
            bar.update(part.valid)
            bar.refresh()


def in_parts(
    compute: Callable[[int, int], Columns],
    *,
    count: int,
    batch_size: int,
    name: str,
    parts: Parts | None = None,
    stop: Stop | None = None,
    running: Callable[[Columns], dict[str, str]] = lambda columns: {},
) -> Generator[Columns, None, None]:
    """The columns of batch after batch, on every process: `compute(start, valid)` of `valid` examples from `start` on.

    Other arguments and errors are those of `parts_to_do`.
    """
    to_do = parts_to_do(count=count, batch_size=batch_size, name=name, parts=parts, stop=stop, running=running)
    with contextlib.closing(to_do):  # its progress bar ends before an error is printed
        for part in to_do:
            if part.columns is None:
                part.columns = compute(part.start, part.valid)
            yield part.columns


def gathered(values: dict[str, Array], valid: int) -> Columns:
    """Arrays sharded over all processes on each of them, without what fills up the batch."""
    gather = functools.partial(multihost_utils.process_allgather, tiled=True)
    whole = gather(values) if jax.process_count() > 1 else jax.device_get(values)
    return {name: np.asarray(value)[:valid] for name, value in whole.items()}


def joined(batches: list[Columns]) -> Columns:
    """Batches as one."""
    return {name: np.concatenate([columns[name] for columns in batches]) for name in batches[0]}
