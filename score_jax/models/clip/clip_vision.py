"""CLIP's vision transformer (Dosovitskiy et al. 2021, with a norm before the blocks)."""

import flax.linen as nn
import jax.numpy as jnp
from einops import rearrange
from jaxtyping import Array, Float

from score_jax.models.clip.clip_transformer import Block, Tokens, layer_norm, states
from score_jax.typing import Image


class VisionTransformer(nn.Module):
    """An image's patches and a token of the class, which becomes the image's features.

    Attributes:
      image_size: height and width of its images, a multiple of `patch`.
      patch: height and width of a patch.
      width: channels of a token.
      layers: blocks.
      heads: attention heads.
      features: of the output.
    """

    image_size: int
    patch: int
    width: int
    layers: int
    heads: int
    features: int

    def setup(self) -> None:
        """Makes the parts."""
        init = nn.initializers.normal(self.width**-0.5)
        count = (self.image_size // self.patch) ** 2 + 1
        shape = (self.patch, self.patch, 3, self.width)
        self.patches = self.param("patches", nn.initializers.lecun_normal(), shape, jnp.float32)
        self.class_token = self.param("class_token", init, (self.width,), jnp.float32)
        self.position = self.param("position", init, (count, self.width), jnp.float32)
        self.norm_in = layer_norm()
        self.blocks = [Block(self.heads) for _ in range(self.layers)]
        self.norm_out = layer_norm()
        self.projection = self.param("projection", init, (self.width, self.features), jnp.float32)

    def states(self, images: Image) -> tuple[Tokens, ...]:
        """Tokens (b, 1 + patches, width), the class first, before the first block and after each."""
        # Patches are disjoint, so that their convolution is one product of matrices, and its gradient another.
        pixels = rearrange(images, "b (h p) (w q) c -> b (h w) (p q c)", p=self.patch, q=self.patch)
        x = pixels @ self.patches.reshape(-1, self.width)
        first = jnp.broadcast_to(self.class_token.astype(x.dtype), (len(x), 1, self.width))
        x = jnp.concatenate([first, x], axis=1) + self.position[None]
        return states(self.blocks, self.norm_in(x))

    def pooled(self, images: Image) -> Float[Array, "b {self.width}"]:
        """The class token at the end, normalised."""
        return self.norm_out(self.states(images)[-1][:, 0])

    def __call__(self, images: Image) -> Float[Array, "b {self.features}"]:
        """Features of images (b, image_size, image_size, 3)."""
        return self.pooled(images) @ self.projection
