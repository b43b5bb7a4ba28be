"""`plan` of a cascade: the sampling of each stage, beside the parameters of the others, which stay on the chips."""

import dataclasses
from collections.abc import Callable
from typing import Any

from ml_collections import ConfigDict

from score_jax.builder.cascade import errors_of_stage
from score_jax.errors import InputError, counted, unknown_name
from score_jax.jobs.cascades import fitting_experiments
from score_jax.jobs.plan import PROGRAMS, Planned, Setting, planned, slice_facts
from score_jax.planning.program import compiler_effort
from score_jax.planning.topology import slice_devices


def plan_cascade(
    config: ConfigDict,
    topology: str,
    programs: tuple[str, ...],
    *,
    say: Callable[[str], None],
    effort: str = "full",
) -> dict[str, Any]:
    """Compiles the sampler of each stage for a slice and says what it needs, JSON-able: a row for each, as `plan` does.

    A row's memory counts the parameters of the other stages too, "other_stages_bytes": all stages stay in memory.

    Args:
      config: of the cascade; of its runs the configs are read, and no parameters.
      topology: the slice, such as "v5e:4x4".
      programs: "sample" alone.
      say: prints a line of progress.
      effort: how hard the compiler tries, of `planning.program.EFFORTS`.

    Raises:
      InputError: another program is asked for; slice or effort are unknown, a batch does not split over the chips, or
        the runs do not fit one another; or there is no compiler.
    """
    for name in programs:
        if name not in PROGRAMS:
            raise unknown_name("program", name, PROGRAMS)
        if name != "sample":
            raise InputError(f"A cascade has no program {name!r}: plan that of each of its runs, --programs={name}.")
    devices, chip = slice_devices(topology)
    found = {}
    with compiler_effort(effort):
        for name, experiment in fitting_experiments(config).items():
            say(f"sample {name}: compiling for {counted(len(devices), 'device')} ...")
            with errors_of_stage(name):
                found[name] = planned(experiment, devices, "sample", Setting(1, (), 1), chip)
    held = sum(stage.state_bytes for stage in found.values())
    rows = []
    for name, stage in found.items():
        others = held - stage.state_bytes
        whole = beside(stage, others)
        say(f"sample {name}: {'fits' if whole.program.fits else 'does not fit'}.")
        about = {"program": f"sample {name}", "workdir": config.cascade[name].workdir, "other_stages_bytes": others}
        rows.append(whole.as_dict(chip, len(devices)) | about)
    return slice_facts(topology, len(devices), chip) | {"effort": effort, "parameters_bytes": held, "programs": rows}


def beside(stage: Planned, others: int) -> Planned:
    """The program of a stage where others take so many bytes of a chip."""
    memory = stage.program.memory + others
    fits = stage.program.fits and memory <= stage.program.limit
    return dataclasses.replace(stage, program=dataclasses.replace(stage.program, memory=memory, fits=fits))
