"""Preconditionings: a denoiser D from a raw network F (Karras et al. 2022, arXiv 2206.00364, eq 7 and table 1).

    D(x; sigma) = c_skip x + c_out F(c_in x; c_noise),   x = x0 + sigma eps

One for networks trained as EDM, and three for those of Song et al. 2021 (VP, VE) and of improved diffusion (iDDPM).
"""

import dataclasses
import functools
import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from score_jax.arrays import broadcast_right
from score_jax.errors import InputError
from score_jax.typing import Apply, Batch, Params, Time

Level = Float[Array, "*b"]
"""A noise level or a function of it, of any shape."""


class Coefficients(NamedTuple):
    """The four functions of sigma, at a sigma (*b)."""

    c_skip: Level
    c_out: Level
    c_in: Level
    c_noise: Level


@dataclasses.dataclass(frozen=True)
class EDMPreconditioning:
    """The preconditioning of EDM: the network's input and target have unit variance at every noise level.

    Attributes:
      sigma_data: standard deviation of the data.
      sigma_min: smallest noise level of the network's input.
      sigma_max: largest noise level of the network's input.
    """

    sigma_data: float = 0.5
    sigma_min: float = 0.0
    sigma_max: float = math.inf

    def coefficients(self, sigma: Level) -> Coefficients:
        """At sigma > 0 (*b)."""
        variance = jnp.square(sigma) + self.sigma_data**2
        return Coefficients(
            c_skip=self.sigma_data**2 / variance,
            c_out=sigma * self.sigma_data / jnp.sqrt(variance),
            c_in=1 / jnp.sqrt(variance),
            c_noise=jnp.log(sigma) / 4,
        )

    def round_sigma(self, sigma: Level) -> Level:
        """The nearest noise level that the network knows: any."""
        return sigma


@dataclasses.dataclass(frozen=True)
class VPPreconditioning:
    """For networks that predict eps from the scaled image at time t of Song et al.'s VP SDE.

    Attributes:
      beta_d: slope of beta(t): beta_max - beta_min.
      beta_min: beta(0).
      M: number of steps of the discrete model; the label is (M - 1) t.
      epsilon_t: smallest time in training, which sets `sigma_min`.
    """

    beta_d: float = 19.9
    beta_min: float = 0.1
    M: int = 1000
    epsilon_t: float = 1e-5

    @property
    def sigma_min(self) -> float:
        """Noise level at `epsilon_t`."""
        return math.sqrt(math.expm1(self._integral(self.epsilon_t)))

    @property
    def sigma_max(self) -> float:
        """Noise level at t = 1."""
        return math.sqrt(math.expm1(self._integral(1.0)))

    def _integral(self, t):
        """Of beta from 0 to t."""
        return 0.5 * self.beta_d * t**2 + self.beta_min * t

    def sigma(self, t: Level) -> Level:
        """Noise level, over the signal's scale, at times t."""
        return jnp.sqrt(jnp.expm1(self._integral(t)))

    def time(self, sigma: Level) -> Level:
        """The t at which the noise level is sigma."""
        integral = jnp.log1p(jnp.square(sigma))
        # The root of a quadratic, in the form without cancellation at small sigma.
        return 2 * integral / (jnp.sqrt(self.beta_min**2 + 2 * self.beta_d * integral) + self.beta_min)

    def coefficients(self, sigma: Level) -> Coefficients:
        """At sigma (*b)."""
        return Coefficients(
            c_skip=jnp.ones_like(sigma),
            c_out=-sigma,
            c_in=1 / jnp.sqrt(jnp.square(sigma) + 1),
            c_noise=(self.M - 1) * self.time(sigma),
        )

    def round_sigma(self, sigma: Level) -> Level:
        """The nearest noise level that the network knows: any."""
        return sigma


@dataclasses.dataclass(frozen=True)
class VEPreconditioning:
    """For networks of Song et al.'s VE SDE. Their label is sigma of data in [0, 1], which is half of ours.

    Attributes:
      sigma_min: smallest noise level of the network's input.
      sigma_max: largest noise level of the network's input.
    """

    sigma_min: float = 0.02
    sigma_max: float = 100.0

    def coefficients(self, sigma: Level) -> Coefficients:
        """At sigma > 0 (*b)."""
        return Coefficients(jnp.ones_like(sigma), sigma, jnp.ones_like(sigma), jnp.log(sigma / 2))

    def round_sigma(self, sigma: Level) -> Level:
        """The nearest noise level that the network knows: any."""
        return sigma


