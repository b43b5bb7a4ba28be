"""Is the ODE likelihood exact, its error honest, and is it fast?

    python benchmarks/likelihood.py [--json] [--quick]
    python benchmarks/likelihood.py --only_loops --peer_python=peer/bin/python --reference=score_sde_pytorch

Where the score is exact the solver's error is measured with the true terminal law; what the prior in its place costs is
a claim of its own, since no tolerance can mend it. The closed form is that of the law at t_min, not at 0.
ratio_likelihood is the time of the original loop over ours, as `samplers.py` says.
"""

import argparse
import os
import sys
import time

if "--only_loops" in sys.argv:  # for speed, as many devices as there are cores
    os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=2")
os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=8")

import jax
from likelihood_laws import coverage_claim, dequantisation_claim, dimension_claims, plane_claims
from likelihood_models import sameness_claims, speed_claims
from loops import LIKELIHOOD, add_flags, loop_claims

from report import Claim, emit


def measure(*, quick: bool) -> list[Claim]:
    """All claims."""
    claims = plane_claims(64 if quick else 512)
    claims += dimension_claims((2, 64) if quick else (2, 64, 3072), lambda dim: 2 if dim > 64 else 16)
    claims += [coverage_claim(1000), dequantisation_claim(4096)]
    if quick:
        return claims
    return claims + sameness_claims() + speed_claims(channels=64, size=8, tolerance=1e-5, rounds=3, batch=64)


def main() -> int:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout, nothing else")
    parser.add_argument("--quick", action="store_true", help="fewer points, no 3072 dimensions, no networks")
    add_flags(parser, LIKELIHOOD)
    arguments = parser.parse_args()
    jax.config.update("jax_default_matmul_precision", "highest")
    began = time.monotonic()
    claims = [] if arguments.only_loops else measure(quick=arguments.quick)
    claims += loop_claims(arguments, LIKELIHOOD)
    return emit("likelihood", claims, began, as_json=arguments.json)


if __name__ == "__main__":
    sys.exit(main())
