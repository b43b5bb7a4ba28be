"""`python -m score_jax plan`."""

import json
import shlex
import sys
from pathlib import Path

from absl import flags

from score_jax.builder.sections import is_cascade
from score_jax.cli.verb import parse_flags
from score_jax.jobs.plan import PROGRAMS, kept, plan, table
from score_jax.jobs.plan_cascade import plan_cascade
from score_jax.planning.program import EFFORTS

_DESCRIPTION = """What training, sampling and likelihood need on a TPU slice, from the real TPU compiler, without a TPU.

  python -m score_jax plan --config=configs/adm/imagenet64.py --topology=v5e:4x4
  python -m score_jax plan --config=... --topology=v5p:2x2x2 --programs=train --config.training.batch_size=512
  python -m score_jax plan --config=configs/adm/imagenet256_cascade.py --topology=v5e:2x2

Prints whether each program fits into a chip's memory and by how much, its FLOPs and traffic, and the least time that
a step can take there. Where training does not fit, the state is split over the chips (training.fsdp), then blocks are
recomputed (network.remat), then the batch is parted (training.accumulate), until it does. Of a cascade the sampling of
each stage is planned, beside the parameters of the others; of its runs it needs the config.json alone. Compiling
takes minutes, on this machine's processor; --effort=quick takes about a fifth of the time, and finds memory within a
fifth of what a run on the chips needs. --out keeps the result, and the same command then reads it."""


def _define(values: flags.FlagValues) -> None:
    flags.DEFINE_string("topology", "v5e:4x4", "The slice, CHIP:SHAPE.", flag_values=values)
    flags.DEFINE_list("programs", None, f"Which to compile: {', '.join(PROGRAMS)}; all by default.", flag_values=values)
    flags.DEFINE_bool("search", True, "Try other settings where training does not fit.", flag_values=values)
    flags.DEFINE_enum("effort", "full", sorted(EFFORTS), "How hard the compiler tries.", flag_values=values)
    flags.DEFINE_bool("json", False, "One JSON object instead of a table.", flag_values=values)
    flags.DEFINE_string("out", None, "A JSON file to keep the result in.", flag_values=values)


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
        programs = tuple(values.programs or PROGRAMS)
        return plan(config, topology, programs, search=values.search, effort=effort, say=say)

    result = kept(Path(values.out), command, compute) if values.out else compute()
    print(json.dumps(result, indent=2) if values.json else table(result))
    last = {row["program"]: row["fits"] for row in result["programs"]}
    return 0 if all(last.values()) else 1
