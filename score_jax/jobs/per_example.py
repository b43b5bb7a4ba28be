"""A function of each example of a data set: sharded, every example exactly once, and resumed where it was stopped.

Finished batches are kept as files in a folder named after what is measured, so that another measurement never takes
them for its own. An interrupted run reads them; a finished one removes them. All processes must see the folder.
"""

import contextlib
import dataclasses
import functools
import hashlib
import json
import shutil
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh
from jaxtyping import Array
from tqdm import tqdm

from score_jax.data.loader import eval_batches
from score_jax.data.sources import Source
from score_jax.errors import InputError
from score_jax.jobs.results import write_arrays, write_json
from score_jax.training.loop import Stop
from score_jax.training.sharding import check_divisible, over_batch

Columns = dict[str, np.ndarray]
BatchFunction = Callable[[Array, Array, Array], dict[str, Array]]
"""`function(images, labels, indices)`: arrays (b, ...) by name; row i a function of example i alone."""


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
            with np.load(self._file(start)) as arrays:
                return dict(arrays)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise InputError(f"{self._file(start)} is damaged ({error}): remove it, and it is computed anew.") from None

    def write(self, start: int, columns: Columns) -> None:
        """Keeps a finished batch."""
        write_arrays(self._file(start), columns)

    def remove(self) -> None:
        """Once the whole is written elsewhere."""
        shutil.rmtree(self.folder, ignore_errors=True)
        with contextlib.suppress(OSError):  # another measurement's parts
            self.folder.parent.rmdir()


def parts_of(folder: Path, what: dict[str, Any]) -> Parts:
    """The parts of a measurement that these facts (JSON-able) tell apart from all others."""
    text = json.dumps(what, sort_keys=True)
    parts = Parts(folder / hashlib.sha256(text.encode()).hexdigest()[:16])
    if jax.process_index() == 0:
        write_json(parts.folder / "what.json", what)
    return parts


def _finished(parts: Parts | None, starts: range) -> np.ndarray:
    """Which batches are done (n,), as the first process sees it."""
    seen = np.array([parts is not None and parts.has(start) for start in starts])
    return np.asarray(multihost_utils.broadcast_one_to_all(seen)) if jax.process_count() > 1 else seen


def over_examples(
    function: BatchFunction,
    source: Source,
    mesh: Mesh,
    *,
    count: int,
    batch_size: int,
    key: str,
    parts: Parts | None = None,
    stop: Stop | None = None,
    running: Callable[[list[Columns]], dict[str, str]] = lambda finished: {},
) -> Columns:
    """`function` of the first `count` examples, in their order, on every process.

    Args:
      function: of a batch sharded over the mesh; what fills up the last batch is dropped from its values.
      source: the data set.
      mesh: all devices of all processes.
      count: examples.
      batch_size: examples at a time, over all processes.
      key: the config key of the batch size, for messages.
      parts: where finished batches are kept.
      stop: asked after every batch.
      running: what the progress bar says of the finished batches.

    Returns:
      The columns, and "index", the place of each example in its split.

    Raises:
      InputError: the batch does not split over the devices, or a kept batch is damaged.
      Interrupted: `stop`, before all was done.
    """
    check_divisible(batch_size, mesh, key)
    split, starts = over_batch(mesh), range(0, count, batch_size)
    done = _finished(parts, starts)
    collected: list[Columns] = []
    hidden = jax.process_index() > 0
    with tqdm(total=count, desc=key.partition(".")[0], unit="image", disable=hidden, smoothing=0.05) as bar:
        for start, is_done in zip(starts, done, strict=True):
            if is_done:
                assert parts is not None
                columns = parts.read(start)
            else:
                if _asked(stop):
                    raise Interrupted(f"{sum(len(c['index']) for c in collected)} of {count} examples are done")
                columns = _one_batch(function, source, split, start, min(batch_size, count - start), batch_size)
                if parts is not None and jax.process_index() == 0:
                    parts.write(start, columns)
            collected.append(columns)
            bar.update(len(columns["index"]))
            bar.set_postfix(running(collected))
    return _joined(collected)


def _asked(stop: Stop | None) -> bool:
    """Whether any process was asked to end: all of them must, or the others would wait for it."""
    if jax.process_count() == 1:
        return bool(stop)
    return bool(multihost_utils.process_allgather(np.array(bool(stop))).any())


def _joined(collected: list[Columns]) -> Columns:
    return {name: np.concatenate([columns[name] for columns in collected]) for name in collected[0]}


def _one_batch(function: BatchFunction, source: Source, split, start: int, valid: int, batch_size: int) -> Columns:
    """The values of `valid` examples from `start` on."""
    batch = next(
        eval_batches(source, batch_size, jax.process_index(), jax.process_count(), count=start + valid, start=start)
    )
    arrays = [jax.make_array_from_process_local_data(split, batch[name]) for name in ("image", "label", "index")]
    values = function(*arrays) | {"index": arrays[2]}
    gather = functools.partial(multihost_utils.process_allgather, tiled=True)
    whole = gather(values) if jax.process_count() > 1 else jax.device_get(values)
    return {name: np.asarray(value)[:valid] for name, value in whole.items()}
