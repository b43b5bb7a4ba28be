"""Fits what the bound on images leaves free, by maximum likelihood: scales of p(x | z), and the width of q(z | x).

Any values make a bound; these make it tight.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Num

from score_jax.likelihood.golden_section import golden_section
from score_jax.likelihood.latent_bound import LevelDecoder, level_log_prob

_SCALES = (0.01, 512.0)
"""Between which scales are searched, in levels."""
_SCALE_STEPS = 32
_FEW = 64
"""A group of fewer pixels takes the scale of all of them."""
_COARSE, _WIDTH_STEPS = 9, 6
"""Widths that are tried first, evenly spaced in their logarithm, and steps around the best of them."""


def fit_decoder(
    levels: Num[np.ndarray, "n c"],
    means: Float[np.ndarray, "n c"],
    changes: Float[np.ndarray, "n"],
    distribution: str,
    num_groups: int,
) -> tuple[LevelDecoder, float]:
    """Returns the p(x | z) under which pixels are likeliest, and their mean log-probability, nats per channel.

    Each group holds as many pixels as any other. The log-probability has one maximum in each scale, since both
    distributions are log-concave.

    Args:
      levels: of pixels.
      means: what the decoder makes of them, in levels.
      changes: `latent_bound.activity` around each pixel.
      distribution: of `latent_bound.DISTRIBUTIONS`.
      num_groups: groups of pixels that have a scale of their own.

    Raises:
      InputError: the distribution is unknown.
    """
    edges = np.quantile(changes, np.arange(1, num_groups) / num_groups).astype(changes.dtype)
    pooled = _fit(levels, means, np.zeros(len(levels), int), 1, distribution)
    groups = np.searchsorted(edges, changes, side="right")
    enough = np.bincount(groups, minlength=num_groups) >= _FEW
    log_scale = np.where(enough[:, None], _fit(levels, means, groups, num_groups, distribution), pooled)
    decoder = LevelDecoder(jnp.asarray(log_scale, means.dtype), jnp.asarray(edges), distribution)
    found = level_log_prob(jnp.asarray(levels), jnp.asarray(means), decoder.log_scale[groups], distribution)
    return decoder, float(np.mean(np.asarray(found), dtype=float))


def _fit(
    levels: Num[np.ndarray, "n c"],
    means: Float[np.ndarray, "n c"],
    groups: Int[np.ndarray, "n"],
    num_groups: int,
    distribution: str,
) -> Float[np.ndarray, "g c"]:
    """The log of the scale of each group and channel."""
    data = tuple(jnp.asarray(values) for values in (levels, means, groups))
    low, high = (np.full((num_groups, levels.shape[1]), np.log(scale)) for scale in _SCALES)
    return golden_section(
        lambda log_scale: np.asarray(_summed(jnp.asarray(log_scale, means.dtype), *data, distribution)),
        low,
        high,
        _SCALE_STEPS,
    )


@functools.partial(jax.jit, static_argnames="distribution")
def _summed(log_scale: Array, levels: Array, means: Array, groups: Array, distribution: str) -> Array:
    """The log-probability of the pixels of each group and channel."""
    values = level_log_prob(levels, means, log_scale[groups], distribution)
    return jax.ops.segment_sum(values, groups, len(log_scale))


def best_width(bound: Callable[[float], float], low: float, high: float) -> tuple[float, list[tuple[float, float]]]:
    """Returns the log of the width at which a bound is largest, and all that was tried with what it gave.

    Args:
      bound: of the log of a width, the same noise at each, so that it is smooth.
      low: the least.
      high: the largest.
    """
    tried: list[tuple[float, float]] = []

    def each(log_widths: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
        values = np.array([bound(float(log_width)) for log_width in log_widths])
        values = np.where(np.isfinite(values), values, -np.inf)  # of a solve that went astray
        tried.extend(zip(log_widths.tolist(), values.tolist(), strict=True))
        return values

    coarse = np.linspace(low, high, _COARSE)
    best = int(np.argmax(each(coarse)))
    first, last = coarse[max(best - 1, 0)], coarse[min(best + 1, _COARSE - 1)]
    golden_section(each, np.array([first]), np.array([last]), _WIDTH_STEPS)
    return max(tried, key=lambda pair: pair[1])[0], sorted(tried)
