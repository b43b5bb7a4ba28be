"""LPIPS v0.1 on VGG16: how different two images look (Zhang et al. 2018, equation 1).

Both images go through VGG16 (Simonyan and Zisserman 2015). At the end of each block, before its pool, the vector at
each pixel is scaled to norm 1; the squared differences are weighted per channel by that layer's head, averaged over
pixels, and added over the layers.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from score_jax.errors import InputError
from score_jax.models.scorers.vgg16 import VGG16, VGG16_WIDTHS, Maps, Widths
from score_jax.typing import Params

PerChannel = tuple[float, float, float]
RGB = Float[Array, "b h w 3"]

_MIN_SIZE = 16  # four pools leave one pixel
_EPS = 1e-10


def _directions(x: Maps) -> Maps:
    """The vectors scaled to norm 1; of 0, whose norm has no derivative, 0."""
    square = jnp.sum(x**2, axis=-1, keepdims=True)
    norm = jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)
    return x / (norm + _EPS)


def as_rgb(images: Float[Array, "b h w _"]) -> RGB:
    """Returns images with three channels: of grey ones their channel thrice."""
    return jnp.broadcast_to(images, (*images.shape[:3], 3)) if images.shape[-1] == 1 else images


def layer_difference(x: Maps, y: Maps, head: Float[Array, "c"]) -> Float[Array, "b h w 1"]:
    """One layer's difference at each of its pixels.

    Args:
      x: its features (b, h, w, c).
      y: those of what x is compared with.
      head: weights of the channels, at least 0; ones give the plain distance that LPIPS improves on.
    """
    return jnp.sum(head[None, None, None] * (_directions(x) - _directions(y)) ** 2, axis=-1, keepdims=True)


class LPIPS(nn.Module):
    """The distance of images in [-1, 1].

    A fresh one weights all channels by 1.

    Attributes:
      widths: of `VGG16`.
      shift: that VGG16's images are less by.
      scale: that they are then divided by.
    """

    widths: Widths = VGG16_WIDTHS
    shift: PerChannel = (-0.030, -0.088, -0.188)
    scale: PerChannel = (0.458, 0.448, 0.450)

    def setup(self) -> None:
        """Makes the parts."""
        self.vgg = VGG16(self.widths)
        self.heads = [
            self.param(f"head{i}", nn.initializers.ones, (widths[-1],)) for i, widths in enumerate(self.widths)
        ]

    def __call__(self, x: RGB, y: RGB) -> Float[Array, "b"]:
        """The distance, 0 of equal images.

        Raises:
          InputError: images are smaller than 16 x 16.
        """
        return jnp.sum(self.per_layer(x, y), axis=1)

    def per_layer(self, x: RGB, y: RGB) -> Float[Array, "b 5"]:
        """What each layer adds to the distance."""
        return jnp.stack([jnp.mean(values, axis=(1, 2, 3)) for values in self._differences(x, y)], axis=1)

    def spatial_map(self, x: RGB, y: RGB) -> Float[Array, "b h w 1"]:
        """The distance at each pixel: the layers' maps, bilinearly at the size of the images, added."""
        shape = (*x.shape[:3], 1)
        return sum(jax.image.resize(values, shape, "bilinear") for values in self._differences(x, y))

    def features(self, x: RGB) -> list[Maps]:
        """What is compared, not yet scaled to norm 1: see `VGG16`."""
        if min(x.shape[1:3]) < _MIN_SIZE:
            size = f"{x.shape[1]} x {x.shape[2]}"
            raise InputError(f"LPIPS of images of {size}: its pools need {_MIN_SIZE} x {_MIN_SIZE}, so enlarge them.")
        shift, scale = (jnp.array(values, x.dtype)[None, None, None] for values in (self.shift, self.scale))
        return self.vgg((x - shift) / scale)

    def _differences(self, x: RGB, y: RGB) -> Sequence[Float[Array, "b _ _ 1"]]:
        pairs = zip(self.features(x), self.features(y), self.heads, strict=True)
        return [layer_difference(*pair) for pair in pairs]


@dataclasses.dataclass(frozen=True, eq=False)
class LPIPSNetwork:
    """A trained LPIPS as the rest of the library sees it.

    Its functions are pure and take the parameters, so that a program that is jitted has them as an argument.

    Attributes:
      module: the Linen module.
      params: its parameters.
    """

    module: LPIPS
    params: Params

    def distance(self, params: Params, x: RGB, y: RGB) -> Float[Array, "b"]:
        """The distance of images in [-1, 1] from images.

        Raises:
          InputError: they are smaller than 16 x 16.
        """
        return self._apply(params, "__call__", x, y)

    def per_layer(self, params: Params, x: RGB, y: RGB) -> Float[Array, "b 5"]:
        """What each layer adds to it."""
        return self._apply(params, "per_layer", x, y)

    def spatial_map(self, params: Params, x: RGB, y: RGB) -> Float[Array, "b h w 1"]:
        """The distance at each pixel."""
        return self._apply(params, "spatial_map", x, y)

    def _apply(self, params: Params, method: str, *args: Any) -> Any:
        return self.module.apply({"params": params}, *args, method=method)


def parameter_shapes(module: LPIPS) -> PyTree:
    """Shapes and dtypes of the parameters, without making any."""
    images = jax.ShapeDtypeStruct((1, _MIN_SIZE, _MIN_SIZE, 3), jnp.float32)
    return jax.eval_shape(module.init, jax.random.key(0), images, images)["params"]
