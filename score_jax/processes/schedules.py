"""Published tables of beta, in float64: index 0 is the first, smallest step of noise."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

Betas = Float[np.ndarray, "n"]


def linear(count: int, beta_min: float = 0.1, beta_max: float = 20.0) -> Betas:
    """Even from beta_min / count to beta_max / count; the defaults are DDPM's 1e-4 to 0.02 at 1000 levels."""
    return np.linspace(beta_min / count, beta_max / count, count)


def cosine(count: int, offset: float = 0.008, largest: float = 0.999) -> Betas:
    """1 - f(u + 1/count) / f(u), cut, of f(u) = cos²(pi/2 (u + offset) / (1 + offset)) (Nichol 2021, eq. 17)."""
    u = np.arange(count + 1) / count
    f = np.cos((u + offset) / (1 + offset) * np.pi / 2) ** 2
    return np.minimum(1 - f[1:] / f[:-1], largest)


BETAS: dict[str, Callable[..., Betas]] = {"linear": linear, "cosine": cosine}
