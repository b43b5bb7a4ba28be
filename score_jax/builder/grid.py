"""The times of a sampler by `sampler.grid`, and whether its steps are short enough for the process and the rule.

Numbers are of data N(0, std²) with std a twentieth of their range, 0.1 in [-1, 1], by their exact score.
"""

import functools
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from score_jax.builder.model_facts import ModelFacts
from score_jax.builder.sampler_options import PredictorCorrector, ReverseDiffusion, Stepping
from score_jax.errors import InputError, quoted
from score_jax.processes.chain import Chain
from score_jax.processes.gaussian import Cosine, Flow, GaussianProcess, LinearVE, NoiseSchedule
from score_jax.runtime.multihost import print_once
from score_jax.samplers import coarseness, grids

Grid = Float[Array, "n"]
_COARSE = 1.25
"""Factor in the variance of the data from which on a grid is too coarse for DDIM, and so for the other rules."""
_COARSE_HALF_SCORE = 1.6
"""The same for reverse diffusion along the flow, whose error has a larger constant."""
_NEAR_THE_PRIOR = 0.01
"""Nats a dimension."""
_say = functools.cache(print_once)
"""Prints a line the first time: samplers are built anew in every trace."""


def _std(model: ModelFacts) -> float:
    return model.codec.width / 20


def _loses_its_signal(process: NoiseSchedule) -> bool:
    """Whether the first steps of an even grid multiply the signal, however many they are."""
    return isinstance(process, Flow | Cosine)


def _half_score(c: Stepping) -> bool:
    """Whether the rule is reverse diffusion with half of the score."""
    if isinstance(c, PredictorCorrector):
        return c.probability_flow and c.predictor == "reverse_diffusion"
    return isinstance(c, ReverseDiffusion) and c.probability_flow


def time_grid(c: Stepping, model: ModelFacts, process: GaussianProcess) -> Grid:
    """Returns the times from the process's end to `sampler.t_min`.

    "auto" is even in time, but in log-SNR where such steps are coarse: under linear_ve, whose time is the noise level,
    320 even steps multiply the variance by 0.02 to 5; reverse diffusion's flow under flow and cosine triples it.

    Raises:
      InputError: the grid has hardly a step where the data are.
    """
    spacings = {
        "uniform": lambda: grids.uniform(c.num_steps, c.t_min, process.t_max),
        "quadratic": lambda: grids.quadratic(c.num_steps, c.t_min, process.t_max),
        "log_snr": lambda: grids.log_snr(c.num_steps, process, c.t_min, process.t_max),
    }
    noise_is_time = isinstance(process, LinearVE)
    own = noise_is_time or (_half_score(c) and _loses_its_signal(process))
    spacings["auto"] = spacings["log_snr" if own else "uniform"]
    grid = spacings[c.grid]()
    if noise_is_time and c.grid in ("uniform", "quadratic"):
        ratio = coarseness.variance_ratio(coarseness.ddim_factor, process, grid, _std(model))
        if not 1 / _COARSE < ratio < _COARSE:
            raise InputError(
                f"sampler.grid={c.grid} with sampler.num_steps={c.num_steps} is too coarse for {model.process_name}, "
                f"whose time is the noise level: samples of data with standard deviation {_std(model):.2g} would have "
                f"{ratio:.2g} times the variance. Give sampler.grid=auto, which is uniform in log-SNR, or more steps."
            )
    return grid


def check_half_score(model: ModelFacts, process: NoiseSchedule, grid: Grid) -> None:
    """Whether reverse diffusion along the flow, an expansion in the 1 - a and b² of its steps, is near the flow.

    Under VE, VP, sub-VP, whose rule it is, and chains like theirs it is with more steps, and a line says so where these
    are few. Where the signal vanishes within a step more steps hardly help.

    Raises:
      InputError: it is off by more than `_COARSE_HALF_SCORE` in the variance, and the process is of those.
    """
    with jax.ensure_compile_time_eval():
        ratio = coarseness.variance_ratio(coarseness.reverse_diffusion_factor, process, grid, _std(model))
        smallest = float(jnp.min(process.kernel(grid[:-1], grid[1:])[0]))
    if ratio < _COARSE_HALF_SCORE:
        return
    found = (
        f"reverse_diffusion with sampler.probability_flow in {len(grid) - 1} steps gives samples {ratio:.2g} times the "
        f"variance of the data (standard deviation {_std(model):.2g}) under process {model.process_name}"
    )
    if _loses_its_signal(process) or (isinstance(process, Chain) and smallest < 0.5):
        raise InputError(
            f"{found}: choose ddim, dpm_solver_2m or heun, which follow the same flow, or leave probability_flow out."
        )
    _say(f"{found}: give more steps, or choose ddim, dpm_solver_2m or heun, which follow the same flow.")


def say_where_it_begins(c: Stepping, model: ModelFacts, chain: Chain, level: int) -> None:
    """Prints a line where images at the highest kept level are further from the prior than at the chain's last."""
    low, high = model.codec.bounds

    def nats(level: int) -> float:
        """KL divergence of x_t from the prior in a dimension whose x0 is at the end of the range."""
        with jax.ensure_compile_time_eval():
            t = jnp.asarray(float(level))
            alpha, sigma = (float(of(t)) / float(chain.prior_std) for of in (chain.alpha, chain.sigma))
        return 0.5 * (alpha**2 * max(low**2, high**2) + sigma**2 - 1) - math.log(sigma)

    last = chain.num_levels - 1
    if nats(level) > _NEAR_THE_PRIOR + nats(last):
        _say(
            f"sampler.respacing={quoted(c.respacing)} begins at level {level} of 0 to {last}, where "
            f"images still show ({nats(level):.2g} nats from the prior in a dimension), but a sampler begins with "
            "noise: a number of steps alone begins at the last level."
        )
