"""At which times a sampler evaluates the model: decreasing, `num_steps` + 1 of them, the last where it ends."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from score_jax.errors import InputError
from score_jax.processes.chain import DATA
from score_jax.processes.gaussian import NoiseSchedule
from score_jax.typing import Scalar

Grid = Float[Array, "n"]


def uniform(num_steps: int, t_min: float, t_max: float = 1.0) -> Grid:
    """Returns times that are uniform in time (Song et al. 2021)."""
    return jnp.linspace(t_max, t_min, num_steps + 1)


def quadratic(num_steps: int, t_min: float, t_max: float = 1.0) -> Grid:
    """Returns times that are uniform in the square root of time (DPM-Solver's time_quadratic)."""
    return jnp.linspace(t_max**0.5, t_min**0.5, num_steps + 1) ** 2


def log_snr(num_steps: int, process: NoiseSchedule, t_min: float, t_max: float) -> Grid:
    """Returns times that are uniform in the log signal-to-noise ratio (DPM-Solver's choice for small images)."""
    high, low = (jnp.log(process.noise_to_signal(jnp.asarray(t))) for t in (t_max, t_min))
    return process.time_at(jnp.exp(jnp.linspace(high, low, num_steps + 1)))


def karras(num_steps: int, sigma_min: Scalar, sigma_max: Scalar, rho: Scalar = 7.0) -> Grid:
    """Returns EDM's noise levels: uniform in sigma^(1/rho), then 0 (Karras et al. 2022, eq. 5).

    For `LinearVE`, whose time is the noise level.
    """
    high, low = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    return jnp.append(jnp.linspace(high, low, num_steps) ** rho, 0.0)


def levels(indices: Int[np.ndarray, "k"], repeats: int = 1, end: float | None = DATA) -> Grid:
    """Returns a chain's levels (k,) from the highest down, each `repeats` times, and then the data.

    Args:
      indices: increasing.
      repeats: steps at each level, for annealed Langevin.
      end: where the last step leads.
    """
    down = np.repeat(indices[::-1], repeats).astype(float)
    return jnp.asarray(np.append(down, down[-1] if end is None else end))


def even_levels(num_levels: int, num_steps: int) -> Int[np.ndarray, "k"]:
    """Returns `num_steps` indices of a chain, increasing and evenly spaced up to rounding, with both ends.

    Raises:
      InputError: there are fewer levels than steps.
    """
    if not 1 <= num_steps <= num_levels:
        raise InputError(
            f"sampler.num_steps={num_steps}, but the chain has {num_levels} levels: give 1 to {num_levels}."
        )
    if num_steps == 1:
        return np.array([num_levels - 1])
    return np.round(np.linspace(0, num_levels - 1, num_steps)).astype(int)


def latent_diffusion_levels(num_levels: int, num_steps: int, *, quadratic: bool = False) -> Int[np.ndarray, "k"]:
    """Returns the levels of latent diffusion's DDIM and PLMS, increasing: 1, 1 + c, 1 + 2c, ... with c = N // steps.

    They are `num_steps` only where that divides N, and the last can be N, which is no level. With `quadratic` they are
    1 + the squares of an even grid up to 0.8 N, rounded down, some of them equal (Rombach et al. 2022, code).

    Raises:
      InputError: there are more steps than levels.
    """
    if not 1 <= num_steps <= num_levels:
        raise InputError(
            f"sampler.num_steps={num_steps}, but the chain has {num_levels} levels: give 1 to {num_levels}."
        )
    if quadratic:
        return (np.linspace(0, np.sqrt(num_levels * 0.8), num_steps) ** 2).astype(int) + 1
    return np.arange(0, num_levels, num_levels // num_steps) + 1
