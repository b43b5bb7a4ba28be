"""The text at the beginning of a prior's sequence: its length, and its padding, which no token sees."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from score_jax.errors import InputError

Seen = Bool[Array, "_ 1 places places"]


def check_length(context: Float[Array, "b n _"], length: int) -> None:
    """Raises InputError where texts (b, n, channels) have not so many tokens."""
    n = context.shape[1]
    if n != length:
        raise InputError(f"This prior's texts have {length} tokens, not {n}: cut or pad them.")


def causal(places: int) -> Seen:
    """Each place (row) sees those before it and itself."""
    return jnp.tril(jnp.ones((places, places), bool))[None, None]


def without_padding(seen: Seen, context_mask: Bool[Array, "b n"] | None) -> Seen:
    """What places see, but for the padding of the text that stands first; None: it has none."""
    if context_mask is None:
        return seen
    others = seen.shape[-1] - context_mask.shape[1]
    return seen & jnp.pad(context_mask, ((0, 0), (0, others)), constant_values=True)[:, None, None]
