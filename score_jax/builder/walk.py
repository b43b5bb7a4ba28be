"""Where a sampler walks: a process and its times, and how the model is asked there."""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from score_jax.builder.grid import say_where_it_begins, time_grid
from score_jax.builder.model_facts import ModelFacts
from score_jax.builder.options import CHAIN, CONTINUOUS
from score_jax.builder.sampler_options import (
    LATENT_DIFFUSION_QUAD,
    OF_LATENT_DIFFUSION,
    DPMSolver2S,
    Karras,
    Langevin,
    SamplerOptions,
    Stepping,
)
from score_jax.errors import InputError
from score_jax.prediction import coordinates
from score_jax.prediction.coordinates import View
from score_jax.processes.chain import DATA, Chain
from score_jax.processes.gaussian import VE, VP, GaussianProcess, LinearVE, NoiseSchedule
from score_jax.processes.respacing import kept_levels, respace
from score_jax.runtime.multihost import print_once
from score_jax.samplers import grids
from score_jax.samplers.discretised import Discretised, discretised
from score_jax.typing import Time

_say = functools.cache(print_once)
"""Prints a line the first time: samplers are built anew in every trace."""


@dataclasses.dataclass(frozen=True, eq=False)
class Walk:
    """The process, its times, how the model is asked, and score_sde's steps if it is its.

    Attributes:
      process: whose times are walked.
      view: from its times to the model's.
      grid: decreasing times.
      t_min: where it ends.
      denoise: whether the model's x0 is asked for there.
      original: score_sde's discretisation.
      of_latent_diffusion: whether it is latent diffusion's: it ends with noise, and holds what is known before steps.
    """

    process: NoiseSchedule
    view: View
    grid: Float[Array, "n"]
    t_min: float = DATA
    denoise: bool = False
    original: Discretised | None = None
    of_latent_diffusion: bool = False

    @property
    def num_steps(self) -> int:
        """Steps of the grid."""
        return len(self.grid) - 1


def number(function: Callable[[Time], Time], t: float) -> float:
    """Returns the value of a function of time, also within a traced function."""
    with jax.ensure_compile_time_eval():
        return float(function(jnp.asarray(t)))


def _of_score_sde(c: Stepping, model: ModelFacts) -> Walk:
    """score_sde's levels and times, which end in the data."""
    process, values = model.process, model.process_section
    if isinstance(process, GaussianProcess):
        sde, discrete, t_min = process, False, c.t_min
    elif model.process_name == "ve_chain":
        sde, discrete, t_min = VE(values["sigma_min"], values["sigma_max"]), True, 1e-5
    else:
        sde, discrete, t_min = VP(values.get("beta_min", 0.1), values.get("beta_max", 20.0)), True, 1e-3
    original = discretised(sde, c.num_steps, t_min)
    grid = grids.levels(np.arange(c.num_steps))
    return Walk(original.marginals, original.view(discrete=discrete), grid, original=original)


def _along_sigma(c: Karras, model: ModelFacts) -> Walk:
    """EDM's noise levels (Karras et al. 2022, eq. 5), whatever the model's process; of a chain its nearest levels."""
    process, ratio = model.process, functools.partial(number, model.process.noise_to_signal)
    sigma_min, sigma_max = c.sigma_min or ratio(c.t_min), c.sigma_max or ratio(process.t_max)
    grid, edm = grids.karras(c.num_steps, sigma_min, sigma_max, c.rho), LinearVE(sigma_max)
    if isinstance(process, Chain):
        edm = LinearVE(sigma_max, process.noise_to_signal(jnp.arange(float(process.num_levels))))
        grid = jnp.append(edm.time_at(grid[:-1]), 0.0)
    return Walk(edm, coordinates.between(process, edm), grid)


def _over_levels(c: Stepping, model: ModelFacts, chain: Chain) -> Walk:
    """The levels of a chain that are kept."""
    count = chain.num_levels
    kept = kept_levels(count, c.respacing) if c.respacing else grids.even_levels(count, c.num_steps)
    if len(kept) == 1:  # published code keeps the level of least noise, where no sampler can begin
        kept = grids.even_levels(count, 1)
    if c.respacing:
        say_where_it_begins(c, model, chain, int(kept[-1]))
    if isinstance(c, DPMSolver2S):  # asks between the levels of its grid
        return Walk(chain, coordinates.itself(), grids.levels(kept))
    spaced = respace(chain, kept)
    return Walk(spaced.chain, coordinates.of_levels(kept), grids.levels(np.arange(len(kept))))


def _of_latent_diffusion(c: Stepping, chain: Chain) -> Walk:
    """Latent diffusion's levels, after which comes level 0: there its samples end, with the noise of that level.

    Raises:
      InputError: a level is above the last, where that code fails.
    """
    count = chain.num_levels
    levels_of = functools.partial(
        grids.latent_diffusion_levels, count, quadratic=c.discretisation == LATENT_DIFFUSION_QUAD
    )
    taus = levels_of(c.num_steps)
    if taus[-1] >= count:
        counts = [n for n in range(1, count + 1) if len(levels_of(n)) == n and levels_of(n)[-1] < count]
        raise InputError(
            f"sampler.num_steps={c.num_steps} with sampler.discretisation={c.discretisation} asks for level {taus[-1]} "
            f"of 0 to {count - 1}: give one of {', '.join(map(str, counts)) or 'no count'}, or "
            "sampler.discretisation=exact, which takes any count."
        )
    if len(taus) != c.num_steps:
        _say(
            f"sampler.num_steps={c.num_steps} with sampler.discretisation={c.discretisation} takes {len(taus)} steps, "
            f"as that code does, because {c.num_steps} does not divide the {count} levels."
        )
    kept = np.append(0, taus)
    grid = grids.levels(np.arange(1, len(kept)), end=0.0)
    return Walk(respace(chain, kept).chain, coordinates.of_levels(kept), grid, t_min=0.0, of_latent_diffusion=True)


def _at_every_level(c: Langevin, chain: Chain) -> Walk:
    grid = grids.levels(np.arange(chain.num_levels), c.steps_per_level, end=None)
    return Walk(chain, coordinates.itself(), grid, t_min=0.0, denoise=c.denoise)


def walk_of(c: SamplerOptions, model: ModelFacts) -> Walk:
    """Returns where the sampler with these options walks: process, times, and how the model is evaluated.

    Raises:
      InputError: an option is not read for this process, or its steps are too coarse.
    """
    process = model.process
    if isinstance(c, Karras):
        return _along_sigma(c, model)
    if isinstance(c, Langevin):
        assert isinstance(process, Chain)
        return _at_every_level(c, process)
    assert isinstance(c, Stepping)
    c.check_read(CHAIN if isinstance(process, Chain) else CONTINUOUS)
    if c.respacing and not isinstance(process, Chain):
        raise InputError("sampler.respacing is only for chains of levels; in continuous time give sampler.num_steps.")
    if c.discretisation == "score_sde":
        return _of_score_sde(c, model)
    if c.discretisation in OF_LATENT_DIFFUSION:
        if not isinstance(process, Chain):
            raise InputError(
                f"sampler.discretisation={c.discretisation} has levels, and process {model.process_name!r} has none: "
                "give sampler.discretisation=exact."
            )
        return _of_latent_diffusion(c, process)
    if isinstance(process, Chain):
        return _over_levels(c, model, process)
    assert isinstance(process, GaussianProcess)
    return Walk(process, coordinates.itself(), time_grid(c, model, process), t_min=c.t_min, denoise=c.denoise)
