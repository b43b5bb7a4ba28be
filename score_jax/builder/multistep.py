"""Multistep exponential integrators: from the options of a method to its rule and the memory it begins with."""

import functools
from collections.abc import Callable
from typing import Any

from score_jax.builder.sampler_options import DEIS, DPMSolver2M, DPMSolver3M, SamplerOptions, SDEDPMSolver2M, UniPC
from score_jax.processes.gaussian import NoiseSchedule
from score_jax.samplers import dpm_solver
from score_jax.samplers.chain import RememberingStep
from score_jax.samplers.deis import deis
from score_jax.samplers.exponential import no_answers
from score_jax.samplers.unipc import nothing_before, unipc
from score_jax.typing import Batch

Multistep = tuple[RememberingStep, Callable[[Batch], Any]]
"""A rule, and what it remembers before the first step, made from x."""


def _of_answers(step: RememberingStep, order: int) -> Multistep:
    return step, functools.partial(no_answers, count=order - 1)


MULTISTEP: dict[type[SamplerOptions], Callable[[Any, NoiseSchedule], Multistep]] = {
    DPMSolver2M: lambda c, process: _of_answers(dpm_solver.multistep(process, 2), 2),
    DPMSolver3M: lambda c, process: _of_answers(dpm_solver.multistep(process, 3), 3),
    SDEDPMSolver2M: lambda c, process: _of_answers(dpm_solver.sde_multistep(process), 2),
    DEIS: lambda c, process: _of_answers(deis(process, c.order), c.order),
    UniPC: lambda c, process: (unipc(process, c.order), functools.partial(nothing_before, order=c.order)),
}
