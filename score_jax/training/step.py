"""One optimizer step as a pure function."""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from einops import rearrange
from jaxtyping import Array, Float, Int, PyTree

from score_jax.arrays import keys_per_example
from score_jax.losses.loss_history import LossHistory, remember
from score_jax.training.optimizer import update_ema
from score_jax.training.state import TrainState
from score_jax.typing import KeyArray, KeyBatch, Params, Time

Batch = dict[str, Array]
Metrics = dict[str, Float[Array, ""]]


@dataclasses.dataclass(frozen=True)
class Loss:
    """What training minimises: the mean of `factors * values` over the batch.

    Attributes:
      draw: `draw(key, b, history) -> (times, factors)`: at which times a whole batch is trained, and the factors (b,)
        that make its mean unbiased.
      values: `values(params, batch, times, keys, dropout_key)`: one value (b,) per example, a function of this example,
        its time and its key, and of the bits of dropout.
    """

    draw: Callable[[KeyArray, int, LossHistory | None], tuple[Time, Float[Array, "b"]]]
    values: Callable[[Params, Batch, Time, KeyBatch, KeyArray], Float[Array, "b"]]


TrainStep = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]
TrainSteps = Callable[[TrainState, tuple[Batch, ...]], tuple[TrainState, dict[str, Float[Array, "k"]]]]


def as_they_are(params: Params) -> Params:
    """No change of where parameters live."""
    return params


def make_train_step(
    loss: Loss,
    tx: optax.GradientTransformation,
    *,
    ema_decay: float,
    ema_warmup: bool,
    accumulate: int = 1,
    skip_nonfinite: bool = False,
) -> TrainStep:
    """`train_step(state, batch) -> (state, metrics)`, with the weighted mean of `loss` over the batch as the objective.

    A third argument, `gather(params)`, brings split parameters together before the network uses them.

    Metrics: "loss", "grad_norm" (before clipping), and "skipped", 1 where nothing was learnt. Randomness folds the
    step, then the example's place in the global batch, so it does not depend on how the batch is sharded or parted.

    Args:
      loss: what is minimised.
      tx: the optimizer.
      ema_decay: of the average of parameters.
      ema_warmup: whether the average forgets the first steps faster.
      accumulate: equal parts of the batch that are computed one after another, in the memory of one.
      skip_nonfinite: where loss or gradient is not finite, keep everything but the step as it was.
    """

    def objective(params: Params, part: PyTree, dropout_key: KeyArray, gather: Callable[[Params], Params]):
        params = gather(params)
        values = loss.values(params, part["batch"], part["times"], part["keys"], dropout_key)
        return jnp.mean(part["factors"] * values), values

    def train_step(state: TrainState, batch: Batch, gather: Callable[[Params], Params] = as_they_are):
        of_objective = jax.value_and_grad(functools.partial(objective, gather=gather), has_aux=True)
        gradients = in_turns(of_objective, accumulate)
        key = jax.random.fold_in(jax.random.wrap_key_data(state.rng), state.step)
        time_key, dropout_key = jax.random.split(key)
        b = batch["image"].shape[0]
        places: Int[Array, "b"] = jnp.arange(b)
        times, factors = loss.draw(time_key, b, state.history)
        whole = {"batch": batch, "times": times, "factors": factors, "keys": keys_per_example(key, places)}
        (value, values), grads = gradients(state.params, whole, dropout_key)
        norm = optax.tree.norm(grads)
        updates, opt_state = tx.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        new = dataclasses.replace(
            state,
            params=params,
            ema_params=update_ema(state.ema_params, params, ema_decay, ema_warmup, state.step + 1),
            opt_state=opt_state,
            history=None if state.history is None else remember(state.history, times, values),
        )
        skipped = ~(jnp.isfinite(value) & jnp.isfinite(norm)) if skip_nonfinite else jnp.array(False)
        if skip_nonfinite:
            new = jax.tree.map(lambda new, old: jnp.where(skipped, old, new), new, state)
        metrics = {"loss": value, "grad_norm": norm, "skipped": skipped.astype(jnp.float32)}
        return dataclasses.replace(new, step=state.step + 1), metrics

    return train_step


def in_sequence(train_step: TrainStep) -> TrainSteps:
    """`train_steps(state, batches) -> (state, metrics)`: a step on each of k batches, one program; metrics are (k,)."""

    def train_steps(state: TrainState, batches: tuple[Batch, ...]):
        if len(batches) == 1:  # no loop: XLA compiles some operations better outside of one
            state, metrics = train_step(state, batches[0])
            return state, {name: value[None] for name, value in metrics.items()}
        return jax.lax.scan(train_step, state, jax.tree.map(lambda *arrays: jnp.stack(arrays), *batches))

    return train_steps


def in_turns(gradients: Callable, parts: int) -> Callable:
    """`gradients(params, whole, key) -> ((mean, values), grads)` over `parts` equal parts of the batch, one at a time.

    Part i holds every parts-th example from i on, so that each device keeps the examples it has. Dropout draws other
    bits for each part; but for those it is the same function.
    """
    if parts == 1:
        return gradients

    def parted(x: Array) -> Array:
        return rearrange(x, "(b parts) ... -> parts b ...", parts=parts)

    def in_parts(params: Params, whole: PyTree, key: KeyArray):
        def add(total, part_and_index):
            part, i = part_and_index
            (mean, values), grads = gradients(params, part, jax.random.fold_in(key, i))
            return jax.tree.map(jnp.add, total, (mean, grads)), values

        zero = (jnp.zeros((), whole["factors"].dtype), jax.tree.map(jnp.zeros_like, params))
        (mean, grads), values = jax.lax.scan(add, zero, (jax.tree.map(parted, whole), jnp.arange(parts)))
        mean, grads = jax.tree.map(lambda x: x / parts, (mean, grads))
        return (mean, rearrange(values, "parts b -> (b parts)")), grads

    return in_parts
