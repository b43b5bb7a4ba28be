"""Which samplers go with a model's process."""

from score_jax.builder.model_facts import ModelFacts
from score_jax.builder.options import CHAIN, CODES, CONTINUOUS, KERNELS, Options
from score_jax.builder.processes import NoProcess, kind_of
from score_jax.builder.sampler_options import (
    ADAPTIVE,
    SAMPLERS,
    EulerMaruyama,
    Langevin,
    OneByOne,
    ReverseKernels,
    Stepping,
)
from score_jax.errors import InputError, unknown_name


def possible_samplers(model: ModelFacts, *, of_score_sde: bool = False) -> list[str]:
    """Returns the names of the samplers that go with the process of a model.

    Args:
      model: facts of the model.
      of_score_sde: in that code's discretisation, whose chains have an SDE too.

    Raises:
      InputError: the run has no process.
    """
    if isinstance(model.process, NoProcess):
        raise InputError(
            f"sampler.name for process {model.process_name!r}: this run is no generative model. Give the workdir of a "
            "model of its latents."
        )
    kind = kind_of(model.process_name)
    other: set[type[Options]] = {
        CONTINUOUS: {Langevin, ReverseKernels, OneByOne},
        CHAIN: {*ADAPTIVE, EulerMaruyama, ReverseKernels, OneByOne},
        KERNELS: set(SAMPLERS.values()) - {ReverseKernels},
        CODES: set(SAMPLERS.values()) - {OneByOne},
    }[kind]
    if kind == CHAIN and of_score_sde:
        other = other - {EulerMaruyama}
    return [name for name, options in SAMPLERS.items() if options not in other]


def check_possible(c: Options, model: ModelFacts) -> None:
    """Raises InputError where a method, by its options, is none that goes with the model's process."""
    possible = possible_samplers(model, of_score_sde=isinstance(c, Stepping) and c.discretisation == "score_sde")
    name = next(name for name, options in SAMPLERS.items() if options is type(c))
    if name not in possible:
        raise unknown_name(f"sampler.name for process {model.process_name!r}:", name, possible)
