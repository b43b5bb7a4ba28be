"""`python -m score_jax plan`."""

import json
import shlex
import sys
from pathlib import Path

from absl import flags

from score_jax.builder import experiment
from score_jax.builder.sections import is_cascade
from score_jax.cli.verb import parse_flags
from score_jax.jobs.foretold import FILE_NAME
from score_jax.jobs.plan import PROGRAMS, kept, plan, table
from score_jax.jobs.plan_cascade import plan_cascade
from score_jax.planning.program import EFFORTS
from score_jax.runtime.results import write_json

_DESCRIPTION = """Computes what a config needs on a TPU slice (memory, FLOPs, time), with the TPU compiler and no TPU.

  python -m score_jax plan --config=configs/adm/imagenet64.py --topology=v5e:4x4
  python -m score_jax plan --config=... --topology=v5p:2x2x2 --programs=train --config.training.batch_size=512
  python -m score_jax plan --config=configs/adm/imagenet256_cascade.py --topology=v5e:2x2

Prints for each program whether it fits into a chip's memory and how much is left, its FLOPs and memory traffic, and the
least time that a step can take. Where training does not fit, `plan` tries in this order: split the state over the chips
(training.fsdp), recompute blocks (network.remat), accumulate gradients over parts of the batch (training.accumulate).
For a cascade it plans the sampling of each stage, with the parameters of the other stages in memory; it needs only the
config.json of each run. Compiling takes minutes on this machine's CPU. --effort=quick takes about a fifth of the time,
and its memory is within a fifth of what a run on the chips needs. --out writes the result; the same command then reads
the file instead of compiling. With --workdir the result is also in WORKDIR/plan.json: `train` and `inspect` then say
what a step took beside what was foretold."""


_OF_PARTS = {"train": None, "sample": "sampler", "likelihood": "likelihood"}
"""The programs that a run has, by the part that they need."""


def _define(values: flags.FlagValues) -> None:
    flags.DEFINE_string("topology", "v5e:4x4", "The TPU slice, CHIP:SHAPE.", flag_values=values)
    flags.DEFINE_list(
        "programs",
        None,
        f"Programs to compile: {', '.join(PROGRAMS)}; by default those that the run has.",
        flag_values=values,
    )
    flags.DEFINE_bool("search", True, "Try other settings where training does not fit.", flag_values=values)
    flags.DEFINE_enum("effort", "full", sorted(EFFORTS), "How much the compiler optimises.", flag_values=values)
    flags.DEFINE_bool("json", False, "One JSON object instead of a table.", flag_values=values)
    flags.DEFINE_string("out", None, "A JSON file for the result.", flag_values=values)


def main(argv: list[str]) -> int:
    """Runs the verb; returns 0 where everything fits, else 1."""
    values = parse_flags(argv, _DESCRIPTION, _define)
    if values is None:
        return 0
    words = [word for word in argv[1:] if not word.startswith(("--out", "--json"))]
    command = shlex.join(["python", "-m", "score_jax", "plan", *words])

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    def compute() -> dict:
        config, topology, effort = values.config, values.topology, values.effort
        if is_cascade(config):
            return plan_cascade(config, topology, tuple(values.programs or ("sample",)), effort=effort, say=say)
        parts = experiment(config).parts if values.programs is None else {}
        programs = tuple(values.programs or (name for name, role in _OF_PARTS.items() if role is None or role in parts))
        return plan(config, topology, programs, search=values.search, effort=effort, say=say)

    result = kept(Path(values.out), command, compute) if values.out else compute()
    if values.workdir:
        write_json(Path(values.workdir) / FILE_NAME, {"command": command} | result)
    print(json.dumps(result, indent=2) if values.json else table(result))
    last = {row["program"]: row["fits"] for row in result["programs"]}
    return 0 if all(last.values()) else 1
