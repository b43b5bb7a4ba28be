"""Optimizers and the moving average of parameters."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PyTree

from score_jax.errors import entry_of
from score_jax.typing import Params


def learning_rate_schedule(
    peak: float, warmup_steps: int, decay: str, total_steps: int, *, first: float = 0.0, last: float = 0.0
) -> optax.Schedule:
    """Makes a linear warmup to `peak` over `warmup_steps`, then "constant", or "cosine" or "linear" at `total_steps`.

    With "constant" or "cosine" it is latent diffusion's of one cycle.

    Args:
      peak: the learning rate after the warmup.
      warmup_steps: length of the warmup.
      decay: the course after it.
      total_steps: at which a decay ends; the rate stays there.
      first: the warmup begins at this share of `peak`.
      last: a decay ends at this share of `peak`.

    Raises:
      InputError: unknown `decay`.
    """
    length = max(1, total_steps - warmup_steps)
    tails = {
        "constant": lambda: optax.constant_schedule(peak),
        "cosine": lambda: optax.cosine_decay_schedule(peak, length, last),
        "linear": lambda: optax.linear_schedule(peak, last * peak, length),
    }
    tail = entry_of(tails, "optimizer.decay", decay)
    warmup = optax.linear_schedule(first * peak, peak, max(1, warmup_steps))
    return optax.join_schedules([warmup, tail()], [warmup_steps])


def described_schedule(peak: float, decay: str, total_steps: int, last: float) -> str:
    """Says how a `learning_rate_schedule` goes on after its warmup."""
    if decay == "constant":
        return f"the learning rate is {peak:g} after its warmup"
    return f"the learning rate falls ({decay}) until step {total_steps} and is {last * peak:g} after it"


@dataclasses.dataclass(frozen=True)
class Cycle:
    """One cycle of a learning rate: a linear warmup, then a decay.

    Attributes:
      length: steps, with those of the warmup.
      warmup_steps: of the warmup.
      first: where the warmup begins.
      peak: where it ends.
      last: where the decay ends.
    """

    length: int
    warmup_steps: int
    first: float
    peak: float
    last: float


def cyclic_schedule(cycles: Sequence[Cycle], decay: str) -> optax.Schedule:
    """Makes latent diffusion's multipliers of the learning rate (Rombach et al. 2022, code).

    A step on the boundary of two cycles belongs to the first. "linear" counts the decay from the cycle's beginning, as
    if there were no warmup, and so falls right after it; "cosine" counts from the end of the warmup. After the last
    cycle the rate stays.

    Raises:
      InputError: unknown `decay`.
    """
    falls = {
        "linear": lambda k, c: c.last + (c.peak - c.last) * (1 - k / float(c.length)),
        "cosine": lambda k, c: (
            c.last
            + 0.5 * (c.peak - c.last) * (1 + jnp.cos(jnp.pi * (k - c.warmup_steps) / (c.length - c.warmup_steps)))
        ),
    }
    fall = entry_of(falls, "decay of a cycle", decay)
    starts = np.cumsum([0.0, *(c.length for c in cycles)])

    def schedule(count: jax.typing.ArrayLike) -> Float[Array, ""]:
        n = jnp.minimum(jnp.asarray(count, float), starts[-1])
        rates = []
        for start, c in zip(starts[:-1], cycles, strict=True):
            k = n - start
            rising = c.first + (c.peak - c.first) * k / max(1, c.warmup_steps)
            rates.append(jnp.where(k < c.warmup_steps, rising, fall(k, c)))
        return jnp.select([n <= end for end in starts[1:]], rates)

    return schedule


def clip_by_global_norm(limit: float) -> optax.GradientTransformation:
    """Scales gradients by limit / (norm + 1e-6) where that is below 1, as PyTorch and so the originals do."""

    def update(gradients: Params, params: Params | None) -> Params:
        factor = jnp.minimum(1.0, limit / (optax.tree.norm(gradients) + 1e-6))
        return jax.tree.map(lambda g: g * factor.astype(g.dtype), gradients)

    return optax.stateless(update)


def at_most(tx: optax.GradientTransformation, name: str, most: float) -> optax.GradientTransformation:
    """Wraps an optimizer so that parameters of this name are at most `most` after its step, but for rounding.

    Args:
      tx: the optimizer.
      name: the last key of the parameters' paths.
      most: their bound.
    """

    def bounded(path: tuple[Any, ...], update: Array, param: Array) -> Array:
        return jnp.minimum(update, most - param) if path[-1].key == name else update

    def step(gradients: Params, state: PyTree, params: Params | None = None) -> tuple[Params, PyTree]:
        assert params is not None, "a bound of parameters needs them"
        updates, state = tx.update(gradients, state, params)
        return jax.tree_util.tree_map_with_path(bounded, updates, params), state

    return optax.GradientTransformation(tx.init, step)


def _matrices(params: Params) -> PyTree:
    return jax.tree.map(lambda leaf: jnp.ndim(leaf) > 1, params)


DECAYED: Mapping[str, Callable[[Params], PyTree] | None] = {"all": None, "matrices": _matrices}
"""From parameters to those that weight decay acts on; None: all. Gains, biases and single numbers are no matrices."""


def make_optimizer(
    name: str,
    schedule: optax.Schedule,
    *,
    b1: float,
    b2: float,
    eps: float,
    weight_decay: float,
    clip_norm: float,
    decayed: str = "all",
) -> optax.GradientTransformation:
    """Clipping by the global norm (off at 0), then "adam" (weight decay added to the gradient) or "adamw" (beside it).

    Weight decay acts on what `decayed`, a key of `DECAYED`, says.

    Raises:
      InputError: unknown `name` or `decayed`.
    """
    mask = entry_of(DECAYED, "optimizer.decayed", decayed)
    optimizers = {
        "adam": lambda: optax.chain(optax.add_decayed_weights(weight_decay, mask), optax.adam(schedule, b1, b2, eps)),
        "adamw": lambda: optax.adamw(schedule, b1, b2, eps, weight_decay=weight_decay, mask=mask),
    }
    optimizer = entry_of(optimizers, "optimizer.name", name)
    clip = clip_by_global_norm(clip_norm) if clip_norm > 0 else optax.identity()
    return optax.chain(clip, optimizer())


def update_ema(average: Params, params: Params, decay: float, warmup: bool, step: Int[Array, ""]) -> Params:
    """Returns average + (1 - d)(params - average); d is `decay`, in `warmup` min(decay, (1 + n) / (10 + n)), n from 1.

    The first is score_sde's JAX code, the second its PyTorch code; early in training only the second forgets the
    initial parameters.
    """
    n: Float[Array, ""] = step.astype(float)
    rate = 1.0 - (jnp.minimum(decay, (1 + n) / (10 + n)) if warmup else decay)
    return jax.tree.map(lambda a, p: a + rate * (p - a), average, params)
