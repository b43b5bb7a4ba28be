"""ConvNeXt V2 (Woo et al. 2023, arXiv 2301.00808): images to the mean of its last map."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from score_jax.models.blocks.cpu_convolution import Conv
from score_jax.models.blocks.layer_norm import layer_norm
from score_jax.typing import Image

PATCH = 4
"""Height and width of the first convolution's patches."""
_KERNEL = 7
_norm = functools.partial(layer_norm, epsilon=1e-6)


def _patches(width: int, side: int, name: str) -> nn.Module:
    """A convolution of disjoint patches."""
    return Conv(width, (side, side), strides=(side, side), padding="VALID", name=name)


class _Block(nn.Module):
    """A convolution of each channel, then two layers with a normalisation of responses, added to the input."""

    @nn.compact
    def __call__(self, x: Image) -> Image:
        width = x.shape[-1]
        kernel = (_KERNEL, _KERNEL)
        h = Conv(width, kernel, padding=_KERNEL // 2, feature_group_count=width, name="depthwise")(x)
        h = nn.gelu(nn.Dense(4 * width, name="hidden")(_norm("norm")(h)), approximate=False)
        return x + nn.Dense(width, name="out")(self._normalised(h))

    def _normalised(self, x: Image) -> Image:
        """Global response normalisation (eq. 1 to 3): each channel by its length over all places, over their mean."""
        scale, shift = (
            self.param(f"response_{name}", nn.initializers.zeros, (x.shape[-1],), jnp.float32)[None, None, None]
            for name in ("scale", "shift")
        )
        length = jnp.sqrt(jnp.sum(x**2, axis=(1, 2), keepdims=True))
        return x + scale * (x * length / (length.mean(axis=-1, keepdims=True) + 1e-6)) + shift


class ConvNeXtV2(nn.Module):
    """Four stages of blocks, each at half the resolution of the one before.

    Attributes:
      widths: channels of each stage.
      depths: blocks of each stage.
    """

    widths: tuple[int, ...]
    depths: tuple[int, ...]

    @nn.compact
    def __call__(self, images: Image) -> Float[Array, "b {self.widths[-1]}"]:
        """The mean over all places of the last stage, before the last norm, of images (b, h, w, 3) over ImageNet's mean
        and standard deviation.
        """
        x = _norm("stem_norm")(_patches(self.widths[0], PATCH, "stem")(images))
        for stage, (width, depth) in enumerate(zip(self.widths, self.depths, strict=True)):
            if stage:
                x = _patches(width, 2, f"stage_{stage}_halve")(_norm(f"stage_{stage}_norm")(x))
            for block in range(depth):
                x = _Block(name=f"stage_{stage}_block_{block}")(x)
        return x.mean(axis=(1, 2))


ARCHITECTURES = {
    "tiny": ConvNeXtV2((96, 192, 384, 768), (3, 3, 9, 3)),
    "base": ConvNeXtV2((128, 256, 512, 1024), (3, 3, 27, 3)),
    "large": ConvNeXtV2((192, 384, 768, 1536), (3, 3, 27, 3)),
}
"""Published networks."""


def parameter_shapes(module: ConvNeXtV2) -> PyTree:
    """Shapes and dtypes of the parameters, without making any."""
    side = PATCH * 2 ** (len(module.widths) - 1)
    return jax.eval_shape(module.init, jax.random.key(0), jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32))[
        "params"
    ]
