"""Published weights to ours and back: which tensor is which parameter, and in which layout.

A release states a `Table`: for each of our parameters the published tensor's name and an einops pattern from its layout
to ours. Reading and writing are the same table in two directions, and both are strict: every tensor is used exactly
once or named in an error.
"""

import dataclasses
import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import numpy as np
from einops import rearrange
from jaxtyping import PyTree

from score_jax.errors import InputError, named, quoted

StateDict = Mapping[str, np.ndarray]
"""Published tensors by name."""
Path = tuple[str, ...]
"""Where a parameter is in our tree: module names, then the leaf."""

SAME = "... -> ..."
CONV = "o i h w -> h w i o"
LINEAR = "o i -> i o"
POINTWISE_1D = "o i 1 -> i o"
POINTWISE_2D = "o i 1 1 -> i o"


@dataclasses.dataclass(frozen=True)
class Counterpart:
    """The published tensor of one of our parameters.

    Attributes:
      name: its name in the state dict.
      layout: einops pattern from its axes to ours.
      sizes: of axes of the pattern that no array has for itself.
    """

    name: str
    layout: str = SAME
    sizes: Mapping[str, int] = dataclasses.field(default_factory=dict)

    def ours(self, tensor: np.ndarray) -> np.ndarray:
        """The tensor in our layout."""
        return np.asarray(rearrange(tensor, self.layout, **self.sizes), order="C")

    def theirs(self, parameter: np.ndarray) -> np.ndarray:
        """Our parameter in the published layout."""
        backwards = " -> ".join(reversed(self.layout.split(" -> ")))
        return np.asarray(rearrange(parameter, backwards, **self.sizes), order="C")


Table = Callable[[Path], Counterpart]


def _flat(tree: PyTree) -> dict[Path, Any]:
    return {tuple(key.key for key in path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def _listed(names: Iterable[str], most: int = 4) -> str:
    names = sorted(names)
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest


def _is_real(dtype: np.dtype) -> bool:
    return jax.dtypes.issubdtype(dtype, np.floating) or jax.dtypes.issubdtype(dtype, np.integer) or dtype == np.bool_


def to_ours(state: StateDict, shapes: PyTree, table: Table, *, buffers: str = "") -> PyTree:
    """Our parameters from published tensors.

    Args:
      state: the tensors.
      shapes: our parameters' shapes and dtypes, `jax.eval_shape` of the network's init.
      table: the release's table for this network.
      buffers: regular expression of tensors that are no parameters of ours; the names are matched from the start.

    Raises:
      InputError: tensors are missing, left over, of another shape or no real numbers; names the first few of each.
    """
    found, missing, misshapen, mistyped = {}, [], [], []
    for path, shape in _flat(shapes).items():
        counterpart = table(path)
        if counterpart.name not in state:
            missing.append(counterpart.name)
            continue
        tensor = np.asarray(state[counterpart.name])
        expected = counterpart.theirs(np.broadcast_to(np.zeros((), np.int8), shape.shape)).shape
        if not _is_real(tensor.dtype):
            mistyped.append(f"{counterpart.name} {named(str(tensor.dtype))} where real numbers are expected")
            continue
        if tensor.shape != expected:
            misshapen.append(f"{counterpart.name} {quoted(tensor.shape)} where {expected} is expected")
            continue
        found[path] = counterpart.ours(tensor).astype(shape.dtype)
    known = {table(path).name for path in _flat(shapes)}
    unused = [named(name) for name in state if name not in known and not (buffers and re.match(buffers, name))]
    complaints = [
        f"{len(names)} {what}: {_listed(names)}"
        for what, names in (
            ("missing", missing),
            ("of another shape", misshapen),
            ("of another type", mistyped),
            ("not used", unused),
        )
        if names
    ]
    if complaints:
        raise InputError(
            f"The weights do not fit the network ({'; '.join(complaints)}): choose the config of their training, "
            "and the right --from."
        )
    return jax.tree_util.tree_map_with_path(lambda path, _: found[tuple(key.key for key in path)], shapes)


def to_theirs(params: PyTree, table: Table) -> dict[str, np.ndarray]:
    """Published tensors from our parameters: the inverse of `to_ours` up to buffers."""
    counterparts = [(table(path), np.asarray(leaf)) for path, leaf in _flat(params).items()]
    return {counterpart.name: counterpart.theirs(leaf) for counterpart, leaf in counterparts}


def sha256_of(state: StateDict) -> str:
    """Of the tensors' names, shapes and numbers, so that one network has one hash in files of any format."""
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(f"{name} {state[name].shape} ".encode())
        digest.update(np.ascontiguousarray(state[name]).data)
    return digest.hexdigest()
