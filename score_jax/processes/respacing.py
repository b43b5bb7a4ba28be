"""Fewer levels of a chain: which are kept, and the chain of those (Nichol and Dhariwal 2021, section 4)."""

import dataclasses
import re

import numpy as np
from jaxtyping import Int

from score_jax.errors import InputError, quoted
from score_jax.processes.chain import Chain

Indices = Int[np.ndarray, "k"]


def _strided(count: int, kept: int) -> list[int]:
    """`kept` of 0..count - 1, both ends among them, on an accumulated float that is rounded half to even."""
    stride, position, indices = (count - 1) / (kept - 1) if kept > 1 else 1.0, 0.0, []
    for _ in range(kept):
        indices.append(round(position))
        position += stride
    return indices


def _ddim(num_levels: int, kept: int) -> Indices:
    for stride in range(1, num_levels):
        indices = np.arange(0, num_levels, stride)
        if len(indices) == kept:
            return indices
    raise InputError(f"No whole stride keeps {kept} of {num_levels} levels: give 'ddimN' another N, or '{kept}'.")


def _quadratic(num_levels: int, kept: int) -> Indices:
    if kept == 1:
        raise InputError("'quad1' keeps the level of least noise alone, where no sampler can begin: give '1'.")
    return np.unique((np.linspace(0, (0.8 * num_levels) ** 0.5, kept) ** 2).astype(int))


def _sections(num_levels: int, counts: list[int]) -> Indices:
    size, longer = divmod(num_levels, len(counts))
    start, indices = 0, []
    for i, kept in enumerate(counts):
        length = size + (i < longer)
        if kept > length:
            raise InputError(f"{kept} steps are asked for in a section of {length} levels: give at most {length}.")
        indices += [start + index for index in _strided(length, kept)]
        start += length
    return np.array(sorted(set(indices)))


_NOTATION = re.compile(r"(ddim|quad)?([0-9]{1,9}(?:\s*,\s*[0-9]{1,9})*)")


def kept_levels(num_levels: int, respacing: str) -> Indices:
    """Returns the indices of the levels that are kept, increasing.

    Args:
      num_levels: of the chain that a model was trained on.
      respacing: "ddimN" (N levels in steps of the smallest whole stride, from 0), "quadN" (squares of an even grid
        up to 0.8 of the chain, DDIM's for CIFAR-10; equal ones count once), or "n" or "n,m,..." (the chain is cut
        into as many equal sections as there are numbers; of each so many levels are kept, even to rounding; of one
        level the first).

    Raises:
      InputError: it is neither, or asks for no level or for more than there are.
    """
    notation = _NOTATION.fullmatch(respacing.strip())
    if notation is None or (notation[1] and "," in notation[2]):
        raise InputError(
            f"sampler.respacing={quoted(respacing)}: expected a number of steps, 'ddimN', 'quadN' or 'n,m,...'."
        )
    counts = [int(number) for number in notation[2].split(",")]
    asked = sum(counts)
    if not 1 <= asked <= num_levels:
        raise InputError(
            f"sampler.respacing={quoted(respacing)} asks for {asked} levels of {num_levels}: give 1 to {num_levels}."
        )
    try:
        if notation[1]:
            return {"ddim": _ddim, "quad": _quadratic}[notation[1]](num_levels, counts[0])
        return _sections(num_levels, counts)
    except InputError as error:
        raise InputError(f"sampler.respacing={quoted(respacing)}: {error}") from None


@dataclasses.dataclass(frozen=True)
class Respaced:
    """A chain of kept levels.

    Attributes:
      chain: the kept levels, as a chain of their own: its posteriors span the levels left out.
      levels: the index that each had (k,), which is what a network is given.
    """

    chain: Chain
    levels: Indices


def respace(chain: Chain, levels: Indices) -> Respaced:
    """Returns the chain of these levels."""
    kept = Chain(np.asarray(chain.log_alphas)[levels], np.asarray(chain.sigmas)[levels], chain.prior_std)
    return Respaced(kept, levels)
