"""From a batch of data to the conditions of a network, once per batch or sample."""

import math
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from score_jax.codecs.codec import Codec
from score_jax.codecs.latents import Latents
from score_jax.errors import InputError
from score_jax.models.conditions import DeclaredConditions
from score_jax.typing import Batch, Image, Resized

Conditioner = Callable[[Mapping[str, Array], Image | None, Codec, PyTree], Array]
"""`conditioner(batch, x0, codec, frozen)`: one condition of the network, from a batch and, in training and measuring,
its x0; the codec with its parameters, if it has any, and by name those of all networks that are not trained."""


def area_means(images: Batch, size: int) -> Batch:
    """Images (b, h, w, c) reduced to (b, size, size, c) by the means of equal squares.

    Raises:
      InputError: the size does not divide theirs.
    """
    b, h, w, channels = images.shape
    if size <= 0 or h % size or w % size:
        raise InputError(f"data.low_resolution={size} does not divide the image size {h} x {w}: give a divisor.")
    return images.reshape(b, size, h // size, size, w // size, channels).mean(axis=(2, 4))


def bicubic(images: Batch, size: int) -> Batch:
    """Makes images (b, h, w, c) small by a cubic filter that is widened against aliasing, as Pillow's is."""
    return jax.image.resize(images, (len(images), size, size, images.shape[-1]), "cubic", antialias=True)


def blurred(images: Batch, size: int) -> Batch:
    """Makes images (b, h, w, c) small as `bicubic` does, then blurs them a little (Ramesh et al. 2022, section 2.3).

    The kernel is a Gaussian of 3 x 3 pixels with a standard deviation of 0.6; beyond the edges images are mirrored.
    """
    small = bicubic(images, size)
    side = math.exp(-1 / (2 * 0.6**2))
    for axis in (1, 2):
        padding = [(0, 0)] * 4
        padding[axis] = (1, 1)
        padded = jnp.pad(small, padding, mode="reflect")
        before, here, after = (jax.lax.slice_in_dim(padded, i, i + size, axis=axis) for i in range(3))
        small = (side * before + here + side * after) / (1 + 2 * side)
    return small


DEGRADATIONS: dict[str, Callable[[Batch, int], Batch]] = {"area": area_means, "bicubic": bicubic, "blurred": blurred}
"""How images are made small, by name."""


def given(name: str) -> Conditioner:
    """Returns the entry of the batch as it is."""

    def conditioner(batch: Mapping[str, Array], x0: Image | None, codec: Codec, frozen: PyTree) -> Array:
        if name not in batch:
            raise InputError(
                f"The network has the condition {name!r}, but the data have no entry of this name: add it to "
                "the data, or choose another network."
            )
        return batch[name]

    return conditioner


def one_hot(name: str, classes: int) -> Conditioner:
    """Returns the entry of the batch with a channel for each class; 0 in all where it names none of them.

    An entry that has channels already is given as it is.

    Args:
      name: of the entry, class numbers (b, h, w) of whole numbers.
      classes: their number.
    """

    def conditioner(batch: Mapping[str, Array], x0: Image | None, codec: Codec, frozen: PyTree) -> Array:
        numbers = given(name)(batch, x0, codec, frozen)
        return jax.nn.one_hot(numbers, classes) if jnp.issubdtype(numbers.dtype, jnp.integer) else numbers

    return conditioner


def low_resolution(size: int, degradation: str = "area") -> Conditioner:
    """Returns the images to enlarge, in the model's range: those of the batch (uint8), or x0 made small.

    Of a model of latents, images in the range of its autoencoder.

    Args:
      size: of the small images, pixels.
      degradation: key of `DEGRADATIONS`, how images are made so small; of another name they must be in the batch, as
        training has those of `data.degradations`.
    """

    def conditioner(batch: Mapping[str, Array], x0: Image | None, codec: Codec, frozen: PyTree) -> Resized:
        of_pixels = codec.pixels if isinstance(codec, Latents) else codec
        if "low_res" in batch:
            return of_pixels.encode(batch["low_res"])
        if degradation not in DEGRADATIONS:
            raise InputError(
                f"data.degradation={degradation} makes images small at random, in training alone: give small images, "
                f"or data.degradation={'|'.join(DEGRADATIONS)}."
            )
        images = of_pixels.encode(batch["image"]) if isinstance(codec, Latents) else x0
        assert images is not None, "images to enlarge are given where there is no x0"
        return jnp.clip(DEGRADATIONS[degradation](images, size), *of_pixels.bounds)  # cubic filters overshoot

    return conditioner


def conditions_of(
    declared: DeclaredConditions,
    conditioners: Mapping[str, Conditioner],
    batch: Mapping[str, Array],
    x0: Image | None,
    codec: Codec,
    frozen: PyTree = None,
) -> dict[str, Array]:
    """Returns the conditions of a network, by name.

    Args:
      declared: what the network can be given.
      conditioners: of those that are made from a batch; others are its entries as they are.
      batch: arrays (b, ...) by name.
      x0: of the same examples, where there are any.
      codec: of the model, with its parameters.
      frozen: parameters of networks that are not trained, by name.

    Raises:
      InputError: the batch lacks an entry.
    """
    made = {name: conditioners.get(name, given(name))(batch, x0, codec, frozen) for name in declared}
    return {
        name: jnp.asarray(array, declared[name].dtype) if jnp.issubdtype(declared[name].dtype, jnp.integer) else array
        for name, array in made.items()
    }
