"""Batches: deterministic, shuffled by seed and epoch, split over processes, resumable from a few bytes."""

import collections
from collections.abc import Callable, Iterator
from typing import Any

import grain
import jax
import numpy as np

from score_jax.data.random_masks import random_boxes
from score_jax.data.sources import Source
from score_jax.errors import InputError, quoted

HostBatch = dict[str, np.ndarray]
Degrade = Callable[[np.random.Generator, np.ndarray], np.ndarray]


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


class TrainingBatches(Iterator[HostBatch]):
    """This process's part of an endless stream of batches.

    The stream of examples depends on the seed alone: each epoch is a new permutation, and batch s holds examples
    s * batch_size onwards. Process p of P takes the p-th of P equal parts of each batch, so the state (the number of
    batches taken) means the same whatever the number of processes.
    """

    def __init__(self, parts: grain.MapDataset):
        self._iterator = iter(parts.to_iter_dataset(grain.ReadOptions(num_threads=4, prefetch_buffer_size=64)))
        self._taken = 0

    def __next__(self) -> HostBatch:
        self._taken += 1
        return next(self._iterator)

    def get_state(self) -> dict[str, int]:
        """JSON-able; `set_state` continues with the batch after the last one taken."""
        return {"batches": self._taken}

    def set_state(self, state: dict[str, int]) -> None:
        """Back to where `get_state` was called, in this or another process."""
        self._taken = state["batches"]
        self._iterator.set_state({"next_index": self._taken})


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
    examples = grain.MapDataset.source(source).seed(seed).shuffle().repeat()
    examples = examples.random_map(_Flip()) if flip else examples
    examples = examples.random_map(_Mask()) if holes else examples
    examples = examples if degrade is None else examples.random_map(_Degrade(degrade))
    return TrainingBatches(examples.batch(batch_size // process_count)[process_index::process_count])


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
        rows = [source[i] for i in np.minimum(wanted, count - 1)]
        batch = {key: np.stack([row[key] for row in rows]) for key in rows[0]}
        yield batch | {"mask": wanted < count}
