"""A small classifier of small images: the features of `fid_digits`."""

import flax.linen as nn
import jax.numpy as jnp
from einops import rearrange
from jaxtyping import Array, Float

from score_jax.typing import Image


class DigitClassifier(nn.Module):
    """Patches of 3 x 3, then two halvings of the resolution, then a hidden layer.

    All layers are matrix products over patches: XLA trains strided convolutions of few channels many times slower on a
    CPU.

    Attributes:
      classes: number of classes.
      feature_dim: width of the hidden layer, whose output are the features.
    """

    classes: int
    feature_dim: int = 64

    @nn.compact
    def __call__(self, x: Image, *, train: bool = False) -> tuple[Float[Array, "b k"], Float[Array, "b d"]]:
        """Logits and features of images x (b, h, w, c) in [0, 1]."""
        _, height, width, _ = x.shape
        padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        shifts = [padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]
        x = nn.relu(nn.Dense(16, name="patches")(jnp.concatenate(shifts, axis=-1)))
        for i, channels in enumerate((32, 64)):
            x = jnp.pad(x, ((0, 0), (0, x.shape[1] % 2), (0, x.shape[2] % 2), (0, 0)))
            x = rearrange(x, "b (h p) (w q) c -> b h w (p q c)", p=2, q=2)
            x = nn.relu(nn.LayerNorm(epsilon=1e-5, name=f"norm_{i}")(nn.Dense(channels, name=f"halve_{i}")(x)))
        x = nn.Dropout(0.3, deterministic=not train)(x.reshape(x.shape[0], -1))
        features = nn.relu(nn.Dense(self.feature_dim, name="features")(x))
        logits = nn.Dense(self.classes, name="logits")(nn.Dropout(0.3, deterministic=not train)(features))
        return logits, features
