"""NCSNv2 (Song and Ermon 2020): an unconditional RefineNet divided by the noise level (technique 3)."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from score_jax.arrays import broadcast_right
from score_jax.models.blocks.activations import ACTIVATIONS
from score_jax.models.blocks.instance_norm import NORMS
from score_jax.models.choices import check_choices
from score_jax.models.unets.ncsnpp import sigma_of
from score_jax.models.unets.refinenet import TOPOLOGIES, Design, max_pool, refinenet
from score_jax.processes.levels import NoiseLevels
from score_jax.typing import Image, Time


class NCSNv2(nn.Module):
    """The RefineNet of NCSNv2 (Song and Ermon 2020). Its output is the score.

    Attributes:
      channels: base channels (`ngf`).
      levels: the noise levels that labels are indices of.
      variant: "plain" up to 64 pixels, "deeper" for 96 to 128, "deepest" for 256.
      normalization: name of the norm, of `NORMS`.
      activation: name of the activation, of `ACTIVATIONS`.
      centered: the input is in [-1, 1]; otherwise [0, 1] is mapped to it first.
      dtype: compute dtype; parameters, norms and output stay float32.
    """

    channels: int
    levels: NoiseLevels
    variant: str = "plain"
    normalization: str = "instance_plus"
    activation: str = "elu"
    centered: bool = False
    dtype: Any = None

    def __post_init__(self) -> None:
        # Float32 levels, as ermongroup/ncsnv2 has them, are `NoiseLevels(rounded=True)`.
        check_choices(self, {"variant": TOPOLOGIES, "normalization": NORMS, "activation": ACTIVATIONS})
        super().__post_init__()

    @nn.compact
    def __call__(self, x: Image, label: Time, *, train: bool = False) -> Image:
        """The score, like x (b, h, w, c), at level indices (b,) of which 0 is the most noise."""
        wide = jnp.promote_types(x.dtype, jnp.float32)
        kind, activation = NORMS[self.normalization], ACTIVATIONS[self.activation]
        design = Design(lambda name: kind(name=name), None, max_pool, activation, self.dtype)
        x = x if self.centered else 2 * x - 1
        h = refinenet(design, TOPOLOGIES[self.variant], self.channels, x, label).astype(wide)
        return h / broadcast_right(sigma_of(label.astype(wide), self.levels), h)
