"""Is the front door right: models of any framework, in three lines, against closed forms and against the verbs?

    python benchmarks/referee.py [--json] [--quick]

The examples are those of docs/python.md, which are run as they stand: the exact model of a Gaussian in Linen, NNX,
Equinox and as a plain function. A network of ours is measured by the verbs and through the front door, on 1 and 8
devices and in 2 processes, stopped, and killed by SIGKILL. `--quick` runs one of the four examples and nothing else.
"""

import argparse
import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=2")

import jax.numpy as jnp
import numpy as np
from referee_jobs import job_claims
from referee_runs import run_claims
from scipy import stats

import score_jax as sj
from report import Claim, emit

ROOT = Path(__file__).resolve().parents[1]
MEAN, STD = 0.1, 0.3
"""Of a pixel of the examples."""
OTHER_MEAN, OTHER_STD = -0.05, 0.2
FRAMEWORKS = {"function": "A function", "linen": "Linen", "nnx": "NNX", "equinox": "Equinox"}
_MARK = "# measured\n"
_LINEAR = np.random.default_rng(5).normal(size=(16, 2)).astype(np.float32) / 4


def linear(images):
    """A linear feature of pixels in [-1, 1], the middles of their levels."""
    return ((images.reshape(len(images), -1).astype(jnp.float32) + 0.5) / 128 - 1) @ _LINEAR


def examples() -> dict[str, str]:
    """The code of docs/python.md by framework."""
    page = (ROOT / "docs" / "python.md").read_text()
    found = {}
    for name, heading in FRAMEWORKS.items():
        section = page.partition(f"\n### {heading}\n")[2]
        code = re.search(r"```python\n(.*?)```", section, re.DOTALL)
        assert code is not None and _MARK in code[1], heading
        found[name] = code[1]
    return found


def lines_claim(name: str, code: str) -> Claim:
    """The lines that a user writes beside a model that they have."""
    lines = [line for line in code.partition(_MARK)[2].splitlines() if line.strip()]
    how = "bits/dim, samples and FID of a model that is there, a line each (docs/python.md)"
    return Claim(f"lines_{name}", len(lines), "lines", 3, "<=", how)


def framework_claims(name: str, code: str, folder: Path, count: int) -> list[Claim]:
    """What the example says, its density of points, and the distance of its samples, against the closed forms."""
    made: dict[str, Any] = {}
    exec(compile(code, f"docs/python.md: {name}", "exec"), made)
    bits, closed = made["bits"], 0.5 * np.log2(2 * np.pi * np.e * STD**2) + 7
    how = f"{bits.mean:.4f} +- {bits.standard_error:.4f} bits/dim of 64 images, in expectation {closed:.4f}"
    away = abs(bits.mean - closed) / bits.standard_error
    claims = [Claim(f"{name}_bits_per_dim_errors", float(away), "errors", 3, "<=", how)]
    x = (MEAN + STD * np.random.default_rng(1).normal(size=(64, 4, 4, 1))).astype(np.float32)
    exact = stats.norm.logpdf(x, MEAN, STD).sum(axis=(1, 2, 3))
    found = sj.log_prob(made["model"], sj.VP(), x, divergence="exact").log_prob - exact
    how = f"largest error of 64 points of 16 dimensions; root mean square {np.sqrt(np.mean(found**2)):.2g}"
    claims.append(Claim(f"{name}_log_prob_nats", float(np.abs(found).max()), "nats", 0.02, "<=", how))
    return [*claims, _distance(name, made["draw"], folder, count)]


def _distance(name: str, draw: Any, folder: Path, count: int) -> Claim:
    """Of samples of the example from another law, of which a file has the true statistics."""
    weights = _LINEAR.astype(float)
    law = folder / "law.npz"
    np.savez(law, mu=OTHER_MEAN * weights.sum(axis=0), sigma=OTHER_STD**2 * weights.T @ weights)
    found = sj.evaluate(
        draw,
        reference=law,
        num_samples=count,
        protocol=None,
        features=linear,
        value_range=(-1, 1),
        batch_size=250,
    )
    shift = (MEAN - OTHER_MEAN) * weights.sum(axis=0)
    exact = float(shift @ shift + (STD - OTHER_STD) ** 2 * np.trace(weights.T @ weights))
    value, error = found["fid_linear"], found["fid_linear_standard_error"]
    how = f"{value:.5f} +- {error:.5f} of {count} samples in a linear feature, of the two laws {exact:.5f}"
    return Claim(f"{name}_frechet_errors", abs(value - exact) / error, "errors", 4, "<=", how)


def import_claim() -> Claim:
    """Of the package in a process of its own."""
    code = "import time; began = time.perf_counter(); import score_jax; print(time.perf_counter() - began)"
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(3)]
    seconds = min(float(run.stdout) for run in runs)
    return Claim("import_seconds", seconds, "s", 0.5, "<=", "import score_jax, the best of three processes")


def main() -> int:
    """Prints the claims; 1 where one does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    parser.add_argument("--quick", action="store_true", help="one of the frameworks alone, with fewer samples")
    options = parser.parse_args()
    began, codes = time.monotonic(), examples()
    claims = [import_claim(), *(lines_claim(name, code) for name, code in codes.items())]
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):  # what the jobs say
        for name in ("equinox",) if options.quick else codes:
            claims += framework_claims(name, codes[name], Path(folder), 2000 if options.quick else 10_000)
        if not options.quick:
            claims += run_claims(Path(folder), count=400)
            claims += job_claims(Path(folder), count=400)
    return emit("referee", claims, began, as_json=options.json)


if __name__ == "__main__":
    sys.exit(main())
