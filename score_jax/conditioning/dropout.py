"""Conditions left out, so that a network also learns to do without them (Ho and Salimans 2022, algorithm 1)."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array

from score_jax.arrays import fold_in_each
from score_jax.models.conditions import DeclaredConditions
from score_jax.typing import KeyBatch


def without_conditions(given: dict[str, Array], declared: DeclaredConditions) -> dict[str, Array]:
    """Returns the conditions of a batch, with the null value of each that has one in its place."""
    return {
        name: array if declared[name].null is None else declared[name].nulls(len(array))
        for name, array in given.items()
    }


def with_dropout(
    keys: KeyBatch, given: dict[str, Array], declared: DeclaredConditions, rates: Mapping[str, float]
) -> dict[str, Array]:
    """Conditions (b, ...), each of them that has a null value replaced by it in a share of the examples.

    Conditions are dropped independently of each other; an example's draws depend on its key alone.

    Args:
      keys: one per example.
      given: the conditions, by name.
      declared: what they are.
      rates: the share of each, by name.

    >>> from score_jax.models.conditions import class_label
    >>> keys = jax.random.split(jax.random.key(0), 6)
    >>> given = {"label": jnp.arange(6, dtype=jnp.int32)}
    >>> print(with_dropout(keys, given, class_label(11), {"label": 0.5})["label"])
    [ 0 10  2 10 10  5]
    """
    nulls, result = without_conditions(given, declared), dict(given)
    for i, name in enumerate(sorted(name for name in given if declared[name].null is not None)):
        if rates[name] <= 0:
            continue
        draws = keys if i == 0 else fold_in_each(keys, i)
        dropped = jax.vmap(lambda key, rate=rates[name]: jax.random.bernoulli(key, rate))(draws)
        each = dropped.reshape(-1, *(1,) * (given[name].ndim - 1))
        result[name] = jnp.where(each, nulls[name], given[name])
    return result
