"""A chain of levels as a process in continuous time, so that its model has a probability-flow ODE."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from score_jax.processes.chain import Chain
from score_jax.processes.gaussian import GaussianProcess, Level
from score_jax.typing import Scalar


def _smooth(values: Float[Array, "n"], t: Level) -> Level:
    """Cubic Hermite interpolation of values at 0, 1, ..., with centred differences for slopes."""
    slopes = jnp.gradient(values)
    left = jnp.clip(jnp.floor(t), 0, len(values) - 2).astype(jnp.int32)
    u = t - left
    rise = values[left + 1] - values[left]
    start, end = slopes[left] - rise, rise - slopes[left + 1]
    return values[left] + u * rise + u * (1 - u) * ((1 - u) * start + u * end)


@functools.partial(jax.tree_util.register_dataclass, data_fields=["chain"], meta_fields=[])
@dataclasses.dataclass(frozen=True, eq=False)
class Interpolated(GaussianProcess):
    """A chain whose index runs continuously from 0 to N - 1; at whole numbers its levels are the chain's own.

    Attributes:
      chain: at least two levels.
    """

    chain: Chain

    def log_alpha(self, t: Level) -> Level:
        """Between those of the neighbouring levels."""
        return _smooth(jnp.asarray(self.chain.log_alphas, t.dtype), t)

    def sigma(self, t: Level) -> Level:
        """Its logarithm between those of the neighbouring levels."""
        return jnp.exp(_smooth(jnp.log(jnp.asarray(self.chain.sigmas, t.dtype)), t))

    def time_at(self, noise_to_signal: Level) -> Level:
        """By linear interpolation of its logarithm: near enough to ask a network, not to invert `noise_to_signal`."""
        levels = jnp.arange(self.t_max + 1)
        return jnp.interp(jnp.log(noise_to_signal), -0.5 * self.chain.log_snr(levels), levels)

    @property
    def prior_std(self) -> Scalar:
        """The chain's."""
        return self.chain.prior_std

    @property
    def t_max(self) -> float:
        """The chain's last index."""
        return self.chain.t_max
