"""Files of diffusers' multistep schedulers: the states of a walk over a chain's levels, of a toy network's eps."""

import functools

import jax.numpy as jnp
import numpy as np

from originals import UnknownCase
from score_jax.prediction.coordinates import of_levels, seen
from score_jax.prediction.predictor import from_eps
from score_jax.processes.chain import vp_chain
from score_jax.processes.noise import replay
from score_jax.processes.respacing import respace
from score_jax.samplers import dpm_solver
from score_jax.samplers.chain import run_chain
from score_jax.samplers.deis import deis
from score_jax.samplers.exponential import no_answers
from score_jax.samplers.unipc import nothing_before, unipc

_RULES = {
    "dpm_solver_2m": (dpm_solver.multistep, functools.partial(no_answers, count=1)),
    "sde_dpm_solver_2m": (dpm_solver.sde_multistep, functools.partial(no_answers, count=1)),
    "unipc_2": (functools.partial(unipc, order=2), functools.partial(nothing_before, order=2)),
    "unipc_3": (functools.partial(unipc, order=3), functools.partial(nothing_before, order=3)),
    "deis_2": (functools.partial(deis, order=2), functools.partial(no_answers, count=1)),
    "deis_3": (functools.partial(deis, order=3), functools.partial(no_answers, count=2)),
}


def walk(file, dtype) -> dict:
    """The state after each step; the last step leads to the level of least noise."""
    given, config, case = file.group("in"), file.meta["config"], file.meta["case"]
    if config["beta_schedule"] != "linear" or config["timestep_spacing"] != "linspace":
        raise UnknownCase(f"a schedule {config['beta_schedule']} with {config['timestep_spacing']}")
    count = config["num_train_timesteps"]
    chain = vp_chain("linear", count, count * config["beta_start"], count * config["beta_end"])
    kept = given["timesteps"][::-1]
    spaced = respace(chain, kept)
    model = seen(
        lambda x, t: from_eps(0.6 * x + 0.3 * jnp.sin(1.7 * x + 0.01 * t[:, None, None, None]), x, t, chain),
        of_levels(kept),
    )
    make, memory = _RULES[case]
    x = jnp.asarray(given["x_T"], dtype)
    noise = replay(jnp.asarray(given.get("noise", np.zeros((len(kept), *x.shape))), dtype), 1)
    grid = jnp.arange(len(kept) - 1, -1, -1, dtype)
    each = tuple(range(1, len(kept)))
    return {"out/x": run_chain(make(spaced.chain), model, noise, x, grid, each, memory(x)).kept}


HANDLERS = {("diffusers", case): walk for case in _RULES}
