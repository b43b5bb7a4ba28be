"""Whether an array is the one that was saved, bit by bit: one number per array, computed where the array lives.

The sum over all words of the array, modulo 2^32, of each word times an odd number that depends on its place. A change
of any one word changes the sum for sure, others with probability 1 - 2^-32. Sums of integers do not depend on their
order, so the number is the same on any number of devices, however the array is split.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree, UInt32

_MIX = (0x7FEB352D, 0x846CA68B)
"""Multipliers that scatter the bits of a 32-bit integer."""


_AT_A_TIME = 2**16
"""Words of which a host computes the number: as many as its caches hold."""


def _scattered(place: Any) -> Any:
    """An odd number for every place (uint32), of NumPy or JAX."""
    for factor in _MIX:
        place = (place ^ (place >> 16)) * np.uint32(factor)
    return place ^ (place >> 15) | np.uint32(1)


def _words(array: Array) -> UInt32[Array, "..."]:
    if array.dtype == jnp.bool_:
        return array.astype(jnp.uint32)
    width = array.dtype.itemsize * 8
    if width >= 32:
        return jax.lax.bitcast_convert_type(array, jnp.uint32)
    return jax.lax.bitcast_convert_type(array, {8: jnp.uint8, 16: jnp.uint16}[width]).astype(jnp.uint32)


def _places(shape: tuple[int, ...]) -> UInt32[Array, "..."]:
    """The index of every word in row-major order, without a flat array: that would gather what is split."""
    place, stride = jnp.zeros(shape, jnp.uint32), 1
    for axis in reversed(range(len(shape))):
        place += jax.lax.broadcasted_iota(jnp.uint32, shape, axis) * jnp.uint32(stride % 2**32)
        stride *= shape[axis]
    return place


@jax.jit
def _number_on_devices(array: Array) -> UInt32[Array, ""]:
    words = _words(array)
    return jnp.sum(words * _scattered(_places(words.shape)), dtype=jnp.uint32)


def _number_on_host(array: np.ndarray) -> np.uint32:
    """The same of an array in this host's memory, without a program for each shape."""
    width = min(array.dtype.itemsize, 4)
    words = np.ascontiguousarray(array).reshape(-1).view(f"<u{width}")
    total = np.uint32(0)
    for first in range(0, len(words), _AT_A_TIME):
        part = words[first : first + _AT_A_TIME].astype(np.uint32)
        places = np.arange(first, first + len(part), dtype=np.uint64).astype(np.uint32)
        total = np.add(total, np.sum(part * _scattered(places), dtype=np.uint32), dtype=np.uint32)
    return total


def _number(array: Array | np.ndarray | np.generic) -> Any:
    if isinstance(array, np.ndarray | np.generic):
        return _number_on_host(np.asarray(array))
    if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        array = jax.random.key_data(array)
    if array.is_fully_replicated and next(iter(array.devices())).platform == "cpu":
        return _number_on_host(np.asarray(array.addressable_data(0)))
    return _number_on_devices(array)


def fingerprint(tree: PyTree) -> dict[str, int]:
    """Returns a number below 2^32 for each array of a tree, by its path ("params.Dense_0.kernel").

    A program takes one array: states have few shapes, so there is little to compile, and little memory is filled. What
    a host has whole in its memory takes no program.
    """
    paths, leaves = zip(*jax.tree_util.tree_leaves_with_path(tree), strict=True)
    numbers = jax.device_get([_number(leaf) for leaf in leaves])
    names = (jax.tree_util.keystr(path, simple=True, separator=".") for path in paths)
    return {name: int(np.asarray(number)) for name, number in zip(names, numbers, strict=True)}


def differing(found: dict[str, int], expected: dict[str, int]) -> list[str]:
    """Returns the paths whose arrays differ, or are in only one of the two."""
    return sorted(path for path in found.keys() | expected.keys() if found.get(path) != expected.get(path))
