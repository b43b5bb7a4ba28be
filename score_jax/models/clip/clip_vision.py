"""CLIP's vision transformer (Dosovitskiy et al. 2021, with a norm before the blocks)."""

import flax.linen as nn
import jax.numpy as jnp
from einops import rearrange
from jaxtyping import Array, Float

from score_jax.models.blocks.cpu_convolution import Conv
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
      stem: channels of the first of the convolutions that make the tokens, each of which halves the image and doubles
        the channels (Xiao et al. 2021, arXiv 2106.14881): small networks learn shapes faster by them; 0: one product of
        each patch.
      activation: of the blocks, key of `clip_transformer.ACTIVATIONS`.
    """

    image_size: int
    patch: int
    width: int
    layers: int
    heads: int
    features: int
    stem: int = 0
    activation: str = "quick_gelu"

    def setup(self) -> None:
        """Makes the parts."""
        init = nn.initializers.normal(self.width**-0.5)
        count = (self.image_size // self.patch) ** 2 + 1
        if self.stem:
            halvings = self.patch.bit_length() - 1
            self.convolutions = [Conv(self.stem * 2**i, (3, 3), strides=(2, 2), padding=1) for i in range(halvings)]
            self.stem_out = nn.Dense(self.width)
        else:
            shape = (self.patch, self.patch, 3, self.width)
            self.patches = self.param("patches", nn.initializers.lecun_normal(), shape, jnp.float32)
        self.class_token = self.param("class_token", init, (self.width,), jnp.float32)
        self.position = self.param("position", init, (count, self.width), jnp.float32)
        self.norm_in = layer_norm()
        self.blocks = [Block(self.heads, self.activation) for _ in range(self.layers)]
        self.norm_out = layer_norm()
        self.projection = self.param("projection", init, (self.width, self.features), jnp.float32)

    def states(self, images: Image) -> tuple[Tokens, ...]:
        """Tokens (b, 1 + patches, width), the class first, before the first block and after each."""
        x = self._tokens(images)
        first = jnp.broadcast_to(self.class_token.astype(x.dtype), (len(x), 1, self.width))
        x = jnp.concatenate([first, x], axis=1) + self.position[None]
        return states(self.blocks, self.norm_in(x))

    def _tokens(self, images: Image) -> Tokens:
        """Of patches, or of what convolutions make of them and of what is around them."""
        if self.stem:
            x = images
            for convolution in self.convolutions:
                x = nn.relu(convolution(x))
            return self.stem_out(rearrange(x, "b h w c -> b (h w) c"))
        # Patches are disjoint, so that their convolution is one product of matrices, and its gradient another.
        pixels = rearrange(images, "b (h p) (w q) c -> b (h w) (p q c)", p=self.patch, q=self.patch)
        return pixels @ self.patches.reshape(-1, self.width)

    def pooled(self, images: Image) -> Float[Array, "b {self.width}"]:
        """The class token at the end, normalised."""
        return self.norm_out(self.states(images)[-1][:, 0])

    def __call__(self, images: Image) -> Float[Array, "b {self.features}"]:
        """Features of images (b, image_size, image_size, 3)."""
        return self.pooled(images) @ self.projection
