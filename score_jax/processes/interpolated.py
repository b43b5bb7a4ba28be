"""A chain of levels as a process in continuous time, so that its model has a probability-flow ODE.

Between its levels a chain is no process, so any smooth one through them will do, and its ODE costs a solver what the
smoothness allows: kinks at the levels would be found and stepped around. So splines run through what has a closed form
in the schedules: alpha² where the variance is preserved (linear for "jsd", a cosine for "cosine", the exponential of a
polynomial for the rest), else log alpha, and the logarithm of sigma or sigma itself, whichever is straighter.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.interpolate import CubicSpline, PchipInterpolator

from score_jax.processes.chain import Chain
from score_jax.processes.gaussian import GaussianProcess, Level
from score_jax.typing import Scalar

Pieces = Float[np.ndarray, "4 _"]
"""Coefficients of the polynomials between levels, highest power first, in the distance from the lower level."""

_CHECKS = 16
"""Points between two levels at which a spline is looked at."""

_NEWTON = 5
"""Steps of Newton's method from a straight line between two levels."""


def _pieces(values: Float[np.ndarray, "n"]) -> Pieces:
    """The spline with continuous second derivatives through monotone values at 0, 1, ..., float64.

    Where it would turn between levels, as between few that lie far apart, monotone pieces of continuous slope.
    """
    levels = np.arange(len(values))
    if len(values) > 2:
        spline = CubicSpline(levels, values)
        rise = np.diff(spline(np.linspace(0, levels[-1], _CHECKS * levels[-1] + 1)))
        if (rise * np.sign(values[-1] - values[0]) >= 0).all():
            return spline.c
    return PchipInterpolator(levels, values).c


def _at(pieces: Pieces, t: Level) -> Level:
    left = jnp.clip(jnp.floor(t), 0, pieces.shape[1] - 1).astype(jnp.int32)
    cubic, square, slope, value = (jnp.asarray(row, t.dtype)[left] for row in pieces)
    u = t - left.astype(t.dtype)
    return value + u * (slope + u * (square + u * cubic))


def _roughness(values: Float[np.ndarray, "n"]) -> float:
    """The largest second difference, over the range: 0 of a straight line."""
    return float(np.abs(np.diff(values, 2)).max(initial=0.0) / np.ptp(values))


@functools.partial(jax.tree_util.register_dataclass, data_fields=["chain"], meta_fields=[])
@dataclasses.dataclass(frozen=True, eq=False)
class Interpolated(GaussianProcess):
    """A chain whose index runs continuously from 0 to N - 1; at whole numbers its levels are the chain's own.

    Attributes:
      chain: at least two levels, known numbers.
    """

    chain: Chain

    @functools.cached_property
    def _tables(self) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n"]]:
        """log alpha and sigma of the levels that have a signal, float64."""
        with jax.ensure_compile_time_eval():
            log_alphas, sigmas = (np.asarray(table, float) for table in (self.chain.log_alphas, self.chain.sigmas))
        signal = np.isfinite(log_alphas)
        return log_alphas[signal], sigmas[signal]

    @functools.cached_property
    def _squares(self) -> tuple[Pieces, Pieces] | None:
        """Splines of alpha² and sigma², whose sum is 1 as that of the levels is; None where theirs is another."""
        log_alphas, sigmas = self._tables
        if np.abs(np.expm1(2 * log_alphas) + sigmas**2).max() > 1e-6:
            return None
        return _pieces(np.exp(2 * log_alphas)), _pieces(-np.expm1(2 * log_alphas))

    @functools.cached_property
    def _logarithms(self) -> tuple[Pieces, Pieces, bool]:
        """Splines of log alpha, and of log sigma or of sigma itself; whether it is of sigma itself."""
        log_alphas, sigmas = self._tables
        plain = _roughness(sigmas) < _roughness(np.log(sigmas))
        return _pieces(log_alphas), _pieces(sigmas if plain else np.log(sigmas)), plain

    def log_alpha(self, t: Level) -> Level:
        """Between those of the neighbouring levels."""
        if self._squares is None:
            return _at(self._logarithms[0], t)
        return 0.5 * jnp.log(_at(self._squares[0], t))

    def sigma(self, t: Level) -> Level:
        """Between those of the neighbouring levels."""
        if self._squares is not None:
            return jnp.sqrt(_at(self._squares[1], t))
        _, pieces, plain = self._logarithms
        return _at(pieces, t) if plain else jnp.exp(_at(pieces, t))

    def time_at(self, noise_to_signal: Level) -> Level:
        """By linear interpolation of its logarithm, and Newton's method from there, between the same two levels."""
        levels, wanted = jnp.arange(self.t_max + 1), -2 * jnp.log(noise_to_signal)
        t = jnp.interp(-0.5 * wanted, -0.5 * self.chain.log_snr(levels), levels)
        low = jnp.clip(jnp.floor(t), 0.0, self.t_max - 1)
        for _ in range(_NEWTON):
            value, slope = jax.jvp(self.log_snr, (t,), (jnp.ones_like(t),))
            moved = jnp.clip(t - (value - wanted) / slope, low, low + 1)
            t = jnp.where(jnp.isfinite(moved), moved, t)
        return t

    def first_step(self, t0: float) -> float:
        """At the data's end the first level, whose noise grows as the square root of index + 1."""
        return min(0.01 * self.t_max, 1.0 + t0)

    @property
    def prior_std(self) -> Scalar:
        """The chain's."""
        return self.chain.prior_std

    @property
    def t_max(self) -> float:
        """The chain's last index that has a signal: a last beta of 1, as of "jsd", leaves none."""
        return float(len(self._tables[0]) - 1)
