"""Draws of codes, one after another (Ramesh et al. 2022, section 2.2.1)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from score_jax.arrays import fold_in_each
from score_jax.prediction.codes import CodeModel, Logits
from score_jax.prediction.predictor import Conditions
from score_jax.typing import KeyBatch, Scalar


class Choice(NamedTuple):
    """How a code is drawn from its law.

    Attributes:
      temperature: by which the logits are divided; below 1: likelier codes, less variety.
      top_p: the likeliest codes are drawn from, as few as have this probability together (Holtzman et al. 2020).
    """

    temperature: float = 1.0
    top_p: float = 1.0


def nucleus(logits: Float[Array, "*batch buckets"], top_p: Scalar) -> Float[Array, "*batch buckets"]:
    """Logits with minus infinity for all codes but the likeliest, as few as have the probability `top_p` together.

    >>> print(jnp.exp(nucleus(jnp.log(jnp.array([0.5, 0.25, 0.2])), 0.6)).round(2))
    [0.5  0.25 0.  ]
    """
    decreasing = jnp.sort(logits, axis=-1)[..., ::-1]
    before = jnp.cumsum(jax.nn.softmax(decreasing), axis=-1) - jax.nn.softmax(decreasing)
    kept = jnp.sum(before < top_p, axis=-1, keepdims=True)
    least = jnp.take_along_axis(decreasing, jnp.maximum(kept, 1) - 1, axis=-1)
    return jnp.where(logits >= least, logits, -jnp.inf)


def draw_codes(
    model: CodeModel, keys: KeyBatch, count: int, conditions: Conditions, choice: Choice
) -> Int[Array, "b {count}"]:
    """Draws `count` codes of each example, whose draws depend on its key alone.

    What the network keeps of the codes so far is not computed again.
    """

    def draw(logits: Logits, place: Int[Array, ""]) -> Int[Array, "b"]:
        logits = nucleus(logits / choice.temperature, choice.top_p) if choice.top_p < 1 else logits / choice.temperature
        return jax.vmap(jax.random.categorical)(fold_in_each(keys, place), logits)

    def step(carry, place):
        code, memory = carry
        logits, memory = model.go_on(code, memory, conditions)
        code = draw(logits, place)
        return (code, memory), code

    logits, memory = model.begin(conditions)
    first = draw(logits, jnp.asarray(0))
    _, others = jax.lax.scan(step, (first, memory), jnp.arange(1, count))
    return jnp.concatenate([first[:, None], others.T], axis=1)


def draw_alignment(keys: KeyBatch, alignments: int, least: float) -> Int[Array, "b"]:
    """Buckets of how well an image goes with its text, from those above the share `least` of images.

    The buckets hold equal shares of images, so that all of the upper ones are equally likely.
    """
    lowest = min(int(least * alignments), alignments - 1)
    return jax.vmap(lambda key: jax.random.randint(key, (), lowest, alignments))(keys)
