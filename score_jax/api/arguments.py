"""What the functions of the front door check of their arguments, before anything is compiled."""

import numbers
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Int

from score_jax.builder.options import Values
from score_jax.errors import InputError, quoted
from score_jax.jobs.given_conditions import labels_of_32_bits

_BITS = 2**32 - 1


def check_counts(**counts: Any) -> None:
    """Raises InputError where a number is not whole, or less than 1; `seed` may be 0, and has 32 bits."""
    for name, value in counts.items():
        _check_whole(name, value)
        Values(least=0 if name == "seed" else 1, most=_BITS if name == "seed" else None).check(name, int(value))


def over_devices(batch_size: Any, count: int, devices: int) -> int:
    """Returns how many are done at a time: as asked, or all of None, rounded up to a multiple of the devices.

    Raises:
      InputError: it is no whole number of at least 1.
    """
    if batch_size is not None:
        check_counts(batch_size=batch_size)
    return -(-int(count if batch_size is None else batch_size) // devices) * devices


def shape_of(shape: Any, *, samples: bool) -> tuple[int, ...]:
    """Returns a shape as a tuple.

    Args:
      shape: as given.
      samples: it begins with the number of samples.

    Raises:
      InputError: it is no sequence of whole numbers of at least 1, or too short.
    """
    example = "(16, 32, 32, 3)" if samples else "(32, 32, 3)"
    what = "the number of samples and the shape of each" if samples else "the shape of one sample"
    try:
        sizes = tuple(shape)
    except TypeError:
        sizes = ()
    whole = [int(size) for size in sizes if isinstance(size, numbers.Integral)]
    if len(sizes) < (2 if samples else 1) or len(whole) < len(sizes) or min(whole) < 1:
        raise InputError(f"shape={quoted(shape)}: give {what}, such as {example}.")
    return tuple(whole)


def key_of(key: Any) -> Array:
    """Returns a key, or the key of a seed.

    Raises:
      InputError: it is neither.
    """
    if isinstance(key, jax.Array) and (jax.dtypes.issubdtype(key.dtype, jax.dtypes.prng_key) or key.dtype == np.uint32):
        return key
    if not isinstance(key, numbers.Integral) or isinstance(key, bool):
        raise InputError(f"key={quoted(key)}: give a key of jax.random, or a whole number as its seed.")
    check_counts(seed=key)
    return jax.random.key(int(key))


def class_labels(labels: Any, count: int) -> Int[np.ndarray, "n"]:
    """Returns the classes of so many samples, in 32 bits.

    Raises:
      InputError: they are no integers of 32 bits, or not one for each sample.
    """
    given = np.asarray(labels)
    if given.shape != (count,) or given.dtype.kind not in "iu":
        raise InputError(f"labels are {given.dtype} {given.shape}: expected whole numbers, one for each of {count}.")
    return labels_of_32_bits(given)


def _check_whole(name: str, value: Any) -> None:
    if not isinstance(value, numbers.Integral) or isinstance(value, bool):
        raise InputError(f"{name}={quoted(value)}: give a whole number.")
