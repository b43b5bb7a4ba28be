"""What training carries from step to step, and what a checkpoint holds."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import optax
from jaxtyping import PyTree

from score_jax.losses.loss_history import LossHistory
from score_jax.typing import KeyArray


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["step", "params", "ema_params", "opt_state", "rng", "history"],
    meta_fields=[],
)
@dataclasses.dataclass(frozen=True)
class TrainState:
    """All that is needed to go on.

    Attributes:
      step: optimizer steps taken, int32.
      params: the network's parameters.
      ema_params: their exponential moving average, used to sample and to evaluate.
      opt_state: the optimizer's state.
      rng: raw data (uint32) of the key from which every step folds its own.
      history: the last losses by level, where times are drawn by them.
    """

    # Plain trees: orbax rebuilds the state with shapes, shardings or nothing in the place of arrays.
    step: PyTree
    params: PyTree
    ema_params: PyTree
    opt_state: PyTree
    rng: PyTree
    history: PyTree = None


def create_state(
    init, tx: optax.GradientTransformation, key: KeyArray, history: LossHistory | None = None
) -> TrainState:
    """Step 0: fresh parameters from `init(key)`; the average starts at them."""
    init_key, step_key = jax.random.split(key)
    params = init(init_key)
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        ema_params=jax.tree.map(jnp.copy, params),
        opt_state=tx.init(params),
        rng=jax.random.key_data(step_key),
        history=history,
    )
