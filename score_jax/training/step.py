"""One optimizer step of one or several groups of parameters, as a pure function."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from einops import rearrange
from jaxtyping import Array, Bool, Float, Int, PyTree

from score_jax.arrays import keys_per_example
from score_jax.errors import InputError
from score_jax.losses.loss_history import remember
from score_jax.training.objective import Batch, Group, Groups, Outcome, Surroundings
from score_jax.training.optimizer import update_ema
from score_jax.training.sharpness import sharpness_aware
from score_jax.training.state import TrainState, by_group, from_groups
from score_jax.typing import KeyArray, Params

Metrics = dict[str, Float[Array, ""]]
TrainStep = Callable[..., tuple[TrainState, Metrics]]
"""`train_step(state, batch, frozen=None) -> (state, metrics)`."""
TrainSteps = Callable[..., tuple[TrainState, dict[str, Float[Array, "k"]]]]
"""`train_steps(state, batches, frozen=None) -> (state, metrics)`."""


def as_they_are(params: Params) -> Params:
    """Returns its argument: parameters stay where they are."""
    return params


def make_train_step(groups: Groups, *, accumulate: int = 1, skip_nonfinite: bool = False) -> TrainStep:
    """`train_step(state, batch, frozen) -> (state, metrics)`: each group in turn, by the gradient of its objective.

    Another argument, `gather(params)`, brings split parameters together before networks use them.

    Metrics: "loss", "grad_norm" (before clipping) and those of the objective, of several groups with "_NAME" of the
    group after them; and "skipped", 1 where nothing was learnt. Randomness folds the step, then the example's place in
    the global batch, so it does not depend on how the batch is sharded or parted.

    Args:
      groups: what is trained.
      accumulate: equal parts of the batch that are computed one after another, in the memory of one.
      skip_nonfinite: where a loss or a gradient is not finite, keep everything but the step as it was.

    Raises:
      InputError: parts are asked of an objective that needs the whole batch.

    >>> from score_jax.training.objective import per_example
    >>> from score_jax.training.state import create_state
    >>> def values(params, batch, times, keys, dropout_key):
    ...     return (params["mean"] - batch["image"]) ** 2
    >>> group = Group(lambda key: {"mean": jnp.zeros(())}, optax.sgd(0.5), per_example(values), 0.0, False)
    >>> state, step = create_state({"model": group}, jax.random.key(0)), make_train_step({"model": group})
    >>> state, metrics = step(state, {"image": jnp.array([1.0, 3.0])})
    >>> print(state.params["mean"], metrics["loss"])
    2.0 5.0
    """
    names = tuple(groups)
    for name, group in groups.items():
        if accumulate > 1 and group.objective.whole_batch:
            raise InputError(
                f"training.accumulate={accumulate}, but the objective of {name} needs the whole batch at once: give 1, "
                "and more devices or a smaller training.batch_size instead."
            )

    def train_step(
        state: TrainState, batch: Batch, frozen: PyTree = None, gather: Callable[[Params], Params] = as_they_are
    ) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(jax.random.wrap_key_data(state.rng), state.step)
        fields, statistics = by_group(state, names), state.statistics
        metrics: Metrics = {}
        for i, (name, group) in enumerate(groups.items()):
            others = {other: gather(fields[other]["params"]) for other in names if other != name}
            around = Surroundings(jax.lax.stop_gradient(others), gather(frozen), statistics, state.step)
            of_step = key if i == 0 else jax.random.fold_in(key, i)
            fields[name], statistics, found = _stepped(group, fields[name], around, batch, of_step, accumulate, gather)
            metrics |= {what if len(names) == 1 else f"{what}_{name}": value for what, value in found.items()}
        new = dataclasses.replace(state, statistics=statistics, **from_groups(fields))
        skipped = ~_all_finite(metrics) if skip_nonfinite else jnp.array(False)
        if skip_nonfinite:
            new = jax.tree.map(lambda new, old: jnp.where(skipped, old, new), new, state)
        metrics["skipped"] = skipped.astype(jnp.float32)
        return dataclasses.replace(new, step=state.step + 1), metrics

    return train_step


def _all_finite(metrics: Metrics) -> Bool[Array, ""]:
    return jnp.isfinite(jnp.stack([value.astype(jnp.float32) for value in metrics.values()])).all()


def _stepped(
    group: Group,
    fields: dict[str, Any],
    around: Surroundings,
    batch: Batch,
    key: KeyArray,
    accumulate: int,
    gather: Callable[[Params], Params],
) -> tuple[dict[str, Any], PyTree, Metrics]:
    """A group after one step, the statistics after it, and what there is to say of it."""

    def mean(params: Params, around: Surroundings, part: PyTree, dropout_key: KeyArray) -> tuple[Array, Outcome]:
        found = group.objective.values(gather(params), around, part["batch"], part["times"], part["keys"], dropout_key)
        return jnp.mean(part["factors"] * found.values), found

    time_key, dropout_key = jax.random.split(key)
    b = batch["image"].shape[0]
    places: Int[Array, "b"] = jnp.arange(b)
    times, factors = group.objective.draw(time_key, b, fields["history"])
    whole = {"batch": batch, "times": times, "factors": factors, "keys": keys_per_example(key, places)}
    gradients = accumulate_gradients(jax.value_and_grad(mean, has_aux=True), accumulate)
    gradients = sharpness_aware(gradients, group.sam_rho)
    (value, found), grads = gradients(fields["params"], around, whole, dropout_key)
    updates, opt_state = group.tx.update(grads, fields["opt_state"], fields["params"])
    params = optax.apply_updates(fields["params"], updates)
    average = update_ema(fields["ema_params"], params, group.ema_decay, group.ema_warmup, around.step + 1)
    history = fields["history"]
    stepped = {
        "params": params,
        "ema_params": average,
        "opt_state": opt_state,
        "history": None if history is None else remember(history, times, found.values),
    }
    others = {name: jnp.mean(values) for name, values in found.metrics.items()}
    return stepped, found.statistics, {"loss": value, "grad_norm": optax.tree.norm(grads), **others}


def in_sequence(train_step: TrainStep) -> TrainSteps:
    """`train_steps(state, batches, frozen) -> (state, metrics)`: a step on each of k batches, one program; metrics are
    (k,)."""

    def train_steps(state: TrainState, batches: tuple[Batch, ...], frozen: PyTree = None):
        if len(batches) == 1:  # no loop: XLA compiles some operations better outside of one
            state, metrics = train_step(state, batches[0], frozen)
            return state, {name: value[None] for name, value in metrics.items()}
        stacked = jax.tree.map(lambda *arrays: jnp.stack(arrays), *batches)
        return jax.lax.scan(lambda state, batch: train_step(state, batch, frozen), state, stacked)

    return train_steps


def accumulate_gradients(gradients: Callable, parts: int) -> Callable:
    """`gradients(params, around, whole, key) -> ((mean, outcome), grads)` over equal parts of the batch, in turn.

    Part i holds every parts-th example from i on, so that each device keeps the examples it has. Dropout draws other
    bits for each part, and statistics go from part to part; but for those it is the same function.
    """
    if parts == 1:
        return gradients

    def parted(x: Array) -> Array:
        return rearrange(x, "(b parts) ... -> parts b ...", parts=parts)

    def in_parts(params: Params, around: Surroundings, whole: PyTree, key: KeyArray):
        def add(carried, part_and_index):
            total, statistics = carried
            part, i = part_and_index
            here = dataclasses.replace(around, statistics=statistics)
            (mean, found), grads = gradients(params, here, part, jax.random.fold_in(key, i))
            return (jax.tree.map(jnp.add, total, (mean, grads)), found.statistics), (found.values, found.metrics)

        zero = (jnp.zeros((), whole["factors"].dtype), jax.tree.map(jnp.zeros_like, params))
        (total, statistics), per_example = jax.lax.scan(
            add, (zero, around.statistics), (jax.tree.map(parted, whole), jnp.arange(parts))
        )
        mean, grads = jax.tree.map(lambda x: x / parts, total)
        values, metrics = jax.tree.map(lambda x: rearrange(x, "parts b -> (b parts)"), per_example)
        return (mean, Outcome(values, metrics, statistics)), grads

    return in_parts
