"""What a network can be given beside x_t and its time. Networks declare it; nothing else needs to know the network."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array

TOKENS = "tokens"
"""The condition of the ids of a text."""


@dataclasses.dataclass(frozen=True, eq=False)
class Condition:
    """One condition of an example.

    Attributes:
      shape: of one example, without the batch.
      dtype: of its numbers.
      null: what stands for "no condition", of that shape or broadcast to it; None: there is nothing that does.
      num_values: of a whole number, how many values it has, from 0 on; None: it is no class.
    """

    shape: tuple[int, ...]
    dtype: DTypeLike = jnp.float32
    null: ArrayLike | None = None
    num_values: int | None = None

    def zeros(self, batch_size: int) -> Array:
        """A batch of zeros of this shape."""
        return jnp.zeros((batch_size, *self.shape), self.dtype)

    def nulls(self, batch_size: int) -> Array:
        """A batch of null values."""
        return jnp.broadcast_to(jnp.asarray(self.null, self.dtype), (batch_size, *self.shape))


DeclaredConditions = Mapping[str, Condition]
"""By the name of the network's argument, which is the name of the entry of a batch too."""


def class_label(num_classes: int | None) -> DeclaredConditions:
    """A class: a whole number below `num_classes`, whose last value can stand for none; no condition where there are no
    classes."""
    if not num_classes:
        return {}
    return {"label": Condition((), jnp.int32, null=num_classes - 1, num_values=num_classes)}


def token_ids(length: int) -> DeclaredConditions:
    """The ids of a text's tokens, so many of them."""
    return {TOKENS: Condition((length,), jnp.int32)}


def of_text(length: int, width: int, features: int, null: float | None = None) -> DeclaredConditions:
    """What an encoder says of a text.

    Args:
      length: tokens of a text, padding among them.
      width: channels of each token's vector, in `context`.
      features: of the vector of the whole text, `text_embedding`; `context_mask` says which tokens are no padding.
      null: of both vectors' numbers where there is no text; None: there is always one.
    """
    return {
        "context": Condition((length, width), null=null),
        "context_mask": Condition((length,), jnp.bool_),
        "text_embedding": Condition((features,), null=null),
    }


def declared(module: Any, image_shape: tuple[int, int, int]) -> DeclaredConditions:
    """The conditions of a network: what its method `conditions(image_shape)` says, or none."""
    declare = getattr(module, "conditions", None)
    return {} if declare is None else declare(image_shape)
