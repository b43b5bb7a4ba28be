"""DINOv2: images to features that no labels taught (Oquab et al. 2023, arXiv 2304.07193), with registers where it has
them (Darcet et al. 2023, arXiv 2309.16588).
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from einops import rearrange
from jaxtyping import Array, Float, PyTree

from score_jax.models.blocks.attention import self_attention
from score_jax.models.blocks.layer_norm import layer_norm
from score_jax.typing import Image

PATCH = 14
"""Height and width of a patch in all published models."""
HEAD_CHANNELS = 64
"""Channels of a head in all published models."""
IMAGE_SIZE = 518
"""Height and width of the images whose patches the published position embeddings are of."""
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "vits14": {"width": 384, "layers": 12, "heads": 6},
    "vitb14": {"width": 768, "layers": 12, "heads": 12},
    "vitl14": {"width": 1024, "layers": 24, "heads": 16},
    "vitg14": {"width": 1536, "layers": 40, "heads": 24, "swiglu": True},
}
"""The published networks; each also has a variant with four registers."""
Tokens = Float[Array, "b tokens channels"]
_norm = functools.partial(layer_norm, epsilon=1e-6)


class _Block(nn.Module):
    """Attention, then two layers, each scaled channel by channel and added to its input."""

    heads: int
    swiglu: bool

    @nn.compact
    def __call__(self, x: Tokens) -> Tokens:
        width = x.shape[-1]
        x = x + self._scaled("scale_1", self_attention(_norm("norm_1")(x), self.heads))
        hidden = nn.Dense(hidden_channels(width, self.swiglu), name="hidden")(_norm("norm_2")(x))
        if self.swiglu:
            gate, value = jnp.split(hidden, 2, axis=-1)
            hidden = nn.silu(gate) * value
        else:
            hidden = nn.gelu(hidden, approximate=False)
        return x + self._scaled("scale_2", nn.Dense(width, name="out")(hidden))

    def _scaled(self, name: str, x: Tokens) -> Tokens:
        """LayerScale (Touvron et al. 2021, arXiv 2103.17239)."""
        return x * self.param(name, nn.initializers.ones, (x.shape[-1],), jnp.float32)[None, None]


def hidden_channels(width: int, swiglu: bool) -> int:
    """Output channels of a block's first layer: four times the width, or both halves of SwiGLU's 8/3, each a multiple
    of 8 (Shazeer 2020, arXiv 2002.05202).
    """
    return 2 * ((int(4 * width * 2 / 3) + 7) // 8 * 8) if swiglu else 4 * width


class DINOv2(nn.Module):
    """An image's patches behind a token of the whole image, which becomes its features.

    Attributes:
      image_size: height and width of its images, a multiple of 14.
      width: channels of a token.
      layers: blocks.
      heads: attention heads.
      registers: tokens between the image's and the patches' that belong to no place.
      swiglu: whether the blocks' layers are gated.
    """

    image_size: int
    width: int
    layers: int
    heads: int
    registers: int = 0
    swiglu: bool = False

    def setup(self) -> None:
        """Makes the parts."""
        init, width = nn.initializers.normal(0.02), self.width
        count = (self.image_size // PATCH) ** 2 + 1
        self.patches = nn.Dense(width)
        self.class_token = self.param("class_token", init, (width,), jnp.float32)
        # Stands for hidden patches in training alone; a published file is written back whole.
        self.mask_token = self.param("mask_token", nn.initializers.zeros, (width,), jnp.float32)
        self.position = self.param("position", init, (count, width), jnp.float32)
        if self.registers:
            self.register_tokens = self.param("register_tokens", init, (self.registers, width), jnp.float32)
        self.blocks = [_Block(self.heads, self.swiglu) for _ in range(self.layers)]
        self.norm_out = _norm()

    def tokens(self, images: Image) -> Tokens:
        """All tokens (b, 1 + registers + patches, width) at the end, normalised; arguments as in `__call__`."""
        # Patches are disjoint, so that their convolution is one product of matrices.
        pixels = rearrange(images, "b (h p) (w q) c -> b (h w) (p q c)", p=PATCH, q=PATCH)
        x = self.patches(pixels) + self.position[None, 1:]
        first = [(self.class_token + self.position[0])[None]]
        if self.registers:
            first.append(self.register_tokens)
        before = jnp.concatenate(first)[None]
        x = jnp.concatenate([jnp.broadcast_to(before, (len(x), *before.shape[1:])).astype(x.dtype), x], axis=1)
        for block in self.blocks:
            x = block(x)
        return self.norm_out(x)

    def __call__(self, images: Image) -> Float[Array, "b {self.width}"]:
        """Features of images (b, image_size, image_size, 3), over ImageNet's mean and standard deviation: the token of
        the whole image at the end, normalised.
        """
        return self.tokens(images)[:, 0]


def dinov2(name: str, *, registers: int = 0, image_size: int = IMAGE_SIZE) -> DINOv2:
    """Makes a published network, a key of `ARCHITECTURES`, for images of a size."""
    return DINOv2(image_size, registers=registers, **ARCHITECTURES[name])


def architecture_of(module: DINOv2) -> str | None:
    """Returns what a published network is called, such as "vitl14" or "vitb14_reg"; None of any other."""
    for name in ARCHITECTURES:
        for registers, suffix in ((0, ""), (4, "_reg")):
            if dinov2(name, registers=registers, image_size=module.image_size) == module:
                return name + suffix
    return None


def parameter_shapes(module: DINOv2) -> PyTree:
    """Shapes and dtypes of the parameters, without making any."""
    images = jax.ShapeDtypeStruct((1, module.image_size, module.image_size, 3), jnp.float32)
    return jax.eval_shape(module.init, jax.random.key(0), images)["params"]
