"""Latents of a first stage as x0 (Rombach et al. 2022, section 3.1): an autoencoder that is not trained any more."""

import dataclasses
from typing import Any, ClassVar, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange
from jaxtyping import Array, PyTree, Shaped, UInt8

from score_jax.arrays import normal_per_example
from score_jax.codecs.pixels import Pixels
from score_jax.models.autoencoders.first_stage import FIRST_STAGE
from score_jax.tiles import in_tiles
from score_jax.typing import Image, KeyBatch, Params, Resized, Rounding


@runtime_checkable
class Autoencoder(Protocol):
    """What is asked of a first stage, one's own or `models.autoencoders.first_stage.FirstStage`."""

    @property
    def stochastic(self) -> bool:
        """Whether it says a distribution of z, and not z."""

    def encode(self, params: Params, images: Image) -> Resized:
        """z of images in [-1, 1], or the moments of its distribution."""

    def mode(self, moments: Image) -> Resized:
        """z of what `encode` returns, the likeliest."""

    def draw(self, moments: Image, noise: Resized) -> Resized:
        """z of what `encode` returns, by standard normal noise of its shape."""

    def decode(self, params: Params, z: Image) -> Resized:
        """Images near [-1, 1] of z."""

    def latent_shape(self, image_shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """The shape of z of images (h, w, c)."""

    def shape_of_images(self, latent_shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """The shape of the images of z (h, w, c)."""


@dataclasses.dataclass(frozen=True, eq=False)
class Latents:
    """x0 = scale * z, where z is the autoencoder's code of an image.

    A density of x0 is one of latents, not of images.

    Attributes:
      first_stage: the autoencoder.
      scale: that gives latents a standard deviation near 1.
      pixels: between images and what the autoencoder takes.
      slices: parts of a batch that are decoded one after another, in the memory of one.
      tile: height and width of the parts in which larger latents are decoded; 0: as a whole.
      overlap: of these parts.
      params: of the autoencoder; None: until `at` is called with them, only shapes are known.
    """

    first_stage: Autoencoder
    scale: float
    pixels: Pixels = dataclasses.field(default_factory=Pixels)
    slices: int = 1
    tile: int = 0
    overlap: int = 0
    params: Params | None = None
    dtype: ClassVar[np.dtype] = np.dtype(np.uint8)
    bounds: ClassVar[tuple[float, float]] = (-3.0, 3.0)
    width: ClassVar[float] = 6.0
    centered: ClassVar[bool] = False
    log_bin_width: ClassVar[float] = 0.0
    levels_per_unit: ClassVar[float] = 1.0

    @property
    def stochastic(self) -> bool:
        """Whether the autoencoder says a distribution of z, of which models are trained on draws."""
        return self.first_stage.stochastic

    def at(self, frozen: PyTree) -> "Latents":
        """The codec with the parameters of its autoencoder, `frozen["first_stage"]`."""
        return dataclasses.replace(self, params=frozen[FIRST_STAGE])

    def shape(self, image_shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """The shape of latents of images (h, w, c)."""
        return self.first_stage.latent_shape(image_shape)

    def encode(self, images: Shaped[Array, "b h w c"]) -> Resized:
        """The latents of images; where the autoencoder says a distribution, its mean."""
        return self.scale * self.first_stage.mode(self._moments(images))

    def unscaled(self, images: UInt8[Array, "b h w c"]) -> Resized:
        """z of images, as a condition of a network has it."""
        return self.mode_of(self.pixels.encode(images))

    def mode_of(self, images: Image) -> Resized:
        """z of images in [-1, 1]."""
        return self.first_stage.mode(self.first_stage.encode(self._known(), images))

    def dequantize(self, keys: KeyBatch, images: Shaped[Array, "b h w c"]) -> Resized:
        """A draw from the distribution that the autoencoder says, or the latents where it says none."""
        moments = self._moments(images)
        noise = normal_per_example(keys, self.first_stage.mode(moments))
        return self.scale * self.first_stage.draw(moments, noise)

    def _moments(self, images: Shaped[Array, "b h w c"]) -> Resized:
        """What the autoencoder says of images; floating point is that already, as `data.latent_records` has it."""
        if jnp.issubdtype(images.dtype, jnp.floating):
            return images.astype(jnp.result_type(float))
        return self.first_stage.encode(self._known(), self.pixels.encode(images))

    def _known(self) -> Params:
        assert self.params is not None, "a codec of latents is used with its parameters, `at` them"
        return self.params

    def images(self, x0: Image) -> Resized:
        """Images in [-1, 1] of latents, before they become levels."""
        decode: Any = lambda z: self.first_stage.decode(self._known(), z)  # noqa: E731
        if self.tile:
            decode = in_tiles(decode, self.tile, self.overlap)
        z = x0 / self.scale
        if self.slices == 1 or len(z) % self.slices:
            return decode(z)
        # Each part holds every slices-th example, so that each device keeps the examples that it has.
        parts = jax.lax.map(decode, rearrange(z, "(b parts) ... -> parts b ...", parts=self.slices))
        return rearrange(parts, "parts b ... -> (b parts) ...")

    def decode(
        self, x0: Shaped[Array, "*batch h w c"], rounding: Rounding = "truncated"
    ) -> UInt8[Array, "*batch _ _ _"]:
        """The images of latents; of a trajectory, those of each of its states."""
        h, w, c = x0.shape[-3:]
        flat = x0.reshape(-1, h, w, c)
        if not len(flat):
            return jnp.zeros((*x0.shape[:-3], *self.first_stage.shape_of_images((h, w, c))), jnp.uint8)
        images = self.pixels.decode(self.images(flat), rounding)
        return images.reshape(*x0.shape[:-3], *images.shape[1:])
