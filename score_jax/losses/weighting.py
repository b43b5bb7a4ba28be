"""How much each noise level counts: factors on ||eps_hat - eps||², the error that every prediction has.

One prediction has the errors  x0: (sigma / alpha) times that of eps,  v: (alpha² + sigma²) / alpha times it, so a loss
in any coordinate is one of these.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float

from score_jax.errors import InputError
from score_jax.processes.gaussian import GaussianProcess, NoiseSchedule
from score_jax.typing import Time

Weighting = Callable[[NoiseSchedule, Time], Float[Array, "b"]]


def eps(process: NoiseSchedule, t: Time) -> Float[Array, "b"]:
    """Returns 1, the weight of eps: DDPM's simple loss, or lambda = sigma² (Song et al. 2021, eq. 7)."""
    return jnp.ones_like(t)


def x0(process: NoiseSchedule, t: Time) -> Float[Array, "b"]:
    """Returns (sigma / alpha)², the weight of the error of x0."""
    return process.noise_to_signal(t) ** 2


def v(process: NoiseSchedule, t: Time) -> Float[Array, "b"]:
    """Returns (alpha² + sigma²)² / alpha², the weight of the error of v = alpha eps - sigma x0."""
    alpha2, sigma2 = process.alpha(t) ** 2, process.sigma(t) ** 2
    return (alpha2 + sigma2) ** 2 / alpha2


def velocity(process: NoiseSchedule, t: Time) -> Float[Array, "b"]:
    """Returns the weight of the error of dx_t/dt = alpha' x0 + sigma' eps (rectified flow)."""
    alpha_rate, sigma_rate = _continuous(process).rates(t)
    return (sigma_rate - alpha_rate * process.noise_to_signal(t)) ** 2


def likelihood(process: NoiseSchedule, t: Time) -> Float[Array, "b"]:
    """Returns (g / sigma)²: the expected loss bounds the negative log-likelihood (Song et al. 2021b, theorem 1)."""
    return _continuous(process).diffusion_squared(t) / process.sigma(t) ** 2


def min_snr(process: NoiseSchedule, t: Time, gamma: float = 5.0) -> Float[Array, "b"]:
    """Returns the weight that is min(SNR, gamma) for the error of x0 (Hang et al. 2023, eq. 6)."""
    return jnp.minimum(1.0, gamma * process.noise_to_signal(t) ** 2)


def truncated_snr(process: NoiseSchedule, t: Time) -> Float[Array, "b"]:
    """Returns the weight that is max(SNR, 1) for the error of x0 (Salimans and Ho 2022, section 4)."""
    return jnp.maximum(1.0, process.noise_to_signal(t) ** 2)


def edm(process: NoiseSchedule, t: Time, sigma_data: float = 0.5) -> Float[Array, "b"]:
    """Returns the weight that is (sigma² + sigma_data²) / (sigma sigma_data)² for x0 (Karras et al. 2022, table 1)."""
    return (process.noise_to_signal(t) ** 2 + sigma_data**2) / sigma_data**2


def sigma_power(power: float) -> Weighting:
    """Returns the weight sigma^power of ||score + eps / sigma||²: NCSN's anneal_power, 2 (Song and Ermon 2019)."""
    return lambda process, t: process.sigma(t) ** (power - 2)


def _continuous(process: NoiseSchedule) -> GaussianProcess:
    if not isinstance(process, GaussianProcess):
        raise InputError("This loss.weighting needs a process in continuous time, e.g. ve, vp, sub_vp or flow.")
    return process


WEIGHTINGS: dict[str, Weighting] = {
    "eps": eps,
    "x0": x0,
    "v": v,
    "velocity": velocity,
    "likelihood": likelihood,
    "min_snr": min_snr,
    "truncated_snr": truncated_snr,
    "edm": edm,
}
