"""Where a fixed-step sampler's noise comes from: a Brownian path over the index of its steps, or a stored one.

Over the index every step lasts 1, so the path's increments are the standard normal draws of the step rules; a step that
draws n times divides its unit into parts. Each example has its own path.

A path is counted in blocks of 32768 steps and 512 draws of a step, in which float32 holds every end of a draw exactly.
The first block draws from the example's key itself, any other from the key with the number of the block folded in.
"""

from collections.abc import Callable

import diffrax
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from score_jax.arrays import fold_in_each
from score_jax.errors import InputError
from score_jax.typing import Batch, KeyBatch

Noise = Callable[[int], Batch]
"""`noise(j)`: the j-th standard normal draw of one step, like x."""
NoisePath = Callable[[Int[Array, ""]], Noise]
"""`path(i)`: the noise of step i."""

_STEPS, _DRAWS = 2**15, 2**9
"""Of a block."""
_PART = 1 / _DRAWS
"""Length of a draw in the index."""
_STEP_BLOCKS = 2**16
"""Blocks of steps that a 32-bit index can reach."""


def brownian(keys: KeyBatch, like: Batch) -> NoisePath:
    """Paths shaped like `like` (b, ...), one per key: no draw depends on the batch an example happens to be in.

    Every step from 0 to 2^31 - 1 and every draw from 0 to 2^24 - 1 of it is another normal draw.
    """
    shape = jax.ShapeDtypeStruct(like.shape[1:], like.dtype)

    def path(i: Int[Array, ""]) -> Noise:
        step_block, step = jnp.divmod(jnp.asarray(i), _STEPS)

        def draw(j: int) -> Batch:
            draw_block, place = divmod(j, _DRAWS)
            block = step_block + draw_block * _STEP_BLOCKS
            block_keys = jnp.where(block == 0, keys, fold_in_each(keys, block))
            start = step.astype(jnp.float32) + place * _PART

            def increment(key):
                return diffrax.UnsafeBrownianPath(shape, key).evaluate(start, start + _PART)

            return jax.vmap(increment)(block_keys) / jnp.asarray(_PART**0.5, like.dtype)

        return draw

    return path


def replay(stored: Float[Array, "n b ..."], draws_per_step: int) -> NoisePath:
    """Returns stored standard normal draws in the order in which steps use them, e.g. those of another implementation.

    Steps after the last stored one get NaN, so that a store which is too short cannot pass for noise.

    Raises:
      InputError: a step asks for more than its `draws_per_step`, which would be those of the next.
    """

    def path(i: Int[Array, ""]) -> Noise:
        def draw(j: int) -> Batch:
            if j >= draws_per_step:
                raise InputError(f"Draw {j} of a step is asked for, and {draws_per_step} are stored for each.")
            return stored.at[i * draws_per_step + j].get(mode="fill", fill_value=jnp.nan)

        return draw

    return path


def later(noise: Noise, draws: int) -> Noise:
    """Returns the noise after the first `draws` of a step, for a rule that comes second in it."""
    return lambda j: noise(draws + j)
