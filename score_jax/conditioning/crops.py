"""Squares of images and of the conditions that belong to their pixels, at the same random places.

unCLIP trains its upsamplers on squares of a quarter of the size and draws whole images with them (Ramesh et al. 2022,
section 2.3 and table 3): their networks are convolutions alone.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Shaped

from score_jax.errors import InputError
from score_jax.typing import Image, KeyBatch, Resized


def random_squares(
    keys: KeyBatch, x0: Image, given: Mapping[str, Array], size: int
) -> tuple[Resized, dict[str, Array]]:
    """Returns a square of each example and of its images among the conditions, which show the same place.

    Places are multiples of the pixels of x0 for which the coarsest of these images has one.

    Args:
      keys: one per example.
      x0: (b, h, w, c).
      given: conditions (b, ...) by name; those (b, h / s, w / s, c) are cut, others stay.
      size: of the squares.

    Raises:
      InputError: the size is no multiple of the pixels for one of a condition.
    """
    scale = max((x0.shape[1] // array.shape[1] for array in given.values() if array.ndim == 4), default=1)
    if size % scale:
        raise InputError(
            f"loss.crop={size} does not split into {scale} x {scale} pixels, of which a condition has one: give a "
            f"multiple of {scale}."
        )

    def place(key: Array) -> Array:
        largest = [(side - size) // scale for side in x0.shape[1:3]]
        rows, columns = (
            jax.random.randint(part, (), 0, most + 1) for part, most in zip(jax.random.split(key), largest, strict=True)
        )
        return jnp.stack([rows, columns]) * scale

    places = jax.vmap(place)(keys)

    def cut(array: Shaped[Array, "b _ _ c"]) -> Shaped[Array, "b _ _ c"]:
        factor = x0.shape[1] // array.shape[1]
        shape = (size // factor, size // factor, array.shape[3])
        return jax.vmap(lambda each, at: jax.lax.dynamic_slice(each, (*(at // factor), 0), shape))(array, places)

    return cut(x0), {name: cut(array) if array.ndim == 4 else array for name, array in given.items()}
