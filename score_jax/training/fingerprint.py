"""Whether an array is the one that was saved, bit by bit: one number per array, computed where the array lives.

The sum over all words of the array, modulo 2^32, of each word times an odd number that depends on its place. A change
of any one word changes the sum for sure, others with probability 1 - 2^-32. Sums of integers do not depend on their
order, so the number is the same on any number of devices, however the array is split.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree, UInt32

_MIX = (0x7FEB352D, 0x846CA68B)
"""Multipliers that scatter the bits of a 32-bit integer."""


def _words(array: Array) -> UInt32[Array, "..."]:
    if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        array = jax.random.key_data(array)
    if array.dtype == jnp.bool_:
        return array.astype(jnp.uint32)
    width = array.dtype.itemsize * 8
    if width >= 32:
        return jax.lax.bitcast_convert_type(array, jnp.uint32)
    return jax.lax.bitcast_convert_type(array, {8: jnp.uint8, 16: jnp.uint16}[width]).astype(jnp.uint32)


def _multipliers(shape: tuple[int, ...]) -> UInt32[Array, "..."]:
    """An odd number for every place."""
    place, stride = jnp.zeros(shape, jnp.uint32), 1
    for axis in reversed(range(len(shape))):
        place += jax.lax.broadcasted_iota(jnp.uint32, shape, axis) * jnp.uint32(stride % 2**32)
        stride *= shape[axis]
    for factor in _MIX:
        place = (place ^ (place >> 16)) * jnp.uint32(factor)
    return place ^ (place >> 15) | 1


@jax.jit
def _number(array: Array) -> UInt32[Array, ""]:
    words = _words(array)
    return jnp.sum(words * _multipliers(words.shape), dtype=jnp.uint32)


def fingerprint(tree: PyTree) -> dict[str, int]:
    """Returns a number below 2^32 for each array of a tree, by its path ("params.Dense_0.kernel").

    A program takes one array: states have few shapes, so there is little to compile, and little memory is filled.
    """
    paths, leaves = zip(*jax.tree_util.tree_leaves_with_path(tree), strict=True)
    numbers = jax.device_get([_number(leaf) for leaf in leaves])
    names = (jax.tree_util.keystr(path, simple=True, separator=".") for path in paths)
    return {name: int(np.asarray(number)) for name, number in zip(names, numbers, strict=True)}


def differing(found: dict[str, int], expected: dict[str, int]) -> list[str]:
    """Returns the paths whose arrays differ, or are in only one of the two."""
    return sorted(path for path in found.keys() | expected.keys() if found.get(path) != expected.get(path))
