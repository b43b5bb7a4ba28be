"""The benchmarks' claims hold, in their quick form."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_likelihood_claims_hold():
    result = subprocess.run(
        [sys.executable, "benchmarks/likelihood.py", "--json", "--quick"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    report = json.loads(result.stdout)
    claims = {claim["name"]: claim for claim in report["claims"]}
    assert all(claim["holds"] for claim in claims.values())
    for process in ("vp", "sub_vp", "ve"):
        for dtype in ("float32", "float64"):
            assert claims[f"mixture_{process}_{dtype}_max_nats"]["value"] > 0