@dataclasses.dataclass(frozen=True)
class IDDPMPreconditioning:
    """For networks of improved diffusion, which predict eps (and a variance) at the steps of a cosine schedule.

    Attributes:
      C_1: lower bound of the ratio of successive alpha_bars, which bounds the last steps' noise.
      C_2: offset of the cosine.
      M: number of steps.
      u: the levels u_0 > ... > u_M = 0 that come with released weights. They were computed in float32, with errors of
        up to 5e-4 of the smallest levels. None: the levels are computed in float64.

    Raises:
      InputError: `u` has not M + 1 levels.
    """

    C_1: float = 0.001
    C_2: float = 0.008
    M: int = 1000
    u: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.u is not None and len(self.u) != self.M + 1:
            raise InputError(f"prediction.u has {len(self.u)} levels: expected M + 1 = {self.M + 1}.")

    @functools.cached_property
    def levels(self) -> Float[np.ndarray, "levels"]:
        """u_0 > ... > u_M = 0, float64."""
        if self.u is not None:
            return np.asarray(self.u, np.float64)
        alpha_bar = np.sin(0.5 * np.pi * np.arange(self.M + 1) / (self.M * (self.C_2 + 1))) ** 2
        ratios = np.maximum(alpha_bar[:-1] / alpha_bar[1:], self.C_1)
        # u_{j-1}² + 1 = (u_j² + 1) / ratio_j from u_M = 0: a cumulative product from the end.
        log_growth = np.cumsum(-np.log(ratios[::-1]))[::-1]
        return np.append(np.sqrt(np.expm1(log_growth)), 0.0)

    @property
    def sigma_min(self) -> float:
        """The smallest level above 0."""
        return float(self.levels[self.M - 1])

    @property
    def sigma_max(self) -> float:
        """The largest level."""
        return float(self.levels[0])

    def index(self, sigma: Level) -> Int[Array, "*b"]:
        """Of the nearest level; halfway between two, of the larger."""
        midpoints = (self.levels[1:] + self.levels[:-1]) / 2
        return jnp.searchsorted(jnp.asarray(-midpoints, sigma.dtype), -sigma)

    def round_sigma(self, sigma: Level) -> Level:
        """The nearest noise level that the network knows."""
        return jnp.asarray(self.levels, sigma.dtype)[self.index(sigma)]

    def coefficients(self, sigma: Level) -> Coefficients:
        """At sigma (*b)."""
        return Coefficients(
            c_skip=jnp.ones_like(sigma),
            c_out=-sigma,
            c_in=1 / jnp.sqrt(jnp.square(sigma) + 1),
            c_noise=(self.M - 1 - self.index(sigma)).astype(sigma.dtype),
        )


Preconditioning = EDMPreconditioning | VPPreconditioning | VEPreconditioning | IDDPMPreconditioning
PRECONDITIONINGS: dict[str, type[Preconditioning]] = {
    "edm": EDMPreconditioning,
    "vp": VPPreconditioning,
    "ve": VEPreconditioning,
    "iddpm": IDDPMPreconditioning,
}


def denoise(preconditioning: Preconditioning, apply: Apply, params: Params, x: Batch, sigma: Time, **kwargs) -> Batch:
    """Returns D(x; sigma), the estimate of x0.

    Args:
      preconditioning: the network's.
      apply: the raw network, called as `apply(params, x, c_noise, **kwargs)`.
      params: its parameters.
      x: noisy data (b, ..., c), x0 + sigma eps.
      sigma: noise levels (b,), positive.
      **kwargs: of the network: labels, `train`, `rngs`.
    """
    c_skip, c_out, c_in, c_noise = preconditioning.coefficients(sigma)
    output = apply(params, broadcast_right(c_in, x) * x, c_noise, **kwargs)
    # The channels after x's are the variance that iDDPM's networks predict, which sampling by ODE or SDE ignores.
    return broadcast_right(c_skip, x) * x + broadcast_right(c_out, x) * output[..., : x.shape[-1]]
