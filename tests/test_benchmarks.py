"""The benchmarks' claims hold, in their quick form."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def measured(name: str, *arguments: str, devices: int = 8) -> dict[str, dict]:
    """The claims of a benchmark's quick form; a claim that does not hold is the one way in which it may fail."""
    result = subprocess.run(
        [sys.executable, f"benchmarks/{name}.py", "--json", "--quick", *arguments],
        cwd=ROOT,
        env=os.environ
        | {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"},  # optimised, as users have it
        capture_output=True,
        text=True,
        timeout=580,
    )
    assert result.stdout, result.stderr
    claims = {claim["name"]: claim for claim in json.loads(result.stdout)["claims"]}
    failing = not all(claim["holds"] for claim in claims.values())
    assert result.returncode == failing, result.stdout + result.stderr
    return claims


def quick(name: str, *arguments: str, **how: int) -> dict[str, dict]:
    """The same, all of which hold."""
    claims = measured(name, *arguments, **how)
    assert all(claim["holds"] for claim in claims.values()), claims
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
    assert {"heun", "dpm_solver_2m", "dpm_solver_2s", "ddim", "ancestral", "euler_maruyama"} <= solvers
    assert {f"two_sample_{solver}" for solver in solvers} <= claims.keys()


@pytest.mark.slow
def test_the_toys_of_2015_are_learnt():
    assert {"heartbeat_bound_bits", "swiss_roll_bound_bits", "dead_leaves_bound_bits_per_pixel"} <= quick(
        "dpm2015"
    ).keys()


@pytest.mark.slow
def test_the_lineage_runs(tmp_path):
    """The system without a config, one with; that they learn is what the whole benchmark shows."""
    claims = quick("lineage", "--only=dpm2015,flow", f"--out={tmp_path}")
    assert {"fid_digits_dpm2015", "bits_per_dim_flow", "inpainting_error_flow"} <= claims.keys()
    again = quick("lineage", "--only=dpm2015,flow", f"--out={tmp_path}")  # what is done is kept
    assert again == claims


@pytest.mark.slow
def test_what_runs_in_a_loop_is_as_fast_as_outside():
    """Medians of rounds in turns; a ratio above its bound has been measured again in more of them."""
    claims = quick("train_step", devices=2)
    assert list(claims) == ["loop_ratio", "loop_ratio_dispatch", "loop_ratio_accumulate"]
    assert all(claim["target"] == 1.1 and claim["value"] > 0.3 for claim in claims.values())


@pytest.mark.slow
def test_the_input_keeps_ahead():
    """Its rates are of a calm machine; here they are measured at all."""
    claims = measured("input_pipeline")
    assert {"input_arrays", "input_jpegs", "waiting", "dispatch"} == claims.keys()
    assert claims["input_arrays"]["value"] > 100 and claims["input_jpegs"]["value"] > 10


@pytest.mark.slow
def test_an_evaluation_killed_and_rerun_is_the_same():
    assert quick("fid")["resume_identical"]["value"] == 1


@pytest.mark.slow
def test_known_mutants_are_killed():
    assert quick("mutation")["known_mutants_killed"]["value"] == 1
