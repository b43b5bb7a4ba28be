"""Gaussian diffusion: one concept, `x_t = alpha(t) x0 + sigma(t) eps`, and its members.

A process is two functions of time. Everything else follows (t in (0, 1], eps ~ N(0, I)):

    q(x_t | x0) = N(alpha x0, sigma² I)                                      (1) marginal
    dx = f x dt + g dw                                                       (2) forward SDE
    f  = alpha' / alpha = (log alpha)'                                       (3) drift rate
    g² = (sigma²)' - 2 f sigma² = 2 sigma (sigma' - f sigma)                 (4) diffusion rate, squared
    dx = [f x - g² score] dt + g dw_bar                                      (5) reverse SDE (Anderson 1982)
    dx = [f x - g² score / 2] dt                                             (6) probability-flow ODE
    q(x_t | x_s) = N(a x_s, b² I), a = alpha_t / alpha_s, b² = sigma_t² - a² sigma_s²   (7) kernel, s < t
    log_snr = 2 log(alpha / sigma)                                           (8)
    q(x_s | x_t, x0) = N((a sigma_s² x_t + alpha_s b² x0) / sigma_t², b² sigma_s² / sigma_t²)   (9) posterior, s < t

(3) and (4) reproduce the drift and diffusion that Song et al. 2021 (arXiv 2011.13456, eqs 9, 11, 12) give for VE, VP
and sub-VP, so members state (log_alpha, sigma) alone. In the form (4) no two large terms cancel.
"""

import abc
import dataclasses
import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from score_jax.arrays import broadcast_right, normal_per_example, sum_per_example
from score_jax.typing import Batch, KeyBatch, Scalar, Time

Level = Float[Array, "*b"]
"""A time or a function of it, of any shape."""


def _derivative(fn, t: Level) -> Level:
    """d fn / dt elementwise."""
    return jax.jvp(fn, (t,), (jnp.ones_like(t),))[1]


class NoiseSchedule(abc.ABC):
    """x_t = alpha(t) x0 + sigma(t) eps, for t that may be a time or the index of a level.

    Members are final and define `log_alpha`, `sigma`, `prior_std` and `t_max`; the rest is derived once.
    """

    @abc.abstractmethod
    def log_alpha(self, t: Level) -> Level:
        """Log of the signal scale."""

    @abc.abstractmethod
    def sigma(self, t: Level) -> Level:
        """Standard deviation of the noise in x_t."""

    @property
    @abc.abstractmethod
    def prior_std(self) -> Scalar:
        """Standard deviation of the N(0, prior_std² I) that stands for the law of x at `t_max`."""

    @property
    @abc.abstractmethod
    def t_max(self) -> float:
        """The most noise."""

    def alpha(self, t: Level) -> Level:
        """Signal scale."""
        return jnp.exp(self.log_alpha(t))

    def log_snr(self, t: Level) -> Level:
        """Equation (8)."""
        return 2 * (self.log_alpha(t) - jnp.log(self.sigma(t)))

    def kernel(self, t: Level, s: Level) -> tuple[Level, Level]:
        """Scale `a` and variance `b²` of x_t given x_s, s <= t: equation (7)."""
        a = jnp.exp(self.log_alpha(t) - self.log_alpha(s))
        return a, jnp.maximum(self.sigma(t) ** 2 - (a * self.sigma(s)) ** 2, 0.0)

    def perturb(self, x0: Batch, t: Time, eps: Batch) -> Batch:
        """x_t from data (b, ...), times (b,) and noise: equation (1)."""
        return broadcast_right(self.alpha(t), x0) * x0 + broadcast_right(self.sigma(t), x0) * eps

    def posterior(self, x: Batch, x0: Batch, t: Time, s: Time) -> tuple[Batch, Float[Array, "b"]]:
        """Mean (b, ...) and variance (b,) of x_s given x_t = x and x0, s < t: equation (9)."""
        a, b2 = self.kernel(t, s)
        sigma2_s, sigma2_t = self.sigma(s) ** 2, self.sigma(t) ** 2
        of_x, of_x0 = a * sigma2_s / sigma2_t, self.alpha(s) * b2 / sigma2_t
        return broadcast_right(of_x, x) * x + broadcast_right(of_x0, x) * x0, b2 * sigma2_s / sigma2_t

    def prior_sample(self, keys: KeyBatch, like: Batch) -> Batch:
        """Draws x ~ N(0, prior_std² I), shaped like `like` (b, ...), one key per example."""
        return self.prior_std * normal_per_example(keys, like)

    def prior_log_prob(self, x: Batch) -> Float[Array, "b"]:
        """Log density of the prior at x (b, ...), nats."""
        dim = x[0].size
        normaliser = dim * (0.5 * jnp.log(2 * jnp.pi) + jnp.log(self.prior_std))
        return -0.5 * sum_per_example(jnp.square(x / self.prior_std)) - normaliser


