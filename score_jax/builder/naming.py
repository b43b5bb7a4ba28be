"""A section of a config, `{name, **arguments}`, to what the name stands for."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ml_collections import ConfigDict

from score_jax.errors import InputError, unknown_name


def construct(section: str, table: Mapping[str, Callable], values: dict[str, Any]) -> Any:
    """`table[name](**rest)`.

    Raises:
      InputError: the name or an argument is unknown (with the nearest valid one).
    """
    values = dict(values)
    name = choose(f"{section}.name", table, values.pop("name"))
    known = [p for p in inspect.signature(name).parameters if p not in ("parent", "name")]
    for key in values:
        if key not in known:
            raise unknown_name(f"key of {section}:", key, known)
    return name(**values)


def check_counts(section: str, values: Mapping[str, Any] | ConfigDict, keys: Iterable[str], *, least: int = 1) -> None:
    """Raises InputError where one of these values of a section is below `least`."""
    for key in keys:
        if values[key] < least:
            raise InputError(f"{section}.{key}={values[key]}: give at least {least}.")


SEEDS = 2**32
"""Seeds that differ: JAX takes 32 bits of one."""


def check_seed(key: str, seed: int) -> None:
    """Raises InputError where a seed is not from 0 to 2^32 - 1: JAX would take it for another, silently."""
    if not 0 <= seed < SEEDS:
        raise InputError(f"{key}={seed}: give 0 to {SEEDS - 1}; others stand for the same seed as one of these.")


def choose(key: str, table: Mapping[str, Any], name: str) -> Any:
    """`table[name]`.

    Raises:
      InputError: the name is unknown.
    """
    if name not in table:
        raise unknown_name(key, name, table)
    return table[name]
