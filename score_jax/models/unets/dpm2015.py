"""Networks of the toy experiments of Sohl-Dickstein et al. 2015 (appendix D.1).

What their readouts mean is in `prediction/kernels.py`. Levels count from 0, the paper's t = 1, whose reverse step is
fixed: networks are asked about t >= 1.

Every network takes x (b, ..., d) and one level per leading row, t (b,): rows may hold many points of one level, so that
a readout of its own per level is a matrix product and no gather of a matrix per point.
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.nn.initializers import Initializer
from jaxtyping import Array, Float

from score_jax.typing import Batch, Time


def temporal_bumps(t: Time, num_levels: int, count: int, width: float = 1.0) -> Float[Array, "b {count}"]:
    """Weights g_j(t), each a Gaussian bump in t, summing to one over j (appendix D.2.3).

    Args:
      t: levels (b,).
      num_levels: T; the centres are spread over it.
      count: J >= 2.
      width: standard deviation of a bump over the distance of two centres: 1 in the paper, 1/2 in the authors' code.
    """
    centres = jnp.linspace(0.0, num_levels - 1.0, count)
    distance = (num_levels - 1) / (count - 1)
    return jax.nn.softmax(-0.5 * ((t[:, None] - centres[None]) / (width * distance)) ** 2, axis=1)


class NormalisedRBF(nn.Module):
    """The network of the swiss roll: normalised radial basis functions, a linear readout per level (appendix D.1.1).

    The hidden layer is shared by all levels and by mean and variance.

    Attributes:
      num_levels: T, the number of levels.
      units: number of basis functions; 16 in the paper.
      centres: initialiser of the centres (units, d); of the data's law is best.
      width: initial standard deviation of the basis functions.
    """

    num_levels: int
    units: int = 16
    centres: Initializer = nn.initializers.normal(1.0)
    width: float = 0.5

    @nn.compact
    def __call__(self, x: Batch, t: Time) -> tuple[Batch, Batch]:
        """z and s, each like x (b, ..., d), at levels t (b,) >= 1."""
        dim, readouts = x.shape[-1], self.num_levels - 1
        centres = self.param("centres", self.centres, (self.units, dim))
        log_width = self.param("log_width", nn.initializers.constant(jnp.log(self.width)), (self.units,))
        kernel = self.param("kernel", nn.initializers.zeros, (readouts, self.units, 2 * dim))
        bias = self.param("bias", nn.initializers.zeros, (readouts, 2 * dim))
        flat = x.reshape(x.shape[0], -1, dim)
        # |x - c|² by its three terms would lose the digits that matter where the noise is small.
        squares = sum((flat[:, :, i, None] - centres[None, None, :, i]) ** 2 for i in range(dim))
        hidden = jax.nn.softmax(-0.5 * squares * jnp.exp(-2 * log_width)[None, None], axis=-1)
        level = jnp.maximum(t.astype(jnp.int32) - 1, 0)
        out = jnp.einsum("bnu,buo->bno", hidden, kernel[level]) + bias[level][:, None]
        z, s = jnp.split(out, 2, axis=-1)
        return z.reshape(x.shape), s.reshape(x.shape)


class BitMLP(nn.Module):
    """The network of the heartbeat: a perceptron for all levels, whose readout varies with t (appendix D.1.2).

    The paper has one readout per level. Here the readout is a blend of temporal bumps, which the paper uses for images:
    it has a hundredth of the weights and learns the same in a tenth of the time.

    Attributes:
      num_levels: T, the number of levels.
      features: widths of the hidden layers.
      bumps: J, the number of temporal bumps of the readout.
      activation: of the hidden layers; the sigmoid in the paper.
    """

    num_levels: int
    features: tuple[int, ...] = (50, 50, 50)
    bumps: int = 20
    activation: Callable[[Array], Array] = nn.silu

    @nn.compact
    def __call__(self, x: Batch, t: Time) -> Batch:
        """Logits like x (b, ..., d), at levels t (b,) >= 1."""
        dim = x.shape[-1]
        hidden = 2 * x.reshape(x.shape[0], -1, dim) - 1
        for i, width in enumerate(self.features):
            hidden = self.activation(nn.Dense(width, name=f"hidden_{i}")(hidden))
        readout = nn.Dense(dim * self.bumps, kernel_init=nn.initializers.zeros, name="readout")(hidden)
        weights = temporal_bumps(t, self.num_levels, self.bumps)
        return jnp.einsum("bnij,bj->bni", readout.reshape(*hidden.shape[:2], dim, self.bumps), weights).reshape(x.shape)
