"""Ratios of two times, measured in turns so that whatever else a machine does falls on both."""

import contextlib
import dataclasses
import os
import time
from collections.abc import Callable, Iterator

import jax
import numpy as np

_PATIENCE_SECONDS = 25.0
"""A pair is not measured for longer, so that one that has become very slow still ends."""


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two pieces of work, the time of one of which is known by that of the other.

    Attributes:
      name: stable name of the ratio.
      above: does the work in question once; its seconds, or what is in proportion to them.
      below: does the work that it is compared with.
      how: what they are.
    """

    name: str
    above: Callable[[], float]
    below: Callable[[], float]
    how: str


@dataclasses.dataclass(frozen=True)
class Ratio:
    """The median of a pair's ratios.

    Attributes:
      name: of the pair.
      value: the median.
      how: what was measured, and how it spreads.
    """

    name: str
    value: float
    how: str


def seconds(function: Callable, *arguments: object, times: int = 1) -> float:
    """Of a call whose arrays are waited for, the mean of so many calls, one after another with the same arguments."""
    began = time.perf_counter()
    for _ in range(times):
        jax.block_until_ready(function(*arguments))
    return (time.perf_counter() - began) / times


def measured(pair: Pair, rounds: int) -> Ratio:
    """The median over rounds, each in the other order than the one before; compilation lies before the first."""
    _once(pair, above_first=True)
    began, found = time.perf_counter(), []
    for i in range(rounds):
        found.append(_once(pair, above_first=i % 2 == 0))
        if time.perf_counter() - began > _PATIENCE_SECONDS:
            break
    above, below = np.array(found).T
    ratios = above / below
    how = f"{pair.how}: {np.median(above):.3g} s and {np.median(below):.3g} s"
    how += f", {len(ratios)} rounds, {ratios.min():.2f} to {ratios.max():.2f}"
    return Ratio(pair.name, float(np.median(ratios)), how)


def _once(pair: Pair, *, above_first: bool) -> tuple[float, float]:
    if above_first:
        above = pair.above()
        return above, pair.below()
    below = pair.below()
    return pair.above(), below


def settled(pair: Pair, rounds: int, fits: Callable[[float], bool]) -> Ratio:
    """As `measured`; a ratio that does not fit is measured once more in three times as many rounds, which count."""
    ratio = measured(pair, rounds)
    return ratio if fits(ratio.value) else measured(pair, 3 * rounds)


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """No progress bars within."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
        yield
