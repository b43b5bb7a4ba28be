"""Published tables of beta, in float64: index 0 is the first, smallest step of noise."""

import functools
from collections.abc import Callable

import numpy as np
from jaxtyping import Float

Betas = Float[np.ndarray, "n"]


def linear(count: int, beta_min: float = 0.1, beta_max: float = 20.0) -> Betas:
    """Returns betas linear from beta_min / count to beta_max / count; the defaults are DDPM's 1e-4 to 0.02 at 1000."""
    return np.linspace(beta_min / count, beta_max / count, count)


def cosine(count: int, offset: float = 0.008, largest: float = 0.999) -> Betas:
    """1 - f(u + 1/count) / f(u), cut, of f(u) = cos²(pi/2 (u + offset) / (1 + offset)) (Nichol 2021, eq. 17)."""
    u = np.arange(count + 1) / count
    f = np.cos((u + offset) / (1 + offset) * np.pi / 2) ** 2
    return np.minimum(1 - f[1:] / f[:-1], largest)


def quad(count: int, beta_min: float = 0.1, beta_max: float = 20.0) -> Betas:
    """Returns the square of an even grid of square roots, between `linear`'s ends (Ho et al. 2020, code)."""
    return np.linspace((beta_min / count) ** 0.5, (beta_max / count) ** 0.5, count) ** 2


def sqrt(count: int, beta_min: float = 0.1, beta_max: float = 20.0) -> Betas:
    """Returns the square roots of `linear` (Rombach et al. 2022, code, where it is called "sqrt")."""
    return linear(count, beta_min, beta_max) ** 0.5


def const(count: int, beta_max: float = 20.0) -> Betas:
    """Returns beta_max / count for every level (Ho et al. 2020, code)."""
    return np.full(count, beta_max / count)


def jsd(count: int) -> Betas:
    """Returns 1 / count, 1 / (count - 1), ..., 1: every step erases the same share (Sohl-Dickstein et al. 2015)."""
    return 1.0 / np.arange(count, 0, -1)


def warmup(count: int, beta_min: float = 0.1, beta_max: float = 20.0, fraction: float = 0.1) -> Betas:
    """Even from beta_min / count over the first `fraction`, then beta_max / count (Ho et al. 2020, code)."""
    betas, rising = const(count, beta_max), int(count * fraction)
    betas[:rising] = np.linspace(beta_min / count, beta_max / count, rising)
    return betas


BETAS: dict[str, Callable[..., Betas]] = {
    "linear": linear,
    "cosine": cosine,
    "quad": quad,
    "scaled_linear": quad,  # The "linear" of latent diffusion (Rombach et al. 2022); diffusers' name of it.
    "sqrt": sqrt,
    "const": const,
    "jsd": jsd,
    "warmup10": functools.partial(warmup, fraction=0.1),
    "warmup50": functools.partial(warmup, fraction=0.5),
}
