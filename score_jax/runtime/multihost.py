"""What several processes must agree on."""

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from score_jax.errors import InputError

T = TypeVar("T")
_SECONDS = 1.0


def first_says(here: bool) -> bool:
    """Returns the first process's answer, on all of them."""
    return bool(multihost_utils.broadcast_one_to_all(np.array(here))) if jax.process_count() > 1 else here


def any_says(here: bool) -> bool:
    """Returns whether any process says so, on all of them."""
    return bool(multihost_utils.process_allgather(np.array(here)).any()) if jax.process_count() > 1 else here


def on_first_process(work: Callable[[], T]) -> T | None:
    """Returns what `work` returns, on the first process; None on the others, which wait for it.

    They ask every second: a barrier gives up after minutes, and takes the run down with it. `work` must not need them.
    """
    if jax.process_count() == 1:
        return work()
    first = jax.process_index() == 0
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(work) if first else None
        while not first_says(working is not None and working.done()):
            time.sleep(_SECONDS)
    return working.result() if working is not None else None


def on_first_then_all(work: Callable[[], T]) -> T:
    """What `work` returns, on every process; the first does it before the others, who find what it left on disk."""
    first = on_first_process(work)
    return work() if first is None else first


def print_once(line: str) -> None:
    """On the first process."""
    if jax.process_index() == 0:
        print(line, flush=True)


def agree(name: str, values: dict[str, Any]) -> None:
    """Goes on only where all processes have the same values (JSON-able); else the job would compute nonsense, or hang.

    Raises:
      InputError: on every process, naming one that differs from the first, and in what.
    """
    if jax.process_count() == 1:
        return
    text = np.frombuffer(json.dumps(values, sort_keys=True, default=str).encode(), np.uint8)
    sizes = multihost_utils.process_allgather(np.array(text.size))
    texts = multihost_utils.process_allgather(np.pad(text, (0, int(sizes.max()) - text.size)))
    first, *others = (_flat(json.loads(row[:size].tobytes())) for row, size in zip(texts, sizes, strict=True))
    for process, other in enumerate(others, start=1):
        for key in sorted(first.keys() | other.keys()):
            if first.get(key) != other.get(key):
                raise InputError(
                    f"Processes disagree on the {name}: {key} is {first.get(key)!r} on process 0 and "
                    f"{other.get(key)!r} on process {process}. Start all of them with the same command and code."
                )


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def from_first_process(values: dict[str, Any] | None) -> dict[str, Any]:
    """Returns the values (JSON-able) of the first process, on all of them; what others give is not looked at."""
    if jax.process_count() == 1:
        assert values is not None
        return values
    text = np.frombuffer(json.dumps(values).encode(), np.uint8) if jax.process_index() == 0 else np.zeros(0, np.uint8)
    size = int(multihost_utils.broadcast_one_to_all(np.array(text.size)))
    return json.loads(np.asarray(multihost_utils.broadcast_one_to_all(np.resize(text, size))).tobytes())
