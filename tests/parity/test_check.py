"""Every parity file passes in float64, and the checker notices what is wrong."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import check
from tiny import environment, xla_flags

HERE = Path(__file__).parent
SHIPPED = sorted((HERE / "files").rglob("*.npz"))
FOLDER = Path(os.environ.get("SCORE_JAX_PARITY", HERE.parents[2] / "shared" / "parity"))
SYSTEMS = (
    "blended_diffusion",
    "clip",
    "ddpm",
    "diffusers",
    "dinov2",
    "edm",
    "fd_loss",
    "guided_diffusion",
    "improved_diffusion",
    "inception",
    "latent_diffusion",
    "lpips",
    "metrics",
    "ncsn",
    "ncsnv2",
    "score_sde",
    "unclip",
    "vgg16",
)
NAMES = {f"{path.parent.name}/{path.name}" for path in SHIPPED}
ELSEWHERE = [p for system in SYSTEMS for p in sorted(FOLDER.glob(f"{system}/*.npz"))]
ELSEWHERE = [path for path in ELSEWHERE if f"{path.parent.name}/{path.name}" not in NAMES]
SMALL = HERE / "files" / "score_sde" / "net_ncsnpp_ddpmblocks.npz"


def name(path):
    return f"{path.parent.name}-{path.stem}"


@pytest.mark.parametrize("path", SHIPPED, ids=name)
def test_equals_the_original_in_float64(path):
    results = check.check(path, x64=True)
    assert len(results) >= 1
    assert all(result.passes for result in results), [r for r in results if not r.passes]


@pytest.mark.slow
def test_equals_the_original_in_float32():
    """As users compile: without XLA's emitters of fusions the rounding of float32 is another."""
    files = [str(path) for path in SHIPPED[::8]]
    command = [sys.executable, str(HERE / "check.py"), *files, "--json"]
    settings = environment() | {"XLA_FLAGS": xla_flags(1)}
    done = subprocess.run(command, env=settings, capture_output=True, text=True)
    found = json.loads(done.stdout)
    assert done.returncode == 0 and {result["file"] for result in found["results"]} == set(files)
    assert not [result for result in found["results"] if not result["passes"]]


@pytest.mark.slow
@pytest.mark.skipif(not ELSEWHERE, reason=f"no parity files in {FOLDER} (set SCORE_JAX_PARITY)")
@pytest.mark.parametrize("path", ELSEWHERE, ids=name)
def test_files_elsewhere_equal_the_original(path):
    assert all(result.passes for result in check.check(path, x64=True))


def altered(tmp_path, change):
    """A copy of the small file with other contents."""
    with np.load(SMALL) as z:
        arrays = {key: z[key] for key in z.files}
    change(arrays)
    np.savez(tmp_path / "altered.npz", **arrays)
    return tmp_path / "altered.npz"


def meta_with(arrays, **changes):
    arrays["meta"] = np.array(json.dumps(json.loads(str(arrays["meta"])) | changes))


def test_another_weight_fails(tmp_path, capsys):
    def change(arrays):
        weight = arrays["params/all_modules.9.Conv_0.weight"]
        arrays["params/all_modules.9.Conv_0.weight"] = weight * 1.001

    path = altered(tmp_path, change)
    assert check.main([str(path), "--x64"]) == 1
    assert capsys.readouterr().out.count("FAILS") == 2
    assert check.main([str(SMALL), str(path), "--json", "--x64"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert [row["passes"] for row in report["results"]] == [True, True, False, False]


def test_outputs_that_are_not_numbers_fail(tmp_path):
    def change(arrays):
        arrays["params/all_modules.16.bias"] = np.full_like(arrays["params/all_modules.16.bias"], np.nan)

    assert check.main([str(altered(tmp_path, change))]) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda arrays: meta_with(arrays, case="pc_ve_rd_langevin"),
        lambda arrays: meta_with(arrays, case="annealed_importance_sampling"),
        lambda arrays: meta_with(arrays, system="stylegan"),
        lambda arrays: arrays.pop("meta"),
        lambda arrays: arrays.pop("params/all_modules.9.Conv_0.weight"),
        lambda arrays: meta_with(arrays, config={"model": {"name": "ncsnpp"}, "data": {}}),
        lambda arrays: arrays.update({"out/attention_map": np.zeros(3)}),
    ],
)
def test_unknown_cases_are_told_apart_from_failures(tmp_path, capsys, change):
    assert check.main([str(altered(tmp_path, change)), "--json"]) == 2
    assert len(json.loads(capsys.readouterr().out)["unknown"]) == 1


def test_what_is_no_parity_file_is_unknown(tmp_path):
    shutil.copy(Path(__file__), tmp_path / "text.npz")
    assert check.main([str(tmp_path / "text.npz")]) == 2
    assert check.main([str(tmp_path / "absent.npz")]) == 2
