"""Exact log-likelihood by the instantaneous change of variables along the probability-flow ODE.

With dx/dt = h(x, t) the probability flow (Song et al. 2021, eq. 39; Chen et al. 2018):

    log p(x_0) = log p_1(x_1) + integral over t from t_min to 1 of div h(x_t, t) dt

In practice p_1 is the prior, and p is the model's density at t_min, not at 0; `truncation_bound` goes on to 0. The
integral may be taken in another variable and scale of x (`samplers.flow_variables`).
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from score_jax.arrays import normal_per_example, sum_per_example
from score_jax.likelihood.divergence import Divergence
from score_jax.prediction.predictor import ConditionalPredictor, Conditions, Predictor
from score_jax.processes.gaussian import GaussianProcess
from score_jax.samplers.flow_variables import IN_TIME, FlowVariables
from score_jax.samplers.ode import ODE, ends, example_drift, solve
from score_jax.typing import Batch, KeyBatch


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class LogLikelihood:
    """Log-likelihood per example, in nats, and its parts.

    Attributes:
      log_prob: prior_log_prob + divergence.
      prior_log_prob: log density of the latent under the prior.
      divergence: the integral, the part that is in closed form included.
      standard_error: of the integral, over its probes: 0 where it is exact, NaN of a single probe. Of few probes it is
        rough: an interval takes `divergence.student_factor(divergence.degrees_of_freedom)` of it, not 2.
      solver_error: what the solver estimates to have missed of the integral, absolute values summed over the steps of a
        grid, so that it is mostly too large; NaN of adaptive steps.
      latent: x at t_max, the encoding of the example.
      nfe: evaluations of the model, each with its products with the Jacobian.
      ok: False where the solve gave up, or the result is not finite.
    """

    log_prob: Float[Array, "b"]
    prior_log_prob: Float[Array, "b"]
    divergence: Float[Array, "b"]
    standard_error: Float[Array, "b"]
    solver_error: Float[Array, "b"]
    latent: Batch
    nfe: Int[Array, "b"]
    ok: Bool[Array, "b"]


def log_prob(
    predictor: ConditionalPredictor,
    process: GaussianProcess,
    keys: KeyBatch,
    x: Batch,
    *,
    divergence: Divergence,
    ode: ODE,
    t_min: float,
    variables: FlowVariables = IN_TIME,
    conditions: Conditions = None,
    terminal_log_prob: Callable[[Batch], Float[Array, "b"]] | None = None,
) -> LogLikelihood:
    """Returns the log-likelihood of data x (b, ...) in the model's range.

    Args:
      predictor: the model; with `conditions`, `predictor(x, t, conditions)`.
      process: its process; of a chain of levels, `processes.interpolated`.
      keys: one key per example (b,), for the probes.
      x: data, already dequantised.
      divergence: how it is taken. Unless its probes are fresh, the log-density is part of the error control.
      ode: solver, and how its steps are chosen.
      t_min: where the path starts (1e-5 in Song et al. 2021).
      variables: in which variable and scale of x the ODE is solved.
      conditions: what the model is given of each example, arrays (b, ...).
      terminal_log_prob: density at t_max, the prior's unless the true one is known.

    Raises:
      InputError: more orthogonal probes than dimensions.

    >>> import jax
    >>> from score_jax.prediction.predictor import score_predictor
    >>> from score_jax.processes.gaussian import VP
    >>> from score_jax.samplers.ode import AdaptiveODE
    >>> model = score_predictor(lambda x, t: -x, VP())  # of N(0, I)
    >>> keys, x = jax.random.split(jax.random.key(0), 1), jnp.zeros((1, 2))
    >>> found = log_prob(model, VP(), keys, x, divergence=Divergence("exact"), ode=AdaptiveODE(), t_min=1e-5)
    >>> print(found.log_prob.round(3))  # -log(2 pi)
    [-1.838]
    """
    terminal_log_prob = terminal_log_prob or process.prior_log_prob

    def vector_field(u, y, of_example):
        source, condition = of_example
        probes = probes_at(u, y[0], source) if divergence.fresh else source

        def drift(z):
            return example_drift(predictor, process, z, u, condition, variables)

        return divergence.of(drift, y[0], probes)

    def probes_at(u, state, key_data):
        key = jax.random.wrap_key_data(key_data)  # diffrax takes arrays of numbers alone
        position = jax.lax.bitcast_convert_type(u.astype(jnp.float32), jnp.uint32)
        return divergence.draw(jax.random.fold_in(key, position), state)

    before, after = (variables.scale(process, jnp.asarray(t, x.dtype)) for t in (t_min, process.t_max))
    first, last = ends(variables, process, t_min, process.t_max, x.dtype)
    # Noise in the log-density would be taken for an error of the solver: fresh probes leave the step sizes to x.
    controlled = (lambda y: y[0]) if divergence.fresh else (lambda y: y)
    start = (x / before, jnp.zeros((x.shape[0], divergence.parts), x.dtype))
    source = jax.random.key_data(keys) if divergence.fresh else jax.vmap(divergence.draw)(keys, x)
    solved = solve(
        vector_field,
        start,
        (source, conditions),
        first,
        last,
        ode,
        controlled=controlled,
        measured=lambda error: jnp.mean(error[1], axis=-1),
        first_step=variables.first_step(process, t_min),
    )
    latent, parts = after * solved.y[0], solved.y[1]
    of_scale = x[0].size * jnp.log(after / before)
    terminal, integral = terminal_log_prob(latent), jnp.mean(parts, axis=1) + of_scale
    error = divergence.standard_error(parts, x[0].size)
    ok = solved.ok & jnp.isfinite(terminal + integral)  # a grid never gives up
    return LogLikelihood(terminal + integral, terminal, integral, error, solved.error, latent, solved.nfe, ok)


def truncation_bound(
    predictor: Predictor, process: GaussianProcess, keys: KeyBatch, x0: Batch, t_min: float
) -> tuple[Batch, Float[Array, "b"]]:
    """Turns the density at t_min into a lower bound on that at 0 (Song et al. 2021, ML training, section 4.3).

        log p(x0) >= E[log p(x_t) + log N(x0; x0_hat(x_t), (sigma / alpha)²) - log q(x_t | x0)]       at t = t_min
                   = E[log p(x_t) + d log alpha + |eps|² / 2 - |eps - eps_hat|² / 2]

    Args:
      predictor: the model.
      process: its process.
      keys: one key per example (b,), for the draw of x_t.
      x0: data (b, ...).
      t_min: the truncation.

    Returns:
      x_t, whose log density is to be taken, and what is to be added to it (b,), nats.
    """
    t, eps = jnp.full(x0.shape[:1], t_min, x0.dtype), normal_per_example(keys, x0)
    x = process.perturb(x0, t, eps)
    missed = eps - predictor(x, t).eps
    gain = x0[0].size * process.log_alpha(t) + 0.5 * sum_per_example(eps**2) - 0.5 * sum_per_example(missed**2)
    return x, gain
