"""Vision transformers (Dosovitskiy et al. 2021, arXiv 2010.11929) whose features metrics take: MAE's encoder (He et al.
2022, arXiv 2111.06377) and SigLIP 2's tower of images (Tschannen et al. 2025, arXiv 2502.14786).
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
from einops import rearrange
from jaxtyping import Array, Float, PyTree

from score_jax.models.blocks.attention import attend, self_attention
from score_jax.models.blocks.layer_norm import layer_norm
from score_jax.typing import Image

PATCH = 16
"""Height and width of a patch in all of them."""
Tokens = Float[Array, "b tokens channels"]
_norm = functools.partial(layer_norm, epsilon=1e-6)


def _layers(x: Tokens, hidden: int, tanh: bool) -> Tokens:
    """Two layers with GELU between them, within a compact module."""
    width = x.shape[-1]
    return nn.Dense(width, name="out")(nn.gelu(nn.Dense(hidden, name="hidden")(x), approximate=tanh))


class _Block(nn.Module):
    """Attention, then two layers, each added to its input."""

    heads: int
    hidden: int
    tanh: bool

    @nn.compact
    def __call__(self, x: Tokens) -> Tokens:
        x = x + self_attention(_norm("norm_1")(x), self.heads)
        return x + _layers(_norm("norm_2")(x), self.hidden, self.tanh)


class _Pool(nn.Module):
    """Attention of one learned query over all tokens, then two layers that are added."""

    heads: int
    hidden: int

    @nn.compact
    def __call__(self, x: Tokens) -> Float[Array, "b channels"]:
        width = x.shape[-1]
        latent = self.param("latent", nn.initializers.normal(0.02), (width,), jnp.float32)
        query = jnp.broadcast_to(nn.Dense(width, name="query")(latent[None, None]), (len(x), 1, width))
        k, v = rearrange(nn.Dense(2 * width, name="key_value")(x), "b n (kv h d) -> kv b n h d", kv=2, h=self.heads)
        attended = attend(rearrange(query, "b n (h d) -> b n h d", h=self.heads), k, v)
        pooled = nn.Dense(width, name="attention_out")(rearrange(attended, "b n h d -> b n (h d)"))
        return (pooled + _layers(_norm("norm")(pooled), self.hidden, True))[:, 0]


class ViT(nn.Module):
    """An image's patches, of which one vector of features is made.

    Attributes:
      image_size: height and width of its images, a multiple of 16.
      width: channels of a token.
      layers: blocks.
      heads: attention heads.
      hidden: channels between a block's two layers.
      pooled: as in SigLIP the attention of a learned query over all tokens makes the features, and GELU is its
        approximation by tanh; otherwise, as in MAE, a token before those of the patches does.
    """

    image_size: int
    width: int
    layers: int
    heads: int
    hidden: int
    pooled: bool = False

    def setup(self) -> None:
        """Makes the parts."""
        init, count = nn.initializers.normal(0.02), (self.image_size // PATCH) ** 2
        self.patches = nn.Dense(self.width)
        if not self.pooled:
            self.class_token = self.param("class_token", init, (self.width,), jnp.float32)
        self.position = self.param("position", init, (count + self.first, self.width), jnp.float32)
        self.blocks = [_Block(self.heads, self.hidden, self.pooled) for _ in range(self.layers)]
        self.norm_out = _norm()
        if self.pooled:
            self.pool = _Pool(self.heads, self.hidden)

    @property
    def first(self) -> int:
        """Tokens before those of the patches."""
        return 0 if self.pooled else 1

    def __call__(self, images: Image) -> Float[Array, "b {self.width}"]:
        """Features of images (b, image_size, image_size, 3), normalised as the network's were in training."""
        # Patches are disjoint, so that their convolution is one product of matrices.
        pixels = rearrange(images, "b (h p) (w q) c -> b (h w) (p q c)", p=PATCH, q=PATCH)
        x = self.patches(pixels)
        if not self.pooled:
            first = jnp.broadcast_to(self.class_token.astype(x.dtype), (len(x), 1, self.width))
            x = jnp.concatenate([first, x], axis=1)
        x = x + self.position[None]
        for block in self.blocks:
            x = block(x)
        x = self.norm_out(x)
        return self.pool(x) if self.pooled else x[:, 0]


MAE = {
    "vitb16": ViT(224, width=768, layers=12, heads=12, hidden=3072),
    "vitl16": ViT(224, width=1024, layers=24, heads=16, hidden=4096),
}
"""Published encoders of MAE."""
SIGLIP2 = {
    "vitb16": ViT(256, width=768, layers=12, heads=12, hidden=3072, pooled=True),
    "vitl16": ViT(256, width=1024, layers=24, heads=16, hidden=4096, pooled=True),
    "vitso16": ViT(256, width=1152, layers=27, heads=16, hidden=4304, pooled=True),
}
"""Published towers of images of SigLIP 2 at 256 x 256 pixels; the last is called So400m there."""


def parameter_shapes(module: ViT) -> PyTree:
    """Shapes and dtypes of the parameters, without making any."""
    images = jax.ShapeDtypeStruct((1, module.image_size, module.image_size, 3), jnp.float32)
    return jax.eval_shape(module.init, jax.random.key(0), images)["params"]