class GaussianProcess(NoiseSchedule):
    """A schedule that is smooth in time, t in (0, 1]: with it come an SDE and a probability-flow ODE."""

    def drift_rate(self, t: Level) -> Level:
        """f of equation (3): the forward drift is f(t) x."""
        return _derivative(self.log_alpha, t)

    def diffusion_squared(self, t: Level) -> Level:
        """g² of equation (4)."""
        sigma = self.sigma(t)
        return 2 * sigma * (_derivative(self.sigma, t) - self.drift_rate(t) * sigma)

    @property
    def t_max(self) -> float:
        """One."""
        return 1.0


@functools.partial(jax.tree_util.register_dataclass, data_fields=["sigma_min", "sigma_max"], meta_fields=[])
@dataclasses.dataclass(frozen=True)
class VE(GaussianProcess):
    """Variance exploding: alpha = 1, sigma geometric from `sigma_min` to `sigma_max` (Song et al. 2021, eq. 30)."""

    sigma_min: Scalar = 0.01
    sigma_max: Scalar = 50.0

    def log_alpha(self, t: Level) -> Level:
        """Zero: the signal keeps its scale."""
        return jnp.zeros_like(t)

    def sigma(self, t: Level) -> Level:
        """sigma_min (sigma_max / sigma_min)^t."""
        return self.sigma_min * jnp.exp(t * jnp.log(self.sigma_max / self.sigma_min))

    @property
    def prior_std(self) -> Scalar:
        """The largest noise; the spread of the data is neglected, as in the paper."""
        return self.sigma_max


@functools.partial(jax.tree_util.register_dataclass, data_fields=["beta_min", "beta_max"], meta_fields=[])
@dataclasses.dataclass(frozen=True)
class VP(GaussianProcess):
    """Variance preserving: alpha² + sigma² = 1, beta linear in time (Song et al. 2021, eqs 32-33)."""

    beta_min: Scalar = 0.1
    beta_max: Scalar = 20.0

    def log_alpha(self, t: Level) -> Level:
        """Minus half the integral of beta."""
        return -0.25 * t**2 * (self.beta_max - self.beta_min) - 0.5 * t * self.beta_min

    def sigma(self, t: Level) -> Level:
        """sqrt(1 - alpha²), by expm1 so that small times keep their digits."""
        return jnp.sqrt(-jnp.expm1(2 * self.log_alpha(t)))

    @property
    def prior_std(self) -> Scalar:
        """One."""
        return 1.0


@functools.partial(jax.tree_util.register_dataclass, data_fields=["beta_min", "beta_max"], meta_fields=[])
@dataclasses.dataclass(frozen=True)
class SubVP(GaussianProcess):
    """Sub-VP: the alpha of VP with sigma = 1 - alpha² (Song et al. 2021, eq. 14 and appendix B)."""

    beta_min: Scalar = 0.1
    beta_max: Scalar = 20.0

    def log_alpha(self, t: Level) -> Level:
        """Minus half the integral of beta."""
        return VP(self.beta_min, self.beta_max).log_alpha(t)

    def sigma(self, t: Level) -> Level:
        """1 - alpha²: the square of VP's."""
        return -jnp.expm1(2 * self.log_alpha(t))

    @property
    def prior_std(self) -> Scalar:
        """One."""
        return 1.0


@functools.partial(jax.tree_util.register_dataclass, data_fields=["sigma_min", "sigma_max", "rho"], meta_fields=[])
@dataclasses.dataclass(frozen=True)
class EDM(GaussianProcess):
    """EDM: alpha = 1, sigma^(1/rho) linear in time: an even grid is that of Karras et al. 2022, eq. 5."""

    sigma_min: Scalar = 0.002
    sigma_max: Scalar = 80.0
    rho: Scalar = 7.0

    def log_alpha(self, t: Level) -> Level:
        """Zero: the signal keeps its scale."""
        return jnp.zeros_like(t)

    def sigma(self, t: Level) -> Level:
        """(sigma_min^(1/rho) + t (sigma_max^(1/rho) - sigma_min^(1/rho)))^rho."""
        low, high = self.sigma_min ** (1 / self.rho), self.sigma_max ** (1 / self.rho)
        return (low + t * (high - low)) ** self.rho

    @property
    def prior_std(self) -> Scalar:
        """The largest noise."""
        return self.sigma_max
