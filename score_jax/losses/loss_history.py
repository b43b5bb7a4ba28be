"""Times drawn in proportion to the loss's second moment (Nichol and Dhariwal 2021, section 3.3)."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from score_jax.typing import KeyArray, Time


@functools.partial(jax.tree_util.register_dataclass, data_fields=["losses", "counts"], meta_fields=[])
@dataclasses.dataclass(frozen=True)
class LossHistory:
    """The last losses of each level, oldest first.

    Attributes:
      losses: (levels, history).
      counts: how many are known (levels,), at most `history`.
    """

    losses: Float[Array, "levels history"]
    counts: Int[Array, "levels"]


def empty_history(num_levels: int, history: int = 10) -> LossHistory:
    """Returns a history without losses."""
    return LossHistory(jnp.zeros((num_levels, history)), jnp.zeros(num_levels, jnp.int32))


def warmed_up(history: LossHistory) -> Bool[Array, ""]:
    """Returns whether every level has a full history; until then times are uniform."""
    return jnp.all(history.counts == history.losses.shape[1])


def weights(history: LossHistory, uniform_part: float = 0.001) -> Float[Array, "levels"]:
    """Returns probabilities of the levels, up to a factor: root mean squares, mixed with a uniform part."""
    moments = jnp.sqrt(jnp.mean(history.losses**2, axis=1))
    mixed = (1 - uniform_part) * moments / jnp.sum(moments) + uniform_part / len(moments)
    return jnp.where(warmed_up(history), mixed, jnp.ones_like(mixed))


def draw(history: LossHistory, key: KeyArray, batch_size: int) -> tuple[Time, Float[Array, "b"]]:
    """Draws levels (b,), and returns the factors 1 / (T p) that make the mean loss unbiased."""
    p = weights(history)
    p = p / jnp.sum(p)
    t = jax.random.choice(key, len(p), (batch_size,), p=p)
    return t.astype(p.dtype), importance(history, t)


def importance(history: LossHistory, t: Int[Array, "b"], uniform_part: float = 0.001) -> Float[Array, "b"]:
    """Returns 1 / (T p) at levels t (b,)."""
    p = weights(history, uniform_part)
    return jnp.sum(p) / (len(p) * p[t])


def remember(history: LossHistory, t: Time, losses: Float[Array, "b"]) -> LossHistory:
    """Adds the losses (b,) of levels t (b,) in order; a full level forgets its oldest."""
    size = history.losses.shape[1]

    def add(history: LossHistory, seen):
        level, loss = seen
        row, count = history.losses[level], history.counts[level]
        full = count == size
        row = jnp.where(full, jnp.roll(row, -1), row).at[jnp.minimum(count, size - 1)].set(loss)
        counts = history.counts.at[level].set(jnp.minimum(count + 1, size))
        return LossHistory(history.losses.at[level].set(row), counts), None

    return jax.lax.scan(add, history, (t.astype(jnp.int32), losses))[0]
