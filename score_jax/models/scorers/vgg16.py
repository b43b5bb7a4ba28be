"""VGG16: images to the features of its blocks, or to those of its last hidden layer (Simonyan and Zisserman 2015)."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from einops import rearrange
from jaxtyping import Array, Float, PyTree

from score_jax.models.blocks.convolution import conv

Widths = tuple[tuple[int, int], tuple[int, int], tuple[int, int, int], tuple[int, int, int], tuple[int, int, int]]
"""Output channels of each convolution of the five blocks."""
VGG16_WIDTHS: Widths = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
HIDDEN = 4096
"""Numbers of each hidden layer, as published."""
SIZE = 224
"""Height and width of the images that the hidden layers are for."""
POOLED = SIZE // 2**5
"""Height and width of the maps after the last pool."""
Maps = Float[Array, "_ _ _ _"]


class VGG16(nn.Module):
    """The convolutions of VGG16.

    Attributes:
      widths: published, or others for tests.
    """

    widths: Widths = VGG16_WIDTHS

    @nn.compact
    def __call__(self, x: Float[Array, "b h w 3"]) -> list[Maps]:
        """relu1_2, relu2_2, relu3_3, relu4_3 and relu5_3: (b, h, w, c) to (b, h / 16, w / 16, c'), rounded down."""
        features: list[Maps] = []
        for block, widths in enumerate(self.widths, 1):
            if features:
                x = nn.max_pool(x, (2, 2), (2, 2))
            for i, width in enumerate(widths, 1):
                x = nn.relu(conv(x.shape[-1], width, 3, f"conv{block}_{i}")(x))
            features.append(x)
        return features


class VGG16Hidden(nn.Module):
    """VGG16 up to its second hidden layer; the classes are left out.

    Attributes:
      widths: of the convolutions.
      hidden: numbers of both hidden layers.
    """

    widths: Widths = VGG16_WIDTHS
    hidden: int = HIDDEN

    @nn.compact
    def __call__(self, images: Float[Array, "b 224 224 3"]) -> Float[Array, "b {self.hidden}"]:
        """The second hidden layer after its ReLU, of images over ImageNet's mean and standard deviation."""
        maps = nn.max_pool(VGG16(self.widths, name="vgg")(images)[-1], (2, 2), (2, 2))
        x = rearrange(maps, "b h w c -> b (h w c)")
        for name in ("hidden_1", "hidden_2"):
            x = nn.relu(nn.Dense(self.hidden, name=name)(x))
        return x


def parameter_shapes(module: VGG16Hidden) -> PyTree:
    """Shapes and dtypes of the parameters, without making any."""
    images = jax.ShapeDtypeStruct((1, SIZE, SIZE, 3), jnp.float32)
    return jax.eval_shape(module.init, jax.random.key(0), images)["params"]
