"""Query, key and value projections that a release keeps as three tensors, and we as one."""

from collections.abc import Sequence

import numpy as np

from score_jax.convert.correspondence import StateDict


def joined(state: StateDict, parts: Sequence[str], fused: str) -> dict[str, np.ndarray]:
    """Returns a state dict with three projections as one; those that do not fit are left for the table to refuse.

    Args:
      state: the tensors.
      parts: what the names of query, key and value have within, such as "self_attn.q_proj.".
      fused: what the name of all three has there.
    """
    found = dict(state)
    for name in state:
        place, query, leaf = name.partition(parts[0])
        names = [f"{place}{part}{leaf}" for part in parts]
        shapes = [found[each].shape for each in names if each in found]
        if query and len(shapes) == len(parts) and len(set(shapes)) == 1 and shapes[0]:
            found[f"{place}{fused}{leaf}"] = np.concatenate([found.pop(each) for each in names])
    return found


def split(state: StateDict, parts: Sequence[str], fused: str) -> dict[str, np.ndarray]:
    """Returns what `joined` was given, of what it returned."""
    found: dict[str, np.ndarray] = {}
    for name, tensor in state.items():
        if fused in name:
            pieces = np.split(tensor, len(parts))
            found |= {name.replace(fused, part): piece for part, piece in zip(parts, pieces, strict=True)}
        else:
            found[name] = tensor
    return found
