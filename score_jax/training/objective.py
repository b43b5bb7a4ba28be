"""What training minimises: an objective, and the groups of parameters that are optimised in turn.

A diffusion model is one group. An adversarial pair is two: each has parameters, an optimizer, an average and an
objective of its own, and sees the parameters of the other as they are.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PyTree

from score_jax.losses.loss_history import LossHistory
from score_jax.typing import KeyArray, KeyBatch, Params, Time

Batch = Mapping[str, Array]
"""Arrays (b, ...) by name: "image", "index", and the conditions of the data."""
Draw = Callable[[KeyArray, int, LossHistory | None], tuple[Time, Float[Array, "b"]]]
"""`draw(key, b, history) -> (times, factors)`: at which times a whole batch is trained (b,), and the factors (b,) that
make its mean unbiased."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Surroundings:
    """What an objective sees beside the parameters that it is differentiated by. No gradient reaches it.

    Attributes:
      groups: the parameters of the other groups by name, those that were stepped before already new.
      frozen: parameters of networks that are not trained, by name; arguments of the program, not constants in it.
      statistics: what networks update as they run, such as the means of a batch norm; None where there are none.
      step: optimizer steps taken, int32.
    """

    groups: Mapping[str, Params]
    frozen: PyTree
    statistics: PyTree
    step: Int[Array, ""]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Outcome:
    """What an objective says of a batch.

    Attributes:
      values: one per example (b,), whose mean is minimised.
      metrics: others (b,) by name, whose means are logged.
      statistics: those of the surroundings after this batch.
    """

    values: Float[Array, "b"]
    metrics: Mapping[str, Float[Array, "b"]] = dataclasses.field(default_factory=dict)
    statistics: PyTree = None


def at_no_time(key: KeyArray, b: int, history: LossHistory | None) -> tuple[Time, Float[Array, "b"]]:
    """Returns the `Draw` of objectives without times: zeros, and factors of one."""
    return jnp.zeros(b), jnp.ones(b)


@dataclasses.dataclass(frozen=True)
class Objective:
    """What is minimised: the mean of `factors * values` over the batch.

    Attributes:
      values: `values(params, surroundings, batch, times, keys, dropout_key) -> Outcome`, of each example a function of
        this example, its time and its key, and of the bits of dropout.
      draw: at which times.
      whole_batch: whether a value depends on other examples too (a contrastive loss, a batch norm): the batch then
        cannot be computed in parts.
    """

    values: Callable[..., Outcome]
    draw: Draw = at_no_time
    whole_batch: bool = False


Values = Callable[[Params, Batch, Time, KeyBatch, KeyArray], Float[Array, "b"]]
"""`values(params, batch, times, keys, dropout_key)` (b,)."""


def per_example(values: Values, draw: Draw = at_no_time) -> Objective:
    """Returns the objective of a network that sees nothing but its own parameters, with values per example."""

    def outcome(params: Params, surroundings: Surroundings, *rest: Any) -> Outcome:
        return Outcome(values(params, *rest), {}, surroundings.statistics)

    return Objective(outcome, draw)


@dataclasses.dataclass(frozen=True)
class Group:
    """Parameters that are optimised together.

    Attributes:
      init: `init(key) -> params`.
      tx: the optimizer.
      objective: what it makes small.
      ema_decay: of the average of the parameters.
      ema_warmup: whether the average forgets the first steps faster.
      history: what loss-second-moment sampling of times begins with; None: it is not used.
      sam_rho: how far away the worst parameters are at which the gradient is taken, see `sharpness`; 0: at their place.
    """

    init: Callable[[KeyArray], Params]
    tx: optax.GradientTransformation
    objective: Objective
    ema_decay: float
    ema_warmup: bool
    history: LossHistory | None = None
    sam_rho: float = 0.0


Groups = Mapping[str, Group]
"""By name, in the order in which they are stepped."""
