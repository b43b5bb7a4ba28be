"""An autoencoder as the rest of the library sees it: pure functions of its parameters."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from score_jax.models.autoencoders.autoencoder import AutoencoderKL, AutoencoderVQ
from score_jax.models.autoencoders.posterior import posterior_of
from score_jax.models.autoencoders.quantizer import Quantized
from score_jax.models.conditions import DeclaredConditions
from score_jax.typing import Image, KeyArray, Params, Resized

FIRST_STAGE = "first_stage"
"""Name of an autoencoder among the networks that are not trained: of its parameters and of their folder."""


@dataclasses.dataclass(frozen=True)
class FirstStage:
    """A Linen module of `models.autoencoders` and the shape of its images.

    Attributes:
      module: with the methods `encode` and `decode`.
      image_shape: (h, w, c) of the images.
    """

    module: AutoencoderKL | AutoencoderVQ
    image_shape: tuple[int, int, int]

    @property
    def stochastic(self) -> bool:
        """Whether it says a distribution of z, and not z."""
        return isinstance(self.module, AutoencoderKL)

    @property
    def conditions(self) -> DeclaredConditions:
        """None: an autoencoder sees its image alone."""
        return {}

    @property
    def num_classes(self) -> int:
        """None."""
        return 0

    def latent_shape(self, image_shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """The shape of z of images (h, w, c)."""
        h, w, _ = image_shape
        return h // self.module.factor, w // self.module.factor, self.module.embed_channels

    def shape_of_images(self, latent_shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """The shape of the images of z (h, w, c)."""
        h, w, _ = latent_shape
        return h * self.module.factor, w * self.module.factor, self.module.image_channels

    def encode(self, params: Params, images: Image, **kwargs: Any) -> Resized:
        """Of images in [-1, 1] z, or the moments of its distribution: mean and log variance, one after the other."""
        return self._apply("encode", params, images, **kwargs)

    def mode(self, moments: Image) -> Resized:
        """The likeliest z."""
        return posterior_of(moments).mode if self.stochastic else moments

    def draw(self, moments: Image, noise: Resized) -> Resized:
        """A draw of z by standard normal noise of its shape."""
        return posterior_of(moments).draw(noise) if self.stochastic else moments

    def decode(self, params: Params, z: Image, **kwargs: Any) -> Resized:
        """Images near [-1, 1] of z, which a model with a codebook rounds to its entries first."""
        return self.decode_as_is(params, z if self.stochastic else self.quantize(params, z).values, **kwargs)

    def decode_as_is(self, params: Params, z: Image, **kwargs: Any) -> Resized:
        """Images of z, which is not rounded to a codebook."""
        return self._apply("decode", params, z, **kwargs)

    def quantize(self, params: Params, z: Image, **kwargs: Any) -> Quantized:
        """z rounded to the codebook of a model that has one: see `quantizer.quantize`."""
        return self._apply("quantize", params, z, **kwargs)

    def _apply(self, method: str, params: Params, x: Image, **kwargs: Any) -> Any:
        return self.module.apply({"params": params}, x, method=method, **kwargs)

    def init(self, key: KeyArray) -> Params:
        """Fresh parameters."""
        return self.module.init(key, jnp.zeros((1, *self.image_shape)))["params"]

    def shapes(self) -> PyTree:
        """Shapes and dtypes of the parameters, without making any."""
        return jax.eval_shape(self.init, jax.random.key(0))

    def flops(self) -> float:
        """Floating point operations of one image's way through, counted by XLA in what accelerators are given."""
        x = jax.ShapeDtypeStruct((1, *self.image_shape), jnp.float32)
        traced = jax.jit(lambda params, x: self.module.apply({"params": params}, x)).trace(self.shapes(), x)
        return (traced.lower(lowering_platforms=("tpu",)).cost_analysis() or {}).get("flops", 0.0)
