"""What training carries from step to step, and what a checkpoint holds."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from score_jax.training.objective import Groups
from score_jax.typing import KeyArray

OF_A_GROUP = ("params", "ema_params", "opt_state", "history")
"""Fields of the state that each group has its own of."""


@jax.tree_util.register_pytree_with_keys_class
@dataclasses.dataclass(frozen=True)
class TrainState:
    """All that is needed to go on.

    The fields of `OF_A_GROUP` are those of the one group where there is one, as in checkpoints of all versions, and
    dictionaries by the names of the groups where there are several.

    Attributes:
      step: optimizer steps taken, int32.
      params: the networks' parameters.
      ema_params: their exponential moving average, used to sample and to evaluate.
      opt_state: the optimizer's state.
      rng: raw data (uint32) of the key from which every step folds its own.
      history: the last losses by level, where times are drawn by them.
      statistics: what networks update as they run; shared by the groups.
    """

    # Plain trees: orbax rebuilds the state with shapes, shardings or nothing in the place of arrays.
    step: PyTree
    params: PyTree
    ema_params: PyTree
    opt_state: PyTree
    rng: PyTree
    history: PyTree = None
    statistics: PyTree = None

    def tree_flatten_with_keys(self) -> tuple[list[tuple[Any, PyTree]], tuple[str, ...]]:
        """The fields by name; statistics, which checkpoints of before December 2026 do not have, only where there are
        any."""
        names = [field.name for field in dataclasses.fields(self)]
        if self.statistics is None:
            names.remove("statistics")
        return [(jax.tree_util.GetAttrKey(name), getattr(self, name)) for name in names], tuple(names)

    @classmethod
    def tree_unflatten(cls, names: tuple[str, ...], fields: Iterable[PyTree]) -> "TrainState":
        """The inverse."""
        return cls(**dict(zip(names, fields, strict=True)))


def by_group(state: TrainState, names: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Returns the fields of each group, by the name of the group and that of the field."""
    if len(names) == 1:
        return {names[0]: {field: getattr(state, field) for field in OF_A_GROUP}}
    return {name: {field: getattr(state, field)[name] for field in OF_A_GROUP} for name in names}


def from_groups(fields: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Returns the fields of a state from those of its groups: the inverse of `by_group`."""
    if len(fields) == 1:
        return dict(next(iter(fields.values())))
    return {field: {name: of_group[field] for name, of_group in fields.items()} for field in OF_A_GROUP}


def create_state(groups: Groups, key: KeyArray, statistics: PyTree = None) -> TrainState:
    """Makes the state at step 0: fresh parameters of every group; the averages start at them.

    Args:
      groups: what is trained; the first draws its parameters from the same key as if it were alone.
      key: of the run.
      statistics: what networks begin with that update some as they run.
    """
    init_key, step_key = jax.random.split(key)
    fields = {}
    for i, (name, group) in enumerate(groups.items()):
        params = group.init(init_key if i == 0 else jax.random.fold_in(init_key, i))
        fields[name] = {
            "params": params,
            "ema_params": jax.tree.map(jnp.copy, params),
            "opt_state": group.tx.init(params),
            "history": group.history,
        }
    rng = jax.random.key_data(step_key)
    return TrainState(step=jnp.zeros((), jnp.int32), rng=rng, statistics=statistics, **from_groups(fields))
