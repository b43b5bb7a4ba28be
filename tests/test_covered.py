"""Lines that ran are counted in every worker, and too few fail a session whose tests pass."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
def test_lines_of_two_workers_are_counted_and_too_few_fail():
    arguments = ["-n", "2", "--dist", "load", "--covered=50", "tests/codecs/test_pixels.py"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    counted = dict(re.findall(r"^(\S+\.py) .* (\d+)%$", done.stdout, re.MULTILINE))
    assert int(counted["score_jax/codecs/pixels.py"]) > 80 and counted["score_jax/training/step.py"] == "0"
    assert len(counted) == len(list((ROOT / "score_jax").rglob("*.py")))
    assert re.search(r"of the lines ran, not 50 %", done.stdout) and " passed" in done.stdout
    assert " failed" not in done.stdout
