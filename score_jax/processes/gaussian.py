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
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Real

from score_jax.arrays import as_floats, broadcast_right, normal_per_example, sum_per_example
from score_jax.typing import Batch, KeyBatch, Scalar

Level = Float[Array, "*b"]
"""A time or a function of it, of any shape."""
Moment = Real[Array, "*b"]
"""A time, or the index of a level, which may be an integer."""


def _derivative(fn, t: Moment) -> Level:
    """d fn / dt elementwise."""
    t = as_floats(t)
    return jax.jvp(fn, (t,), (jnp.ones_like(t),))[1]


def _of_any_number(function: Callable) -> Callable:
    """A method of one time, which then may be given whole numbers: an index, as `jnp.arange(3)` has them."""

    @functools.wraps(function)
    def of(self, t: ArrayLike) -> Level:
        return function(self, as_floats(t))

    return of


class NoiseSchedule(abc.ABC):
    """x_t = alpha(t) x0 + sigma(t) eps, for t that may be a time or the index of a level.

    Members are final and define `log_alpha`, `sigma`, `time_at`, `prior_std` and `t_max`; the rest is derived once.
    Times may be integers: members are handed floats.
    """

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        for name in {"log_alpha", "sigma", "time_at"} & vars(cls).keys():
            setattr(cls, name, _of_any_number(vars(cls)[name]))

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

    @abc.abstractmethod
    def time_at(self, noise_to_signal: Level) -> Level:
        """The t at which sigma / alpha is this: the inverse by which one process is seen in the time of another."""

    def alpha(self, t: Moment) -> Level:
        """Signal scale."""
        return jnp.exp(self.log_alpha(t))

    def noise_to_signal(self, t: Moment) -> Level:
        """sigma / alpha: the noise level of EDM, whatever the process."""
        return self.sigma(t) / self.alpha(t)

    def log_snr(self, t: Moment) -> Level:
        """Equation (8)."""
        return 2 * (self.log_alpha(t) - jnp.log(self.sigma(t)))

    def kernel(self, t: Moment, s: Moment) -> tuple[Level, Level]:
        """Scale `a` and variance `b²` of x_t given x_s, s <= t: equation (7)."""
        a = jnp.exp(self.log_alpha(t) - self.log_alpha(s))
        return a, jnp.maximum(self.sigma(t) ** 2 - (a * self.sigma(s)) ** 2, 0.0)

    def perturb(self, x0: Batch, t: Moment, eps: Batch) -> Batch:
        """x_t from data (b, ...), times (b,) and noise: equation (1)."""
        return broadcast_right(self.alpha(t), x0) * x0 + broadcast_right(self.sigma(t), x0) * eps

    def posterior_coefficients(self, t: Moment, s: Moment) -> tuple[Level, Level, Level]:
        """Of x_t and of x0 in the mean of equation (9), and its variance, s < t."""
        a, b2 = self.kernel(t, s)
        sigma2_s, sigma2_t = self.sigma(s) ** 2, self.sigma(t) ** 2
        return a * sigma2_s / sigma2_t, self.alpha(s) * b2 / sigma2_t, b2 * sigma2_s / sigma2_t

    def posterior(self, x: Batch, x0: Batch, t: Moment, s: Moment) -> tuple[Batch, Float[Array, "b"]]:
        """Mean (b, ...) and variance (b,) of x_s given x_t = x and x0, s < t: equation (9)."""
        of_x, of_x0, variance = self.posterior_coefficients(t, s)
        return broadcast_right(of_x, x) * x + broadcast_right(of_x0, x) * x0, variance

    def prior_sample(self, keys: KeyBatch, like: Batch) -> Batch:
        """Draws x ~ N(0, prior_std² I), shaped like `like` (b, ...), one key per example."""
        return self.prior_std * normal_per_example(keys, like)

    def prior_log_prob(self, x: Batch) -> Float[Array, "b"]:
        """Log density of the prior at x (b, ...), nats."""
        dim = x[0].size
        normaliser = dim * (0.5 * jnp.log(2 * jnp.pi) + jnp.log(self.prior_std))
        return -0.5 * sum_per_example(jnp.square(x / self.prior_std)) - normaliser


