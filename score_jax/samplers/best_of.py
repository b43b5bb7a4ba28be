"""The best of several draws: of embeddings, the one that is closest to the text's (Ramesh et al. 2022, section 2.2)."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from score_jax.samplers.sample import Samples
from score_jax.typing import Batch, KeyArray

_STREAM = 0xBE57


def best_of(
    draw: Callable[[KeyArray], Samples], fit: Callable[[Batch], Float[Array, "b"]], key: KeyArray, count: int
) -> Samples:
    """Draws `count` times and keeps for each example the draw that fits best; evaluations are summed.

    Args:
      draw: a batch of samples by a key; the first draw has the key itself, as if it were the only one.
      fit: of x (b, ...), the higher the better; a draw that is not finite is never better.
      key: of all draws.
      count: of draws.
    """
    found = draw(key)
    for i in range(1, count):
        other = draw(jax.random.fold_in(key, _STREAM + i))
        better = (fit(other.x) > fit(found.x)) & other.ok
        found = Samples(
            x=_chosen(better, other.x, found.x),
            nfe=found.nfe + other.nfe,
            ok=_chosen(better, other.ok, found.ok),
            trajectory=jax.vmap(_chosen, in_axes=(None, 0, 0))(better, other.trajectory, found.trajectory),
            times=found.times,
        )
    return found


def _chosen(better: Bool[Array, "b"], other: Shaped[Array, "b ..."], found: Shaped[Array, "b ..."]) -> Array:
    return jnp.where(better.reshape(-1, *(1,) * (found.ndim - 1)), other, found)
