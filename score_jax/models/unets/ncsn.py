"""NCSN (Song and Ermon 2019): the score at each of a few noise levels, with the level's index in every norm."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from score_jax.models.blocks.activations import ACTIVATIONS
from score_jax.models.blocks.instance_norm import COEFFICIENTS, NORMS, ConditionalNorm
from score_jax.models.choices import check_choices
from score_jax.models.unets.refinenet import TOPOLOGIES, Design, average_pool, refinenet
from score_jax.typing import Image, Time


class NCSN(nn.Module):
    """The conditional RefineNet of NCSN (Song and Ermon 2019). Its output is the score.

    Attributes:
      channels: base channels (`ngf`).
      num_levels: number of noise levels; None: the unconditional baseline, whose norms do not depend on the level.
      topology: key of `TOPOLOGIES`: "plain", or "deeper", as in the class of five stages of the original code.
      normalization: key of `COEFFICIENTS` (without levels, of `NORMS`): "instance_plus", or "instance", as in the
        class of five stages.
      activation: name of the activation, of `ACTIVATIONS`.
      centered: the input is in [-1, 1]; otherwise [0, 1] is mapped to it first.
      dtype: compute dtype; parameters, norms and output stay float32.
    """

    channels: int
    num_levels: int | None
    topology: str = "plain"
    normalization: str = "instance_plus"
    activation: str = "elu"
    centered: bool = False
    dtype: Any = None

    def __post_init__(self) -> None:
        normalizations = NORMS if self.num_levels is None else COEFFICIENTS
        choices = {"topology": TOPOLOGIES, "normalization": normalizations, "activation": ACTIVATIONS}
        check_choices(self, choices)
        super().__post_init__()

    @nn.compact
    def __call__(self, x: Image, label: Time, *, train: bool = False) -> Image:
        """The score, like x (b, h, w, c), at level indices (b,) of which 0 is the most noise."""

        def norm(name: str) -> nn.Module:
            if self.num_levels is None:
                return NORMS[self.normalization](name=name)
            return ConditionalNorm(self.num_levels, self.normalization, name=name)

        wide = jnp.promote_types(x.dtype, jnp.float32)
        design = Design(norm, norm, average_pool, ACTIVATIONS[self.activation], self.dtype)
        x = x if self.centered else 2 * x - 1
        return refinenet(design, TOPOLOGIES[self.topology], self.channels, x, label).astype(wide)
