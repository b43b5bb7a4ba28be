"""How long does the train step of a shipped config take to compile, from nothing?

    python benchmarks/compile_time.py [--configs=adm/imagenet64,adm/imagenet256] [--json]
    python benchmarks/compile_time.py --configs=all --limit=600 --kept=compile_times.jsonl [--docs] [--json]

compile_seconds_*: tracing, lowering and compiling for one device of this machine, without any cache, at the config's
batch size. No parameters are made: the memory of a laptop suffices. Beside these seconds stand those of the processor,
over all threads, which other work on the machine raises less.
Each config has a process of its own, which is stopped after --limit seconds of the processor. Of configs that lower to
the same program the first one is compiled, and the others are listed with it. What stands in the file --kept is not
measured again, so that a long run can be stopped. With --docs the table goes to docs/performance.md.
"""

import argparse
import dataclasses
import hashlib
import json
import math
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"

import jax
from pages import made_by, put_into_page, row

from report import Claim, emit
from score_jax import builder
from score_jax.cli.config_files import config_of_file, shipped_names
from score_jax.jobs.plan import lower_training
from score_jax.runtime.sharding import make_mesh

ROOT = Path(__file__).parents[1]
TARGET = 120.0
DEFAULT = "score_sde/ve/cifar10_ncsnpp_continuous,adm/imagenet64,adm/imagenet256"


@dataclasses.dataclass(frozen=True)
class Found:
    """Of a config.

    Attributes:
      config: its name.
      program: a hash of what is compiled.
      parameters: that are trained or frozen.
      batch: images of a step.
      lines: of StableHLO.
      tracing: seconds until there is a program.
      compiling: seconds from there; None where the process was stopped.
      processor: seconds of the processor for both.
      same_as: the config whose program it is, whose `compiling` it has.
    """

    config: str
    program: str = ""
    parameters: int = 0
    batch: int = 0
    lines: int = 0
    tracing: float | None = None
    compiling: float | None = None
    processor: float | None = None
    same_as: str | None = None


def measure(name: str) -> None:
    """Prints what is found of a config in this process: what is lowered, then the seconds of its compilation."""
    experiment = builder.experiment(config_of_file(name))
    began, processor = time.monotonic(), time.process_time()
    lowered, b, _ = lower_training(experiment, make_mesh(devices=jax.devices()[:1]))
    traced = time.monotonic() - began
    text = lowered.as_text()
    told = {
        "program": hashlib.sha256(text.encode()).hexdigest()[:16],
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(experiment.network.shapes())),
        "batch": b,
        "lines": text.count("\n"),
        "tracing": traced,
    }
    print(json.dumps(told), flush=True)
    began = time.monotonic()
    lowered.compile()
    told = {"compiling": time.monotonic() - began, "processor": time.process_time() - processor}
    print(json.dumps(told), flush=True)


def found_of(name: str, known: dict[str, Found], limit: float) -> Found:
    """Of a config, in a process of its own, which ends where its program is one of the known ones."""
    command = [sys.executable, __file__, f"--alone={name}", f"--limit={limit}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        try:
            told: dict[str, Any] = json.loads(child.stdout.readline() or "{}")
            same = known.get(told.get("program", ""))
            if same is not None:
                return Found(name, **told, compiling=same.compiling, processor=same.processor, same_as=same.config)
            return Found(name, **told, **json.loads(child.stdout.readline() or "{}"))
        finally:
            child.kill()


def all_found(names: list[str], kept: Path | None, limit: float) -> list[Found]:
    """Of every config; what is in the file is taken from there, and what is found is added to it."""
    found: list[Found] = []
    if kept is not None and kept.exists():
        found = [Found(**json.loads(line)) for line in kept.read_text().splitlines()]
        found = [of for of in found if of.config in names]
    done = {of.config for of in found}
    known = {of.program: of for of in found if of.same_as is None and of.compiling is not None}
    for name in names:
        if name in done:
            continue
        of = found_of(name, known, limit)
        found.append(of)
        known.setdefault(of.program, of)
        print(f"{name}: {of.tracing} {of.compiling} {of.processor} {of.same_as or ''}", file=sys.stderr, flush=True)
        if kept is not None:
            with kept.open("a") as file:
                file.write(json.dumps(dataclasses.asdict(of)) + "\n")
    return found


def claim_of(of: Found, limit: float) -> Claim:
    """Of one config."""
    name = "compile_seconds_" + of.config.replace("/", "_").replace(":", "_")
    if of.tracing is None or of.compiling is None:
        return Claim(name, limit, "s", TARGET, "<=", f"stopped after {limit:g} s of the processor, or failed")
    how = f"{of.parameters / 1e6:.0f} M parameters, batch of {of.batch}, on {jax.default_backend()}"
    how += f"; {of.tracing:.0f} s of it tracing; {of.processor:.0f} s of the processor, {of.lines} lines of StableHLO"
    how += f"; compiled as {of.same_as}" if of.same_as else ""
    return Claim(name, of.tracing + of.compiling, "s", TARGET, "<=", how)


def write_docs(found: list[Found], limit: float) -> None:
    """The table, one row for each program."""
    header = ["config", "parameters, M", "batch", "seconds", "of them tracing", "of the processor", "the same program"]
    table = [row(*header), row("---", *["---:"] * 5, "---")]
    for of in sorted((of for of in found if of.same_as is None), key=lambda of: of.config):
        others = ", ".join(f"`{other.config}`" for other in found if other.same_as == of.config)
        if of.tracing is None or of.compiling is None:
            cells = [f"over {limit:g}", "", ""]
        else:
            cells = [f"{seconds:.0f}" for seconds in (of.tracing + of.compiling, of.tracing, of.processor or 0.0)]
        table.append(row(f"`{of.config}`", f"{of.parameters / 1e6:.0f}", str(of.batch), *cells, others))
    command = "python benchmarks/compile_time.py --configs=all --docs"
    put_into_page(ROOT / "docs" / "performance.md", "compile_time", [made_by(command), "\n".join(table)])


def main() -> int:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout, nothing else")
    parser.add_argument("--docs", action="store_true", help="write the table of docs/performance.md")
    parser.add_argument("--configs", default=DEFAULT, help="names of `python -m score_jax help configs`, or all")
    parser.add_argument(
        "--limit", type=float, default=600.0, help="seconds of the processor after which a config is given up"
    )
    parser.add_argument("--kept", type=Path, help="a file of what is found, where a stopped run goes on")
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(options.limit),) * 2)
        measure(options.alone)
        return 0
    began = time.monotonic()
    names = (
        options.configs.split(",") if options.configs != "all" else [n for n in shipped_names() if "cascade" not in n]
    )
    found = all_found(names, options.kept, options.limit)
    if options.docs:
        write_docs(found, options.limit)
    return emit("compile_time", [claim_of(of, options.limit) for of in found], began, as_json=options.json)


if __name__ == "__main__":
    sys.exit(main())
