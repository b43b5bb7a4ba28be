"""Conditions that are joined to the channels of latents: small images to enlarge, and images with a hole to fill."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree, UInt8

from score_jax.codecs.codec import Codec
from score_jax.codecs.latents import Latents
from score_jax.conditioning.conditioners import Conditioner, low_resolution
from score_jax.errors import InputError
from score_jax.typing import Image, Resized

MASK = "mask"
"""The entry of a batch that is 1 where an image is to be painted and 0 where it is known, (b, h, w, 1)."""


def enlarged(size: int, degradation: str, latent_size: tuple[int, int]) -> Conditioner:
    """Returns the small images in [-1, 1], at the size of the latents (Rombach et al. 2022, section 4.4).

    They are those of the batch (`low_res`, uint8), or its images made small. The published models enlarge images of the
    size of their latents; others are resized to it bilinearly.

    Args:
      size: of the small images, pixels.
      degradation: see `low_resolution`.
      latent_size: height and width of the latents.
    """

    small_images = low_resolution(size, degradation)

    def conditioner(batch: Mapping[str, Array], x0: Image | None, codec: Codec, frozen: PyTree) -> Resized:
        small = small_images(batch, x0, codec, frozen)
        shape = (len(small), *latent_size, small.shape[-1])
        return small if shape == small.shape else jax.image.resize(small, shape, "linear", antialias=False)

    return conditioner


def _latent_mask(mask: Float[Array, "b h w 1"], latent_size: tuple[int, int]) -> Float[Array, "b _ _ 1"]:
    """The mask at the size of the latents, by the nearest pixel as PyTorch takes it: the first of each square."""
    down, right = (mask.shape[1 + axis] // latent_size[axis] for axis in (0, 1))
    return mask[:, ::down, ::right]


def _hole(batch: Mapping[str, Array], codec: Latents) -> tuple[UInt8[Array, "b h w c"], Float[Array, "b h w 1"]]:
    """Images whose unknown pixels are black, and the mask.

    Raises:
      InputError: the batch has no mask.
    """
    if MASK not in batch:
        raise InputError("This model fills holes, and no mask says where: give one, as `edit --mask=FILE` does.")
    unknown = batch[MASK] > 0
    return jnp.where(unknown, 0, batch["image"]), unknown.astype(jnp.result_type(float))


def filled_by_latent_diffusion(latent_size: tuple[int, int]) -> Conditioner:
    """Returns the latents of images whose hole is black, not scaled, then the mask in -1 and 1, as LDM has them."""

    def conditioner(batch: Mapping[str, Array], x0: Image | None, codec: Codec, frozen: PyTree) -> Resized:
        assert isinstance(codec, Latents)
        images, mask = _hole(batch, codec)
        return jnp.concatenate([codec.unscaled(images), 2 * _latent_mask(mask, latent_size) - 1], axis=-1)

    return conditioner


def filled_by_stable_diffusion(latent_size: tuple[int, int]) -> Conditioner:
    """Returns the mask in 0 and 1, then the latents of images whose hole is grey, as Stable Diffusion 1's model has it.

    Black becomes grey there because that code masks images in [-1, 1].
    """

    def conditioner(batch: Mapping[str, Array], x0: Image | None, codec: Codec, frozen: PyTree) -> Resized:
        assert isinstance(codec, Latents)
        _, mask = _hole(batch, codec)
        known = codec.pixels.encode(batch["image"]) * (1 - mask)
        return jnp.concatenate([_latent_mask(mask, latent_size), codec.scale * codec.mode_of(known)], axis=-1)

    return conditioner


HOLES: dict[str, Callable[[tuple[int, int]], Conditioner]] = {
    "latent_diffusion": filled_by_latent_diffusion,
    "stable_diffusion": filled_by_stable_diffusion,
}
"""How models that fill holes are given an image and a mask, by name."""
