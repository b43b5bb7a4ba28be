"""At which times a batch is trained."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from score_jax.typing import KeyArray


def uniform(key: KeyArray, batch_size: int, t_min: float) -> Float[Array, "b"]:
    """Draws independent times from U(t_min, 1) (Song et al. 2021, eq. 7; t_min 1e-5 in their code)."""
    return jax.random.uniform(key, (batch_size,), minval=t_min, maxval=1.0)


def stratified(key: KeyArray, batch_size: int, t_min: float) -> Float[Array, "b"]:
    """Draws an even grid with one shared shift: each time is U(t_min, 1), the batch covers all times.

    The same expectation as `uniform` with less variance (Kingma et al. 2021, appendix I.1, low-discrepancy sampler).
    """
    shift = jax.random.uniform(key)
    return t_min + (1.0 - t_min) * jnp.mod(shift + jnp.arange(batch_size) / batch_size, 1.0)


def stratified_mixture(key: KeyArray, batch_size: int, t_min: float) -> Float[Array, "b"]:
    """Draws half of the batch stratified in t, and half stratified in log t.

    Under VP and sub-VP a uniform t hardly visits the small noise levels where most bits of a likelihood are decided:
    log t spreads over them evenly, since log_snr moves with -log t there (VP) or -2 log t (sub-VP).
    """
    log_key, key = jax.random.split(key)
    half = batch_size // 2
    position = (stratified(log_key, half, t_min) - t_min) / (1.0 - t_min)
    return jnp.concatenate([t_min ** (1.0 - position), stratified(key, batch_size - half, t_min)])


def mixture_importance(t: Float[Array, "b"], t_min: float) -> Float[Array, "b"]:
    """The uniform density over that of `stratified_mixture` at its draws t (b,): factors that make means over the batch
    those over uniform times, as a bound on the likelihood is (the balance heuristic, Veach and Guibas 1995).
    """
    in_log = (len(t) // 2) / len(t)
    log_over_uniform = (1.0 - t_min) / (t * math.log(1.0 / t_min))
    return 1.0 / (in_log * log_over_uniform + (1.0 - in_log))


def uniform_index(key: KeyArray, batch_size: int, t_min: float, *, num_levels: int) -> Float[Array, "b"]:
    """Draws uniform indices of a chain's levels (Ho et al. 2020, algorithm 1); `t_min` is not used."""
    return jax.random.randint(key, (batch_size,), 0, num_levels).astype(jnp.result_type(float))


def antithetic_index(key: KeyArray, batch_size: int, t_min: float, *, num_levels: int) -> Float[Array, "b"]:
    """Draws half of the batch uniformly, and N - 1 minus those as the other half (Song et al. 2021a, code)."""
    half = uniform_index(key, -(-batch_size // 2), t_min, num_levels=num_levels)
    return jnp.concatenate([half, num_levels - 1 - half])[:batch_size]


def log_normal_levels(normal: Float[Array, "b"], mean: float = -1.2, std: float = 1.2) -> Float[Array, "b"]:
    """Draws noise levels sigma / alpha of EDM's training: exp(mean + std n) (Karras et al. 2022, table 1)."""
    return jnp.exp(mean + std * normal)


def log_uniform_levels(u: Float[Array, "b"], sigma_min: float = 0.02, sigma_max: float = 100.0) -> Float[Array, "b"]:
    """Draws noise levels of VE's training in EDM's code, uniform in their logarithm."""
    return sigma_min * (sigma_max / sigma_min) ** u


TIME_SAMPLINGS = {"stratified_mixture": stratified_mixture, "uniform": uniform, "stratified": stratified}
