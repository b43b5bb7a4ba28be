"""Discrete chains of noise levels: DDPM's of betas, NCSN's of sigmas.

Time is the index of a level: 0 is the least noise, N - 1 the most, and -1 is the data (alpha = 1, sigma = 0), where a
chain ends. Between two levels an index is rounded down, as score_sde truncates `t (N - 1)`.
"""

import dataclasses
import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from score_jax.arrays import largest_whole
from score_jax.errors import InputError, unknown_name
from score_jax.processes.gaussian import Level, NoiseSchedule
from score_jax.processes.levels import NoiseLevels
from score_jax.processes.schedules import BETAS
from score_jax.typing import Scalar

Table = Float[Array, "n"] | Float[np.ndarray, "n"]


DATA = -1.0
"""The time of the data in every chain."""


def _look_up(table: Table, t: Level) -> Level:
    """The level's entry; of the data: 0, the log alpha and the sigma that it has.

    Raises:
      InputError: there are more levels than the type of t can count.
    """
    if len(table) > largest_whole(t.dtype):
        raise InputError(f"{len(table)} levels are more than {t.dtype} can count: at most {largest_whole(t.dtype)}.")
    padded = jnp.concatenate([jnp.zeros(1, t.dtype), jnp.asarray(table, t.dtype)])
    return padded[jnp.floor(t).astype(jnp.int32) + 1]


@functools.partial(jax.tree_util.register_dataclass, data_fields=["log_alphas", "sigmas"], meta_fields=["prior_std"])
@dataclasses.dataclass(frozen=True, eq=False)
class Chain(NoiseSchedule):
    """N levels.

    Attributes:
      log_alphas: log of the signal scales (N,).
      sigmas: standard deviations of the noise (N,), increasing.
      prior_std: standard deviation of the law that sampling starts from.
    """

    log_alphas: Table
    sigmas: Table
    prior_std: Scalar = 1.0

    def log_alpha(self, t: Level) -> Level:
        """Of the level with this index."""
        return _look_up(self.log_alphas, t)

    def sigma(self, t: Level) -> Level:
        """Of the level with this index."""
        return _look_up(self.sigmas, t)

    def time_at(self, noise_to_signal: Level) -> Level:
        """The level whose noise-to-signal ratio is nearest, as EDM rounds for networks that know levels alone."""
        dtype = noise_to_signal.dtype
        ratios = jnp.asarray(self.sigmas, dtype) * jnp.exp(-jnp.asarray(self.log_alphas, dtype))
        midpoints = (ratios[1:] + ratios[:-1]) / 2
        return jnp.searchsorted(midpoints, noise_to_signal).astype(dtype)

    @property
    def num_levels(self) -> int:
        """N."""
        return len(self.sigmas)

    @property
    def t_max(self) -> float:
        """The last index."""
        return float(self.num_levels - 1)


def _check_count(num_levels: int) -> None:
    if num_levels < 1:
        raise InputError(f"process.num_levels={num_levels}: give at least 1.")


def vp_chain(
    schedule: str = "linear", num_levels: int = 1000, beta_min: float | None = None, beta_max: float | None = None
) -> Chain:
    """The chain of DDPM: alpha² is the running product of 1 - beta, alpha² + sigma² = 1 (Ho et al. 2020, eq. 4).

    Args:
      schedule: name of the schedule of beta.
      num_levels: N, the number of levels.
      beta_min: N times the first beta of the linear schedule; None: its default.
      beta_max: N times the last beta of the linear schedule; None: its default.

    Raises:
      InputError: there is no level, the schedule is unknown, has no such limits, or its betas are not between 0 and 1.
    """
    _check_count(num_levels)
    if schedule not in BETAS:
        raise unknown_name("process.schedule", schedule, BETAS)
    limits = {name: beta for name, beta in (("beta_min", beta_min), ("beta_max", beta_max)) if beta is not None}
    unknown = set(limits) - set(inspect.signature(BETAS[schedule]).parameters)
    if unknown:
        raise InputError(
            f"The {schedule} schedule has no {' and '.join(sorted(unknown))}: leave it out, or choose 'linear'."
        )
    return chain_of_betas(BETAS[schedule](num_levels, **limits))


def chain_of_betas(betas: Float[np.ndarray, "n"]) -> Chain:
    """Returns the variance-preserving chain whose forward kernels have these variances (n,).

    Raises:
      InputError: they are not between 0 and 1.
    """
    if not ((betas > 0) & (betas <= 1)).all():
        raise InputError(
            f"{len(betas)} levels have betas from {betas.min():g} to {betas.max():g}, expected between 0 and 1: "
            "give process.num_levels more, or process.beta_max less."
        )
    with np.errstate(divide="ignore"):  # a beta of 1, as "jsd" ends with, leaves no signal
        log_alphas = 0.5 * np.cumsum(np.log1p(-betas))
    return Chain(log_alphas, np.sqrt(-np.expm1(2 * log_alphas)))


def ve_chain(
    sigma_min: float, sigma_max: float, num_levels: int, spacing: str = "geometric", rounded: bool = False
) -> Chain:
    """The chain of NCSN: alpha = 1, noise levels from sigma_min to sigma_max (Song and Ermon 2019).

    Args:
      sigma_min: the smallest noise level.
      sigma_max: the largest noise level.
      num_levels: the number of levels.
      spacing: how the levels lie between the two.
      rounded: round the levels to float32, as ermongroup/ncsnv2 does; it matters in float64 runs only.

    Raises:
      InputError: there is no level, or the spacing is unknown.
    """
    _check_count(num_levels)
    sigmas = NoiseLevels(sigma_max, sigma_min, num_levels, spacing, rounded).sigmas[::-1]
    return Chain(np.zeros(num_levels), sigmas, prior_std=sigma_max)


def chain_at(process: NoiseSchedule, times: Float[np.ndarray, "n"]) -> Chain:
    """Returns the levels of a process in continuous time at increasing times (n,)."""
    t = jnp.asarray(times)
    return Chain(process.log_alpha(t), process.sigma(t), process.prior_std)
