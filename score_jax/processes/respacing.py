"""Fewer levels of a chain: which are kept, and the chain of those (Nichol and Dhariwal 2021, section 4)."""

import dataclasses

import numpy as np
from jaxtyping import Int

from score_jax.errors import InputError
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


def kept_levels(num_levels: int, respacing: str) -> Indices:
    """Indices of the levels that are kept, increasing.

    Args:
      num_levels: of the chain that a model was trained on.
      respacing: "ddimN" (N levels in steps of the smallest whole stride, from 0), "quadN" (squares of an even grid
        up to 0.8 of the chain, DDIM's for CIFAR-10; equal ones count once), or "n" or "n,m,..." (the chain is cut
        into as many equal sections as there are numbers; of each so many levels are kept, even to rounding).

    Raises:
      InputError: it is neither, or asks for more levels than there are.
    """
    text = respacing.strip()
    if text.startswith("ddim") and text[4:].isdigit():
        return _ddim(num_levels, int(text[4:]))
    if text.startswith("quad") and text[4:].isdigit():
        return np.unique((np.linspace(0, (0.8 * num_levels) ** 0.5, int(text[4:])) ** 2).astype(int))
    if not all(part.strip().isdigit() for part in text.split(",")):
        raise InputError(
            f"Respacing {respacing!r}: expected a number of steps, 'ddimN', 'quadN', or numbers with commas."
        )
    sections = [int(part) for part in text.split(",")]
    size, longer = divmod(num_levels, len(sections))
    start, indices = 0, []
    for i, kept in enumerate(sections):
        length = size + (i < longer)
        if kept > length:
            raise InputError(f"Respacing {respacing!r}: {kept} steps are asked for in a section of {length} levels.")
        indices += [start + index for index in _strided(length, kept)]
        start += length
    return np.array(sorted(set(indices)))


@dataclasses.dataclass(frozen=True)
class Respaced:
    """A chain of kept levels.

    Attributes:
      chain: the kept levels, as a chain of their own: its posteriors span the levels left out.
      levels: the index that each had (k,), which is what a network is told.
    """

    chain: Chain
    levels: Indices


def respace(chain: Chain, levels: Indices) -> Respaced:
    """The chain of these levels."""
    kept = Chain(np.asarray(chain.log_alphas)[levels], np.asarray(chain.sigmas)[levels], chain.prior_std)
    return Respaced(kept, levels)
