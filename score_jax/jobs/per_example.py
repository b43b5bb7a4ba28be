"""A function of each example of a data set: sharded, every example exactly once, and resumed where it was stopped."""

from collections.abc import Callable, Iterator

import jax
from jax.sharding import Mesh
from jaxtyping import Array

from score_jax.data.loader import eval_batches
from score_jax.data.sources import Source
from score_jax.runtime.parts import Columns, Parts, gathered, in_parts, joined
from score_jax.runtime.sharding import check_divisible, over_batch
from score_jax.runtime.stop import Stop

BatchFunction = Callable[[dict[str, Array]], dict[str, Array]]
"""`function(batch)`: arrays (b, ...) by name, of a batch likewise; row i a function of example i alone."""


def example_batches(
    function: BatchFunction,
    source: Source,
    mesh: Mesh,
    *,
    batch_size: int,
    name: str,
    count: int | None = None,
    parts: Parts | None = None,
    stop: Stop | None = None,
    running: Callable[[Columns], dict[str, str]] = lambda columns: {},
) -> Iterator[Columns]:
    """`function` of the first `count` examples (all if None), batch after batch in their order, on every process.

    Args:
      function: of a batch sharded over the mesh; what fills up the last batch is dropped from its values.
      source: the data set.
      mesh: all devices of all processes.
      batch_size: examples at a time, over all processes; a multiple of the number of devices.
      name: of the progress bar.
      count: examples.
      parts: where finished batches are kept.
      stop: checked before every batch.
      running: what the progress bar says after each batch.

    Returns:
      Columns of each batch, and "index", the place of each example in its split.

    Raises:
      InputError: a kept batch is damaged.
      Interrupted: `stop`, before all was done.
    """

    def compute(start: int, valid: int) -> Columns:
        return _one_batch(function, source, over_batch(mesh), start, valid, batch_size)

    whole = len(source) if count is None else count
    return in_parts(compute, count=whole, batch_size=batch_size, name=name, parts=parts, stop=stop, running=running)


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
    running: Callable[[Columns], dict[str, str]] = lambda columns: {},
) -> Columns:
    """Returns the batches of `example_batches` as one.

    Args:
      key: the config key of the batch size, for messages.

    Raises:
      InputError: the batch does not split over the devices, or a kept batch is damaged.
      Interrupted: `stop`, before all was done.
    """
    check_divisible(batch_size, mesh, key)
    batches = example_batches(
        function,
        source,
        mesh,
        batch_size=batch_size,
        name=key.partition(".")[0],
        count=count,
        parts=parts,
        stop=stop,
        running=running,
    )
    return joined(list(batches))


def _one_batch(function: BatchFunction, source: Source, split, start: int, valid: int, batch_size: int) -> Columns:
    """The values of `valid` examples from `start` on."""
    batch = next(
        eval_batches(source, batch_size, jax.process_index(), jax.process_count(), count=start + valid, start=start)
    )
    arrays = {
        name: jax.make_array_from_process_local_data(split, rows) for name, rows in batch.items() if name != "mask"
    }
    return gathered(function(arrays) | {"index": arrays["index"]}, valid)
