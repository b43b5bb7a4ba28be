"""Batches: deterministic, shuffled by seed and epoch, split over processes, resumable from a few bytes."""

import collections
import os
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import grain
import jax
import numpy as np
from jaxtyping import Int

from score_jax.data.random_masks import random_boxes
from score_jax.data.sources import Source
from score_jax.errors import InputError, quoted

HostBatch = dict[str, np.ndarray]
Degrade = Callable[[np.random.Generator, np.ndarray], np.ndarray]
_BYTES_AHEAD, _FEWEST_AHEAD, _MOST_AHEAD = 2**30, 2, 64
"""Bytes of batches that a process reads ahead, and the fewest and most such batches."""
_FEWEST_THREADS, _MOST_THREADS = 4, 16
"""Reading waits for the file system more than for a core; more than 16 wait for Python's lock."""


class _Flip(grain.transforms.RandomMap):
    """Mirrors an image, its copy for a CLIP and its segmentation left to right, half of the time."""

    def random_map(self, element: dict, rng: np.random.Generator) -> dict:
        """One example, with the generator that grain seeds by its place in the stream."""
        names = [name for name in ("image", "shown", "segmentation") if name in element]
        return element | {name: element[name][:, ::-1] for name in names} if rng.random() < 0.5 else element


class _Mask(grain.transforms.RandomMap):
    """Adds a hole to be filled, "mask", which is 1 there."""

    def random_map(self, element: dict, rng: np.random.Generator) -> dict:
        """One example, with the generator that grain seeds by its place in the stream."""
        height, width, _ = element["image"].shape
        return element | {"mask": random_boxes(rng, height, width)}


class _Degrade(grain.transforms.RandomMap):
    """Adds the image made small, "low_res"."""

    def __init__(self, degrade: Degrade):
        self._degrade = degrade

    def random_map(self, element: dict, rng: np.random.Generator) -> dict:
        """One example, with the generator that grain seeds by its place in the stream."""
        return element | {"low_res": self._degrade(rng, element["image"])}


class _Read(grain.transforms.RandomMap):
    """Reads the example of a place as training sees it."""

    def __init__(self, source: Source):
        self._source = source

    def random_map(self, element: int, rng: np.random.Generator) -> dict:
        """One example, with the generator that grain seeds by its place in the stream."""
        return self._source.example(element, rng)


def reading_threads(asked: int = 0) -> int:
    """How many threads read the examples of a process: as many as asked; 0: one for each of its cores, 4 to 16."""
    affinity = getattr(os, "sched_getaffinity", None)  # of Linux alone
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return asked or min(max(cores, _FEWEST_THREADS), _MOST_THREADS)


def _fill(batch: HostBatch, examples: grain.MapDataset, first: int, rows: range) -> None:
    """Writes the examples from `first` on into their rows of a batch; errors are those of an example."""
    for row in rows:
        example = examples[first + row]
        for name, values in batch.items():
            values[row] = example[name]


