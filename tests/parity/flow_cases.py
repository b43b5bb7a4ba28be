"""Files of score_sde's probability-flow ODE: samples and likelihood.

The original steps the whole batch as one ODE; so it is here, by handing the solver one example that holds them all.
"""

import jax
import jax.numpy as jnp
import numpy as np
from song_cases import _unscaled, process_of
from toys import mixture_score

from score_jax.likelihood.bits import bits_per_dim
from score_jax.prediction.predictor import from_score
from score_jax.samplers.discretised import Discretised, discretised
from score_jax.samplers.ode import AdaptiveODE, probability_flow_drift, solve


def _model(file, dtype, process):
    mixture = mixture_score(file.group("in"), dtype)
    return lambda x, t: from_score(mixture(x, process.alpha(t), process.sigma(t)), x, t, process)


def _drift(model, process, x, t):
    return probability_flow_drift(model, process, x, jnp.full(len(x), t, x.dtype))


def ode(file, dtype) -> dict:
    """Samples from given latents, and one noise-free reverse diffusion step more."""
    given, config = file.group("in"), file.meta["config"]
    process, eps, count = process_of(config["sde"]), config["eps"], config["sde"]["N"]
    model = _model(file, dtype, process)
    latent = jnp.asarray(given["z"], dtype)

    def field(t, x, args):
        return _drift(model, process, x, t)

    solved = solve(field, latent[None], None, 1.0, eps, AdaptiveODE("dopri5", config["rtol"], config["atol"]))
    x, t = solved.y[0], jnp.full(len(latent), eps, dtype)
    k = jnp.floor(t * (count - 1))
    disc = discretised(process, count, eps)
    disc = Discretised(disc.process, disc.kernels, disc.times.astype(dtype).at[k.astype(int)].set(t))
    _, denoised = disc.reverse_diffusion()(lambda j: jnp.zeros_like(x), x, k, k - 1, lambda x, k: model(x, t))
    return {
        "out/sample": _unscaled(x, config["centered"]),
        "out/sample_denoised": _unscaled(denoised, config["centered"]),
        "out/nfe": solved.nfe[0],
    }


def likelihood(file, dtype) -> dict:
    """Bits per dimension with the given probe, and the drift and its divergence at given times."""
    given, config = file.group("in"), file.meta["config"]
    process, centered = process_of(config["sde"]), config["centered"]
    model = _model(file, dtype, process)
    x, probe, t = (jnp.asarray(given[name], dtype) for name in ("x", "epsilon", "t"))

    def with_divergence(x, t):
        value, along = jax.jvp(lambda x: probability_flow_drift(model, process, x, t), (x,), (probe,))
        return value, jnp.sum(along * probe, axis=(1, 2, 3))

    def field(t, state, args):
        return with_divergence(state[0], jnp.full(len(x), t, x.dtype))

    start = (x[None], jnp.zeros((1, len(x)), dtype))
    tolerances = AdaptiveODE("dopri5", config["rtol"], config["atol"])
    solved = solve(field, start, None, config["eps"], 1.0, tolerances)
    latent, integral = solved.y[0][0], solved.y[1][0]
    log_prob = process.prior_log_prob(latent) + integral
    width = (2.0 if centered else 1.0) / 256
    drift, divergence = with_divergence(x, t)
    return {
        "out/bpd": bits_per_dim(log_prob, x[0].size, float(np.log(width))),
        "out/z": latent,
        "out/nfe": solved.nfe[0],
        "out/drift_at_t": drift,
        "out/div_at_t": divergence,
    }


HANDLERS = {("score_sde", "ode_"): ode, ("score_sde", "likelihood_"): likelihood}
