"""How long does the train step of a published model take to compile, from nothing?

    python benchmarks/compile_time.py [--models=ncsnpp_cifar10,adm256] [--json]

compile_seconds_*: tracing, lowering and compiling for one device of this machine, without any cache, at the paper's
batch size. No parameters are made: the memory of a laptop suffices.
"""

import argparse
import os
import sys
import time

os.environ.setdefault("JAX_ENABLE_COMPILATION_CACHE", "false")

import jax
from published import PUBLISHED

from report import Claim, emit
from score_jax import builder
from score_jax.jobs.plan import lower_training
from score_jax.runtime.sharding import make_mesh

TARGET = 120.0


def compile_claim(name: str) -> Claim:
    """Of one model."""
    experiment = builder.experiment(PUBLISHED[name].config.get_config())
    began = time.monotonic()
    lowered, b, _ = lower_training(experiment, make_mesh(devices=jax.devices()[:1]))
    traced = time.monotonic()
    lowered.compile()
    seconds = time.monotonic() - began
    count = sum(leaf.size for leaf in jax.tree.leaves(experiment.network.shapes()))
    how = f"{count / 1e6:.0f} M parameters, batch of {b}, on {jax.default_backend()}"
    how += f"; {traced - began:.0f} s of it tracing, {len(lowered.as_text().splitlines())} lines of StableHLO"
    return Claim(f"compile_seconds_{name}", seconds, "s", TARGET, "<=", how)


def main() -> int:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout, nothing else")
    parser.add_argument("--models", default="ncsnpp_cifar10,adm64,adm256", help=f"of {', '.join(PUBLISHED)}")
    options = parser.parse_args()
    began = time.monotonic()
    return emit(
        "compile_time", [compile_claim(name) for name in options.models.split(",")], began, as_json=options.json
    )


if __name__ == "__main__":
    sys.exit(main())
