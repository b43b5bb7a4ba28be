"""Exact log-likelihood by the instantaneous change of variables along the probability-flow ODE.

With dx/dt = h(x, t) the probability flow (Song et al. 2021, eq. 39; Chen et al. 2018):

    log p(x_0) = log p_1(x_1) + integral over t from t_min to 1 of div h(x_t, t) dt

In practice p_1 is the prior, and p is the model's density at t_min, not at 0.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from score_jax.errors import unknown_name
from score_jax.predictor import Predictor
from score_jax.processes.gaussian import GaussianProcess
from score_jax.samplers.ode import AdaptiveODE, probability_flow_drift, solve
from score_jax.typing import Batch, KeyBatch

DIVERGENCES = ("rademacher", "gaussian", "exact")


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class LogLikelihood:
    """Log-likelihood per example, in nats, and its parts.

    Attributes:
      log_prob: prior_log_prob + divergence.
      prior_log_prob: log density of the latent under the prior.
      divergence: the integral.
      latent: x at t_max, the encoding of the example.
      nfe: evaluations of the model with its derivative.
      ok: False where the solve gave up.
    """

    log_prob: Float[Array, "b"]
    prior_log_prob: Float[Array, "b"]
    divergence: Float[Array, "b"]
    latent: Batch
    nfe: Int[Array, "b"]
    ok: Bool[Array, "b"]


def _probe(divergence: str, keys: KeyBatch, x: Batch) -> Batch:
    draw = {"rademacher": jax.random.rademacher, "gaussian": jax.random.normal}[divergence]
    return jax.vmap(lambda key: draw(key, x.shape[1:], x.dtype))(keys)


def _exact_divergence(drift, x: Array, chunk: int = 64) -> tuple[Array, Array]:
    """The drift at x and the trace of its Jacobian, by forward mode over the basis, `chunk` directions at a time."""
    value, linear = jax.linearize(drift, x)
    basis = jnp.eye(x.size, dtype=x.dtype).reshape(x.size, *x.shape)
    diagonal = jax.lax.map(lambda e: jnp.vdot(e, linear(e)), basis, batch_size=min(chunk, x.size))
    return value, jnp.sum(diagonal)


def log_likelihood(
    predictor: Predictor,
    process: GaussianProcess,
    keys: KeyBatch,
    x: Batch,
    *,
    divergence: str,
    ode: AdaptiveODE,
    t_min: float,
    terminal_log_prob: Callable[[Batch], Float[Array, "b"]] | None = None,
) -> LogLikelihood:
    """Log-likelihood of data x (b, ...) in the model's range.

    Args:
      predictor: the model.
      process: its process.
      keys: one key per example (b,), for the probe.
      x: data, already dequantised.
      divergence: "rademacher" or "gaussian" (Hutchinson's estimator, one probe held fixed along the path), or "exact"
        (the cost of one evaluation per dimension).
      ode: solver and tolerances; the log-density is part of the error control.
      t_min: where the path starts (1e-5 in Song et al. 2021).
      terminal_log_prob: density at t_max, the prior's unless the true one is known.

    Raises:
      InputError: `divergence` is unknown.
    """
    if divergence not in DIVERGENCES:
        raise unknown_name("divergence estimator", divergence, DIVERGENCES)
    terminal_log_prob = terminal_log_prob or process.prior_log_prob
    probes = jnp.zeros(x.shape[:1]) if divergence == "exact" else _probe(divergence, keys, x)

    def vector_field(t, y, probe):
        def drift(state):
            return probability_flow_drift(predictor, process, state[None], jnp.reshape(t, (1,)).astype(x.dtype))[0]

        if divergence == "exact":
            return _exact_divergence(drift, y[0])
        value, directional = jax.jvp(drift, (y[0],), (probe,))
        return value, jnp.vdot(probe, directional)

    start = (x, jnp.zeros(x.shape[:1], x.dtype))
    solved = solve(vector_field, start, probes, t_min, process.t_max, ode)
    latent, integral = solved.y
    terminal = terminal_log_prob(latent)
    return LogLikelihood(terminal + integral, terminal, integral, latent, solved.nfe, solved.ok)


def bits_per_dim(log_prob: Float[Array, "b"], dim: int, log_bin_width: float) -> Float[Array, "b"]:
    """Bits per dimension of discrete data from the log density (nats) of its dequantised form.

    A level of the data fills a bin of width exp(`log_bin_width`) in each of the model's `dim` dimensions, so that
    log P(level) = log p + dim * log_bin_width. For 8 bits the offset is 7 in [-1, 1] and 8 in [0, 1].
    """
    return -(log_prob / dim + log_bin_width) / jnp.log(2.0)
