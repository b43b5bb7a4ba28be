"""Array helpers used in every room."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from score_jax.typing import Batch, KeyArray, KeyBatch


def broadcast_right(a: Float[Array, "b"], x: Batch) -> Batch:
    """Append axes to the per-example scalars `a` (b,) so that they multiply `x` (b, ...)."""
    return jnp.reshape(a, a.shape + (1,) * (x.ndim - a.ndim))


def sum_per_example(x: Batch) -> Float[Array, "b"]:
    """Sum of `x` (b, ...) over everything but the leading axis."""
    return jnp.sum(x.reshape(x.shape[0], -1), axis=1)


def keys_per_example(key: KeyArray, indices: Int[Array, "b"]) -> KeyBatch:
    """`fold_in(key, global index)` for each example: independent of batch size and device count."""
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, indices)


def fold_in_each(keys: KeyBatch, data: int | Int[Array, ""]) -> KeyBatch:
    """Fold one number (a step, a purpose) into each of the keys (b,)."""
    return jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, data)


def cosine(a: Float[Array, "b d"], b: Float[Array, "b d"]) -> Float[Array, "b"]:
    """The cosine of the angle between vectors, example by example."""
    lengths = jnp.linalg.norm(a, axis=-1) * jnp.linalg.norm(b, axis=-1)
    return jnp.sum(a * b, axis=-1) / lengths


def normal_per_example(keys: KeyBatch, x: Batch) -> Batch:
    """Standard normal noise like `x` (b, ...), each example drawn from its own key."""
    return jax.vmap(lambda key: jax.random.normal(key, x.shape[1:], x.dtype))(keys)


def largest_whole(dtype: DTypeLike) -> int:
    """The largest whole number up to which this floating-point type holds each, e.g. 2^24 of float32: of indices."""
    return 2 ** (jnp.finfo(dtype).nmant + 1)


def as_floats(t: Any) -> Any:
    """Floats as they are, whole numbers as floats: what takes the type of a time must not be cut to integers."""
    t = t if hasattr(t, "dtype") else jnp.asarray(t)
    return t if jnp.issubdtype(t.dtype, jnp.floating) else jnp.asarray(t, jnp.result_type(float))