class TrainingBatches(Iterator[HostBatch]):
    """This process's part of an endless stream of batches, read ahead by threads. To be closed.

    The stream of examples depends on the seed alone: each epoch is a new permutation, and batch s holds examples
    s * batch_size onwards. Process p of P takes the p-th of P equal parts of each batch, so the state (the number of
    batches taken) means the same whatever the number of processes, and neither depends on the threads: each fills rows
    of batches whose examples are known by their places.

    Args:
      examples: the stream.
      batch_size: examples of a batch.
      process_index: of this process.
      process_count: of processes.
      threads: that read.
    """

    def __init__(
        self, examples: grain.MapDataset, *, batch_size: int, process_index: int, process_count: int, threads: int
    ):
        self._examples, self._batch_size, self._threads = examples, batch_size, threads
        self._part = batch_size // process_count
        self._offset = process_index * self._part
        self._like = {name: np.asarray(value) for name, value in examples[0].items()}
        size = self._part * sum(value.nbytes for value in self._like.values())
        self._ahead = int(np.clip(_BYTES_AHEAD // size, _FEWEST_AHEAD, _MOST_AHEAD))
        self._taken, self._waiting = 0, collections.deque[tuple[HostBatch, list[Future]]]()
        self._pool = ThreadPoolExecutor(threads, "read")
        # Those that nobody waits for any more would be read before the process may end.
        self._close = weakref.finalize(self, self._pool.shutdown, wait=False, cancel_futures=True)

    def __next__(self) -> HostBatch:
        while len(self._waiting) < self._ahead:
            self._begin(self._taken + len(self._waiting))
        batch, reading = self._waiting[0]
        for part in reading:
            part.result()
        self._waiting.popleft()
        self._taken += 1
        self._begin(self._taken + len(self._waiting))
        return batch

    def _begin(self, number: int) -> None:
        """Has the threads read a batch, each some rows of it."""
        batch = {name: np.empty((self._part, *value.shape), value.dtype) for name, value in self._like.items()}
        first, size = number * self._batch_size + self._offset, -(-self._part // self._threads)
        blocks = [range(row, min(row + size, self._part)) for row in range(0, self._part, size)]
        reading = [self._pool.submit(_fill, batch, self._examples, first, rows) for rows in blocks]
        self._waiting.append((batch, reading))

    def get_state(self) -> dict[str, int]:
        """JSON-able; `set_state` continues with the batch after the last one taken."""
        return {"batches": self._taken}

    def set_state(self, state: dict[str, int]) -> None:
        """Back to where `get_state` was called, in this or another process."""
        self._taken = state["batches"]
        for _, reading in self._waiting:
            for part in reading:
                part.cancel()
        self._waiting.clear()

    def close(self) -> None:
        """Reads no more."""
        self._close()


def make_loader(
    source: Source,
    *,
    batch_size: int,
    seed: int,
    flip: bool,
    process_index: int,
    process_count: int,
    holes: bool = False,
    degrade: Degrade | None = None,
) -> TrainingBatches:
    """Training batches of `batch_size` over all processes.

    Args:
      source: the data set.
      batch_size: examples of a batch.
      seed: of the order, of what is mirrored, of holes, and of degradations.
      flip: mirror half of the images.
      process_index: of this process.
      process_count: of processes.
      holes: add a random hole to each example, "mask", for models that fill holes.
      degrade: what makes an image (h, w, c) small at random, for models that enlarge it; None: that is done later.

    Raises:
      InputError: the batch does not split over the processes, the first image is unusable, or images would be mirrored
        whose captions say left or right.
    """
    if batch_size % process_count:
        raise InputError(f"training.batch_size={batch_size} cannot be split over {process_count} processes.")
    _ = source[0]
    if flip and (caption := source.sided_caption()):
        raise InputError(
            f"data.flip mirrors images, but captions of {source.name} say left or right, such as {quoted(caption)}: "
            "give data.flip=False."
        )
    if source.prepare_random is None:
        examples = grain.MapDataset.source(source).seed(seed).shuffle().repeat()
    else:
        places = grain.MapDataset.range(len(source)).seed(seed).shuffle().repeat()
        examples = places.random_map(_Read(source))
    examples = examples.random_map(_Flip()) if flip else examples
    examples = examples.random_map(_Mask()) if holes else examples
    examples = examples if degrade is None else examples.random_map(_Degrade(degrade))
    return TrainingBatches(
        examples,
        batch_size=batch_size,
        process_index=process_index,
        process_count=process_count,
        threads=reading_threads(source.threads),
    )


def prefetch_to_device(
    batches: TrainingBatches, sharding: jax.sharding.Sharding, depth: int = 2
) -> Iterator[tuple[dict[str, jax.Array], dict[str, Any]]]:
    """Global device batches, `depth` ahead of the consumer, each with the loader's state after that very batch."""
    queue: collections.deque = collections.deque()

    def load() -> None:
        batch = next(batches)
        arrays = {k: jax.make_array_from_process_local_data(sharding, v) for k, v in batch.items()}
        queue.append((arrays, batches.get_state()))

    for _ in range(depth):
        load()
    while True:
        yield queue.popleft()
        load()


def eval_batches(
    source: Source,
    batch_size: int,
    process_index: int,
    process_count: int,
    *,
    count: int | None = None,
    start: int = 0,
) -> Iterator[HostBatch]:
    """Returns the first `count` examples (all if None) from `start` on, in order, each exactly once over all processes.

    Every process gets the same number of batches of batch_size / process_count examples; what fills up the last ones
    repeats an example and has "mask" False.
    """
    count = len(source) if count is None else count
    part = batch_size // process_count
    for first in range(start, count, batch_size):
        wanted = first + process_index * part + np.arange(part)
        yield read_examples(source, np.minimum(wanted, count - 1)) | {"mask": wanted < count}


def read_examples(source: Source, places: Int[np.ndarray, "b"]) -> HostBatch:
    """Returns the examples at these places, in their order, as a batch; threads read them."""
    threads = min(reading_threads(source.threads), len(places))
    with ThreadPoolExecutor(threads) as pool:
        blocks = pool.map(lambda block: [source[i] for i in block], np.array_split(places, threads))
        rows = [row for block in blocks for row in block]
    return {key: np.stack([row[key] for row in rows]) for key in rows[0]}
