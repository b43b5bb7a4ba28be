"""Conditions that a caller gives: arrays in any pytree, with one row for each sample."""

import dataclasses
import functools
import hashlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from score_jax.errors import InputError

_HASHED = 1024
"""Rows of an array that are hashed at a time: arrays may lie in files, as `np.load(..., mmap_mode="r")` opens them."""


@dataclasses.dataclass(frozen=True, eq=False)
class GivenConditions:
    """Of all samples.

    Attributes:
      arrays: a pytree of arrays (n, ...).
    """

    arrays: Any

    def rows(self, places: Int[np.ndarray, "b"]) -> Any:
        """Those of these samples: the same pytree of arrays (b, ...)."""
        return jax.tree.map(lambda array: np.asarray(array[places]), self.arrays)

    @property
    def of_one(self) -> Any:
        """Shapes and dtypes of those of one sample."""
        return jax.tree.map(lambda array: jax.ShapeDtypeStruct(array.shape[1:], array.dtype), self.arrays)

    @functools.cached_property
    def digest(self) -> str:
        """A hash of all of them: other conditions are other samples."""
        digest = hashlib.sha256()
        for path, array in jax.tree_util.tree_leaves_with_path(self.arrays):
            digest.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape} ".encode())
            for start in range(0, len(array), _HASHED):
                digest.update(np.ascontiguousarray(array[start : start + _HASHED]).tobytes())
        return digest.hexdigest()[:16]


def given_conditions(given: Any, count: int) -> GivenConditions:
    """Returns what a caller gives as conditions of so many samples.

    Args:
      given: a pytree of arrays (count, ...), of NumPy or JAX.
      count: of samples.

    Raises:
      InputError: there are no arrays, they are of no numbers, or one has not a row for each sample.
    """
    leaves = jax.tree_util.tree_leaves_with_path(given)
    if not leaves:
        raise InputError("conditions has no arrays: give one, or a pytree of them, with a row for each sample.")
    for path, leaf in leaves:
        name = f"conditions{jax.tree_util.keystr(path)}"
        shape, dtype = getattr(leaf, "shape", None), getattr(leaf, "dtype", None)
        if shape is None or dtype is None:
            raise InputError(f"{name} is {type(leaf).__name__}: expected an array with a row for each sample.")
        if len(shape) == 0 or shape[0] != count:
            raise InputError(f"{name} has shape {tuple(shape)}: expected a row for each sample, ({count}, ...).")
        if not any(jnp.issubdtype(dtype, kind) for kind in (jnp.number, jnp.bool_)):
            raise InputError(f"{name} is of type {dtype}: expected numbers, such as the embeddings of prompts.")
        _check_range(name, leaf, dtype)
    on_host = jax.tree.map(lambda leaf: leaf if isinstance(leaf, np.ndarray) else np.asarray(leaf), given)
    return GivenConditions(on_host)


def labels_of_32_bits(labels: Int[np.ndarray, "n"]) -> Int[np.ndarray, "n"]:
    """Returns labels (n,) in the type that models are given.

    Raises:
      InputError: they do not fit into it.
    """
    narrowed = labels.astype(np.int32)
    if (narrowed != labels).any():
        raise InputError("labels are no integers of 32 bits: give the classes of the samples.")
    return narrowed


def _check_range(name: str, array: Any, dtype: Any) -> None:
    """Raises InputError where integers of 64 bits are more than the 32 that JAX keeps of them hold."""
    kept = jax.dtypes.canonicalize_dtype(dtype)
    if not jnp.issubdtype(dtype, jnp.integer) or kept == dtype or array.size == 0:
        return
    least, most = int(array.min()), int(array.max())
    bounds = jnp.iinfo(kept)
    if least < bounds.min or most > bounds.max:
        raise InputError(f"{name} has values from {least} to {most}: JAX keeps {kept} of them, so give smaller ones.")
