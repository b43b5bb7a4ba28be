"""Where a fixed-step sampler's noise comes from: a Brownian path over the index of its steps, or a stored one.

Over the index every step lasts 1, so the path's increments are the standard normal draws of the step rules; a step that
draws n times divides its unit into parts. Each example has its own path.
"""

from collections.abc import Callable

import diffrax
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from score_jax.typing import Batch, KeyBatch

Noise = Callable[[int], Batch]
"""`noise(j)`: the j-th standard normal draw of one step, like x."""
NoisePath = Callable[[Int[Array, ""]], Noise]
"""`path(i)`: the noise of step i."""

_PART = 2.0**-9
"""Length of a draw in the index: a power of two, so that 32768 steps of 512 draws have exact ends in float32."""


def brownian(keys: KeyBatch, like: Batch) -> NoisePath:
    """Paths shaped like `like` (b, ...), one per key: no draw depends on the batch an example happens to be in."""
    shape = jax.ShapeDtypeStruct(like.shape[1:], like.dtype)

    def path(i: Int[Array, ""]) -> Noise:
        def draw(j: int) -> Batch:
            start = jnp.asarray(i, jnp.float32) + j * _PART

            def increment(key):
                return diffrax.UnsafeBrownianPath(shape, key).evaluate(start, start + _PART)

            return jax.vmap(increment)(keys) / jnp.asarray(_PART**0.5, like.dtype)

        return draw

    return path


def replay(stored: Float[Array, "n b ..."], draws_per_step: int) -> NoisePath:
    """Stored standard normal draws in the order in which steps consume them, e.g. those of another implementation."""

    def path(i: Int[Array, ""]) -> Noise:
        return lambda j: stored[i * draws_per_step + j]

    return path


def later(noise: Noise, draws: int) -> Noise:
    """The noise after the first `draws` of a step, for a rule that comes second in it."""
    return lambda j: noise(draws + j)
