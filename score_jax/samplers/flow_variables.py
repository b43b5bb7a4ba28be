"""In which variable, and in which scale of x, the probability flow is integrated.

The flow dx/dt = alpha' x0 + sigma' eps may be integrated in any increasing function u of t, for any z = x / scale(t):

    dz/du = of_x0(u) x0 + of_eps(u) eps,        log p(x_t) = log p(z) - d log scale

With r = sigma / alpha, z = x / sqrt(spread² alpha² + sigma²) and tan(phi) = r / spread, the flow of any process is

    dz/dphi = cos(phi) eps - sin(phi) x0 / spread

which is the velocity of Salimans and Ho 2022 (v) and of Zheng et al. 2023 (i-DODE, arXiv 2305.03935). It is 0 where the
data are normal with this spread: the scale's part of the divergence is in closed form, and what the solver has left to
do is the data's departure from a normal law.
"""

import dataclasses
from typing import NamedTuple, Protocol, runtime_checkable

import jax.numpy as jnp
from jax.typing import DTypeLike

from score_jax.processes.gaussian import GaussianProcess, Level

_SPREAD = 0.5
"""Standard deviation of the data for which the flow would stand still: that of images in [-1, 1], about."""
_MOST = 1e1
"""Noise to signal from where on the variable is nearly flat: there is little to do where all is noise."""
_FIRST = 0.5
"""Of the noise at the start, what the logarithm sees of it: so much shorter are the first steps, whose order is low."""
_NO_NOISE = 1e-5
"""Noise to signal in place of none."""


class Place(NamedTuple):
    """Of a position u: the time, x over z there, and what dz/du has of x0 and of eps."""

    t: Level
    scale: Level
    of_x0: Level
    of_eps: Level


@runtime_checkable
class FlowVariables(Protocol):
    """A variable and a scale."""

    def position(self, process: GaussianProcess, t: Level) -> Level:
        """u at a time."""

    def scale(self, process: GaussianProcess, t: Level) -> Level:
        """x over z at a time."""

    def place(self, process: GaussianProcess, u: Level) -> Place:
        """What there is at u."""

    def first_step(self, process: GaussianProcess, t0: float) -> float:
        """Length in u of the first of adaptive steps from the time t0."""


@dataclasses.dataclass(frozen=True)
class InTime:
    """The process's own time, and x itself, as in Song et al. 2021."""

    def position(self, process: GaussianProcess, t: Level) -> Level:
        """The time."""
        return t

    def scale(self, process: GaussianProcess, t: Level) -> Level:
        """One."""
        return jnp.ones_like(t)

    def place(self, process: GaussianProcess, u: Level) -> Place:
        """alpha' and sigma'."""
        return Place(u, jnp.ones_like(u), *process.rates(u))

    def first_step(self, process: GaussianProcess, t0: float) -> float:
        """The process's."""
        return process.first_step(t0)


IN_TIME = InTime()


@dataclasses.dataclass(frozen=True)
class InLogSNR:
    """u = log g - log(1 + g / 10), where g = r - r(start) / 2: minus half the log-SNR, but for both ends.

    Attributes:
      start: the least time.
    """

    start: float

    def _left_out(self, process: GaussianProcess, dtype: DTypeLike) -> Level:
        first = process.noise_to_signal(jnp.asarray(self.start, dtype))
        return first - jnp.maximum(_FIRST * first, _NO_NOISE)

    def position(self, process: GaussianProcess, t: Level) -> Level:
        """The u of the noise-to-signal ratio at a time."""
        grown = process.noise_to_signal(t) - self._left_out(process, t.dtype)
        return jnp.log(grown) - jnp.log1p(grown / _MOST)

    def scale(self, process: GaussianProcess, t: Level) -> Level:
        """Standard deviation of x_t of data with the spread that is assumed."""
        return jnp.hypot(_SPREAD * process.alpha(t), process.sigma(t))

    def place(self, process: GaussianProcess, u: Level) -> Place:
        """The velocity, times dphi/du."""
        share = jnp.exp(u) / _MOST
        grown = share * _MOST / (1 - share)
        ratio = jnp.maximum(grown + self._left_out(process, u.dtype), 0.0)
        t = jnp.clip(process.time_at(ratio), 0.0, process.t_max)
        root = jnp.hypot(jnp.asarray(_SPREAD, u.dtype), ratio)
        rate = _SPREAD * grown * (1 + grown / _MOST) / root**2
        return Place(t, self.scale(process, t), -rate * ratio / (root * _SPREAD), rate * _SPREAD / root)

    def first_step(self, process: GaussianProcess, t0: float) -> float:
        """A tenth, which is a tenth of the noise."""
        return 0.1