class GaussianProcess(NoiseSchedule):
    """A schedule that is smooth in time: with it come an SDE and a probability-flow ODE. t_max is 1 unless said."""

    def drift_rate(self, t: Moment) -> Level:
        """f of equation (3): the forward drift is f(t) x."""
        return _derivative(self.log_alpha, t)

    def diffusion_squared(self, t: Moment) -> Level:
        """g² of equation (4)."""
        sigma = self.sigma(t)
        return 2 * sigma * (_derivative(self.sigma, t) - self.drift_rate(t) * sigma)

    def rates(self, t: Moment) -> tuple[Level, Level]:
        """alpha' and sigma': the probability flow is dx/dt = alpha' x0 + sigma' eps, which is (6) without its poles."""
        return _derivative(self.alpha, t), _derivative(self.sigma, t)

    def first_step(self, t0: float) -> float:
        """Length of an adaptive solver's first step from t0: as diffrax begins, but shorter near t = 0, where the drift
        of image models changes on the scale of t itself."""
        return min(0.01, 100 * t0)

    @property
    def t_max(self) -> float:
        """One."""
        return 1.0


def _linear_beta_time(log_alpha: Level, beta_min: Scalar, beta_max: Scalar) -> Level:
    """The t at which minus half the integral of a linear beta is `log_alpha`, without cancellation at small t."""
    integral, slope = -2 * log_alpha, beta_max - beta_min
    return 2 * integral / (beta_min + jnp.sqrt(beta_min**2 + 2 * slope * integral))


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

    def time_at(self, noise_to_signal: Level) -> Level:
        """Its logarithm, scaled."""
        return jnp.log(noise_to_signal / self.sigma_min) / jnp.log(self.sigma_max / self.sigma_min)

    @property
    def prior_std(self) -> Scalar:
        """The largest noise; the spread of the data is neglected, as in the paper."""
        return self.sigma_max


@functools.partial(jax.tree_util.register_dataclass, data_fields=["beta_min", "beta_max"], meta_fields=[])
@dataclasses.dataclass(frozen=True)
class VP(GaussianProcess):
    """Variance preserving: alpha² + sigma² = 1, beta linear in time (Song et al. 2021, eqs 32-33).

    >>> import jax.numpy as jnp
    >>> process, t = VP(), jnp.array([0.0, 1.0])
    >>> print(process.alpha(t).round(3), process.sigma(t).round(3))
    [1.    0.007] [0. 1.]
    """

    beta_min: Scalar = 0.1
    beta_max: Scalar = 20.0

    def log_alpha(self, t: Level) -> Level:
        """Minus half the integral of beta."""
        return -0.25 * t**2 * (self.beta_max - self.beta_min) - 0.5 * t * self.beta_min

    def sigma(self, t: Level) -> Level:
        """sqrt(1 - alpha²), by expm1 so that small times keep their digits."""
        return jnp.sqrt(-jnp.expm1(2 * self.log_alpha(t)))

    def time_at(self, noise_to_signal: Level) -> Level:
        """From alpha² = 1 / (1 + noise_to_signal²)."""
        return _linear_beta_time(-0.5 * jnp.log1p(noise_to_signal**2), self.beta_min, self.beta_max)

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

    def time_at(self, noise_to_signal: Level) -> Level:
        """From the root of 1 - alpha² = alpha noise_to_signal."""
        half = 0.5 * noise_to_signal
        return _linear_beta_time(-jnp.arcsinh(half), self.beta_min, self.beta_max)

    @property
    def prior_std(self) -> Scalar:
        """One."""
        return 1.0


