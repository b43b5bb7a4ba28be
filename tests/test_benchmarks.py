"""The benchmarks' claims hold, in their quick form.

Ratios of times are not here: `benchmarks/guard.py` measures those of training's loops, of samplers and of the loader
after all tests, when nothing else runs.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tiny import xla_flags_of_tests

ROOT = Path(__file__).parents[1]
TRAINING = xla_flags_of_tests(8, level=1)
"""Of benchmarks that train."""


def quick(name: str, *arguments: str, flags: str = xla_flags_of_tests(8)) -> dict[str, dict]:
    """The claims of a benchmark's quick form, all of which hold."""
    result = subprocess.run(
        [sys.executable, f"benchmarks/{name}.py", "--json", "--quick", *arguments],
        cwd=ROOT,
        env=os.environ | {"XLA_FLAGS": flags},
        capture_output=True,
        text=True,
        timeout=580,
    )
    assert result.stdout, result.stderr
    claims = {claim["name"]: claim for claim in json.loads(result.stdout)["claims"]}
    assert result.returncode == 0 and all(claim["holds"] for claim in claims.values()), result.stdout + result.stderr
    return claims


@pytest.mark.slow
def test_likelihood_claims_hold():
    claims = quick("likelihood")
    for process in ("vp", "sub_vp", "ve"):
        for dtype in ("float32", "float64"):
            assert claims[f"mixture_{process}_{dtype}_max_nats"]["value"] > 0


@pytest.mark.slow
def test_samplers_claims_hold():
    claims = quick("samplers")
    solvers = {name.removeprefix("order_") for name in claims if name.startswith("order_")}
    assert {
        "heun",
        "dpm_solver_2m",
        "dpm_solver_2s",
        "dpm_solver_3m",
        "unipc",
        "deis",
        "ddim",
        "ancestral",
        "euler_maruyama",
    } <= solvers
    assert {f"two_sample_{solver}" for solver in solvers} <= claims.keys()


@pytest.mark.slow
def test_exponential_integrators_need_fewer_evaluations():
    claims = quick("evaluations")
    assert {f"error_best_exponential_over_ddim_mixture_at_{n}" for n in (10, 20)} <= claims.keys()


@pytest.mark.slow
def test_the_likelihood_needs_fewer_evaluations_on_a_grid():
    claims = quick("likelihood_cost")
    assert {f"bits_{law}_{how}" for law in ("spectrum", "mixture") for how in ("third", "grid")} <= claims.keys()


@pytest.mark.slow
def test_the_swiss_roll_of_2015_is_learnt():
    assert {"swiss_roll_bound_bits", "swiss_roll_importance_over_bound_bits"} <= quick("dpm2015", flags=TRAINING).keys()


@pytest.mark.slow
def test_the_lineage_runs(tmp_path):
    """That its systems learn is what the whole benchmark shows."""
    claims = quick("lineage", "--only=flow", f"--out={tmp_path}", flags=TRAINING)
    assert {"fid_digits_flow", "bits_per_dim_flow", "inpainting_error_flow"} <= claims.keys()


@pytest.mark.slow
def test_an_evaluation_killed_and_rerun_is_the_same():
    assert quick("fid")["resume_identical"]["value"] == 1


@pytest.mark.slow
def test_a_model_of_another_framework_is_measured():
    """That the front door is the verb to the bit is shown in `jobs/test_evaluate.py`."""
    assert {"lines_equinox", "equinox_bits_per_dim_errors", "equinox_frechet_errors"} <= quick("referee").keys()


@pytest.mark.slow
def test_a_known_mutant_is_killed():
    assert quick("mutation")["known_mutant_killed"]["value"] == 1
