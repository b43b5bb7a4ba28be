"""Has anything become much slower? A dozen ratios of times, each against the interval it has had.

    python benchmarks/guard.py [--json] [--only=train_loop,loader]

Ratios say nothing of how fast a machine is, so that they are nearly the same everywhere. One that leaves its interval
is measured once more in three times as many rounds; if it stays outside, the exit code is 1, and a line says what that
usually means. Two minutes on two CPU cores; `launch/test.sh` runs it after the tests.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=2")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).resolve().parents[1] / ".cache" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # XLA repeats at each program what it thinks of the cached code

from guard_ratios import pairs
from ratios import Ratio, settled

from report import Claim, emit
from score_jax.runtime.host_memory import keep_freed_memory


class Guarded(NamedTuple):
    """The interval of a ratio, rounds, and what it usually means that the ratio is above."""

    low: float
    high: float
    rounds: int
    above: str


_IN_LOOPS = "an operation compiles to slow code within loops, as gradients of convolutions did before"

TABLE = {
    "train_loop": Guarded(
        0.4, 2.0, 3, "`train` runs another, slower program than the jitted step, or waits for data or logs"
    ),
    "train_dispatch": Guarded(0.4, 2.0, 3, f"training.steps_per_dispatch: {_IN_LOOPS}"),
    "train_accumulate": Guarded(0.4, 2.0, 3, f"training.accumulate: {_IN_LOOPS}"),
    "network_gradient": Guarded(1.5, 7.0, 3, "a layer's gradient has become slow, or is computed twice"),
    "loader": Guarded(3.0, 250.0, 3, "the loader does more for an image than before, or has lost its threads"),
    "sampler": Guarded(0.4, 2.0, 3, "samplers do more than ask the network, or it is slower within their loop"),
    "sampler_guided": Guarded(0.4, 2.0, 3, f"guidance: {_IN_LOOPS}"),
    "network_forward": Guarded(1.0, 10.0, 3, "convolutions take a slow path, or a layer computes more than it did"),
    "likelihood": Guarded(0.4, 2.0, 3, f"the likelihood's solve: {_IN_LOOPS}"),
    "kernel_gradient": Guarded(0.5, 6.0, 3, _IN_LOOPS),
    "features": Guarded(0.3, 5.0, 3, "the features of evaluations have become slow"),
    "help": Guarded(0.05, 4.0, 1, "the command imports at its start what only verbs need"),
    "imports": Guarded(1.2, 8.0, 1, "a heavy package is imported at the start"),
    "first_step": Guarded(
        2.0, 60.0, 1, "`train` does more before its first step, or programs are not found in the cache"
    ),
}
"""Wide of what was measured on two cores, calm and busy, under jax 0.10.1 and 0.12.0.1. For scale: one regression took
the ratios of training to 16 to 25, that of a guided sampler to 5, that of the likelihood to 13, the kernel's to 200.
Far below means that what a time is compared with has become slow."""


def guarded(ratio: Ratio) -> Claim:
    """The ratio against its interval: against the end that it is beyond, or the upper one."""
    low, high, *_ = TABLE[ratio.name]
    target, sense = (low, ">=") if ratio.value < low else (high, "<=")
    return Claim(ratio.name, ratio.value, "", target, sense, f"in [{low:g}, {high:g}]: {ratio.how}")


def measure(folder: Path, names: list[str]) -> list[Claim]:
    """The ratios that are named."""
    claims, makers = [], pairs(folder)
    for name in names:
        low, high, rounds, _ = TABLE[name]
        claims.append(guarded(settled(makers[name](), rounds, lambda value, low=low, high=high: low <= value <= high)))
    return claims


def violations(claims: list[Claim]) -> list[str]:
    """A line for each claim that does not hold: the ratio, its interval, and what it usually means."""
    lines = []
    for claim in claims:
        if not claim.holds:
            low, high, _, above = TABLE[claim.name]
            means = above if claim.value > high else "what it is compared with has become slow"
            lines.append(f"{claim.name} is {claim.value:.3g}, outside [{low:g}, {high:g}]: usually {means}.")
    return lines


def main() -> int:
    """Runs the guard."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout, nothing else")
    parser.add_argument("--only", default=",".join(TABLE), help="names of ratios")
    options = parser.parse_args()
    names = options.only.split(",")
    if not set(names) <= TABLE.keys():
        parser.error(f"--only={options.only}: expected some of {', '.join(TABLE)}.")
    keep_freed_memory()  # as the command line does
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        claims = measure(Path(folder), names)
    code = emit("guard", claims, began, as_json=options.json)
    for line in violations(claims):
        print(line, file=sys.stderr if options.json else sys.stdout)
    if not options.json:
        print(f"guard: {len(claims)} ratios in {time.monotonic() - began:.0f} s.")
    return code


if __name__ == "__main__":
    sys.exit(main())