@functools.partial(jax.tree_util.register_dataclass, data_fields=["sigma_min", "sigma_max", "rho"], meta_fields=[])
@dataclasses.dataclass(frozen=True)
class EDM(GaussianProcess):
    """EDM: alpha = 1, sigma^(1/rho) linear in time. A uniform grid of times gives Karras et al. 2022, eq. 5."""

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

    def time_at(self, noise_to_signal: Level) -> Level:
        """Its rho-th root, scaled."""
        low, high = self.sigma_min ** (1 / self.rho), self.sigma_max ** (1 / self.rho)
        return (noise_to_signal ** (1 / self.rho) - low) / (high - low)

    @property
    def prior_std(self) -> Scalar:
        """The largest noise."""
        return self.sigma_max


@functools.partial(jax.tree_util.register_dataclass, data_fields=["sigma_max", "levels"], meta_fields=[])
@dataclasses.dataclass(frozen=True, eq=False)
class LinearVE(GaussianProcess):
    """Linear VE: alpha = 1, sigma = t, so time is the noise level, up to sigma_max (Karras et al. 2022, table 1, EDM).

    These are the coordinates of EDM's sampler: Euler's method in them is DDIM, for any process.

    Attributes:
      sigma_max: the largest noise.
      levels: the noise levels that a model knows (n,), increasing, where it knows no others: EDM's `round_sigma`.
    """

    sigma_max: float = 80.0
    levels: Float[Array, "n"] | None = None

    def log_alpha(self, t: Level) -> Level:
        """Zero: the signal keeps its scale."""
        return jnp.zeros_like(t)

    def sigma(self, t: Level) -> Level:
        """The time itself."""
        return t

    def time_at(self, noise_to_signal: Level) -> Level:
        """Itself, or the nearest of the levels."""
        if self.levels is None:
            return noise_to_signal
        midpoints = (self.levels[1:] + self.levels[:-1]) / 2
        return self.levels[jnp.searchsorted(midpoints, noise_to_signal)].astype(noise_to_signal.dtype)

    @property
    def prior_std(self) -> Scalar:
        """The largest noise."""
        return self.sigma_max

    @property
    def t_max(self) -> float:
        """The largest noise."""
        return self.sigma_max


@functools.partial(jax.tree_util.register_dataclass, data_fields=[], meta_fields=["t_max"])
@dataclasses.dataclass(frozen=True)
class Flow(GaussianProcess):
    """Rectified flow: alpha = 1 - t, sigma = t, so that dx/dt = eps - x0 (Liu et al. 2023, eq. 1, time reversed).

    Attributes:
      t_max: largest time, just below 1 (at 1 no signal is left); the original code has the same distance of 1e-3.
    """

    t_max: float = 0.999

    def log_alpha(self, t: Level) -> Level:
        """log(1 - t)."""
        return jnp.log1p(-t)

    def sigma(self, t: Level) -> Level:
        """The time itself."""
        return t

    def time_at(self, noise_to_signal: Level) -> Level:
        """r / (1 + r)."""
        return noise_to_signal / (1 + noise_to_signal)

    @property
    def prior_std(self) -> Scalar:
        """One."""
        return 1.0


@functools.partial(jax.tree_util.register_dataclass, data_fields=[], meta_fields=["t_max"])
@dataclasses.dataclass(frozen=True)
class Cosine(GaussianProcess):
    """Cosine: alpha = cos(pi t / 2), sigma = sin(pi t / 2), an angle linear in time (Salimans and Ho 2022, section 3).

    Attributes:
      t_max: largest time, just below 1 (at 1 no signal is left).
    """

    t_max: float = 0.999

    def log_alpha(self, t: Level) -> Level:
        """Log of the cosine."""
        return jnp.log(jnp.cos(0.5 * jnp.pi * t))

    def sigma(self, t: Level) -> Level:
        """The sine."""
        return jnp.sin(0.5 * jnp.pi * t)

    def time_at(self, noise_to_signal: Level) -> Level:
        """The angle."""
        return jnp.arctan(noise_to_signal) * (2 / jnp.pi)

    @property
    def prior_std(self) -> Scalar:
        """One."""
        return 1.0
