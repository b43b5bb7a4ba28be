"""One optimizer step as a pure function."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from score_jax.arrays import keys_per_example
from score_jax.losses.loss_history import LossHistory, remember
from score_jax.training.optimizer import update_ema
from score_jax.training.state import TrainState
from score_jax.typing import KeyArray, KeyBatch, Params

Batch = dict[str, Array]


class Losses(NamedTuple):
    """What a loss returns, one value per example.

    Attributes:
      values: their mean is minimised.
      times: at which each was taken.
      unweighted: without the factors of importance sampling.
    """

    values: Float[Array, "b"]
    times: Float[Array, "b"]
    unweighted: Float[Array, "b"]


LossFn = Callable[[Params, Batch, KeyArray, KeyBatch, LossHistory | None], Losses]
"""`loss(params, batch, key, keys, history)`; `keys` (b,) are the examples' own, `key` the batch's."""


def make_train_step(
    loss: LossFn, tx: optax.GradientTransformation, *, ema_decay: float, ema_warmup: bool
) -> Callable[[TrainState, Batch], tuple[TrainState, dict[str, Float[Array, ""]]]]:
    """`train_step(state, batch) -> (state, metrics)`, with the mean of `loss` over the batch as the objective.

    Metrics: "loss" and "grad_norm" (before clipping). Randomness folds the step, then the example's place in the global
    batch, so it does not depend on how the batch is sharded.
    """

    def train_step(state: TrainState, batch: Batch):
        key = jax.random.fold_in(jax.random.wrap_key_data(state.rng), state.step)
        places: Int[Array, "b"] = jnp.arange(batch["image"].shape[0])
        keys = keys_per_example(key, places)

        def objective(params: Params) -> tuple[Float[Array, ""], Losses]:
            losses = loss(params, batch, key, keys, state.history)
            return jnp.mean(losses.values), losses

        (value, losses), grads = jax.value_and_grad(objective, has_aux=True)(state.params)
        updates, opt_state = tx.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        state = dataclasses.replace(
            state,
            step=state.step + 1,
            params=params,
            ema_params=update_ema(state.ema_params, params, ema_decay, ema_warmup, state.step + 1),
            opt_state=opt_state,
            history=None if state.history is None else remember(state.history, losses.times, losses.unweighted),
        )
        return state, {"loss": value, "grad_norm": optax.global_norm(grads)}

    return train_step
