"""`doctor` says what is there, and one line for each thing that is not."""

import importlib.metadata
import json
import sys
from pathlib import Path

import jax
import pytest
from packaging.requirements import Requirement

from score_jax.cli import doctor
from score_jax.self_test import suite
from score_jax.self_test.check import Result

RESULTS = [
    Result("sums", 1e-7, 2e-7, True, ""),
    Result("products", 1e-3, 1e-2, True, "TF32 here"),
    Result("doubles", None, None, True, "not tested: this machine has none"),
]
WRONG = Result("softmax of rows", 3e-1, 2e-7, False, "The softmax is wrong: install another jax.")
REQUIREMENTS = [
    "numpy>=1.0",
    "scipy>=10000",
    "no-such-package>=1.5",
    'pytest>=1; extra == "dev"',
    'no-such-plugin; extra == "tpu"',
    'no-such-backport; python_version < "3.0"',
]


@pytest.fixture(autouse=True)
def results(monkeypatch: pytest.MonkeyPatch) -> list[Result]:
    """What the self-test says; itself it is tested in tests/self_test/test_self_test.py."""
    said = list(RESULTS)
    monkeypatch.setattr(suite, "run", lambda: said)
    return said


@pytest.fixture
def declared(monkeypatch: pytest.MonkeyPatch):
    """Makes the package declare the given requirements."""

    real = importlib.metadata.requires

    def declare(requirements: list[str]) -> None:
        monkeypatch.setattr(
            importlib.metadata,
            "requires",
            lambda name: requirements if name == doctor.PACKAGE else real(name),
        )
        version = importlib.metadata.version
        monkeypatch.setattr(importlib.metadata, "version", lambda n: "0.1" if n == doctor.PACKAGE else version(n))

    return declare


def test_requirements_that_are_not_met_are_named_with_their_mend(declared, capsys):
    declared(REQUIREMENTS)
    assert doctor.main(["doctor", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    required = report["packages"]["required"]
    assert {name: p["ok"] for name, p in required.items()} == {
        "numpy": True,
        "scipy": False,
        "no-such-package": False,
    }
    assert required["scipy"]["installed"] == importlib.metadata.version("scipy")
    problems = [p["what"] for p in report["problems"] if p["required"]]
    assert len(problems) == 2
    assert "pip install 'scipy>=10000'" in problems[0]
    assert "pip install 'no-such-package>=1.5'" in problems[1]
    assert report["packages"]["extras"]["dev"]["missing"] == []
    assert report["packages"]["extras"]["tpu"]["missing"] == ["no-such-plugin is not installed, any version is needed"]
    assert not report["ok"]


def test_a_complete_machine_passes_with_a_missing_extra(declared, capsys):
    declared(["numpy>=1.0", 'no-such-plugin; extra == "tpu"'])
    assert doctor.main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert f"{jax.device_count()} x cpu" in text
    assert "no-such-plugin" in text
    assert text.endswith("All requirements are met.\n")


def test_a_package_that_is_not_installed_is_a_problem(monkeypatch):
    def absent(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", absent)
    _, problems = doctor.check_packages()
    assert [p.required for p in problems] == [True]
    assert "pip install -e ." in problems[0].what


def test_the_plugin_behind_an_extra_of_a_dependency_is_looked_for(monkeypatch):
    # numpy is there; the extra that is asked of it brings a package that is not.
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: ['no-such-plugin; extra == "gpu"', "numpy"])
    assert doctor.unmet(Requirement("numpy[gpu]")) == "no-such-plugin is not installed"
    assert doctor.unmet(Requirement("numpy")) is None


def test_a_gpu_that_jax_does_not_use_is_noted(monkeypatch):
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    report, problems = doctor.check_devices(nvidia_driver=True)
    assert report == {"platform": "cpu", "kind": jax.devices()[0].device_kind, "count": jax.device_count()}
    assert [p.required for p in problems] == [False]
    assert ".[cuda]" in problems[0].what
    assert doctor.check_devices(nvidia_driver=False)[1] == []


def test_folders_are_those_of_the_environment(monkeypatch, tmp_path: Path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "cache" / "deep"))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "file" / "data"))
    report, problems = doctor.check_folders()
    cache = report["compile cache"]
    assert (cache["path"], cache["exists"], cache["writable"]) == (
        str(tmp_path / "cache" / "deep"),
        False,
        True,
    )
    assert cache["free_gb"] > 0
    unwritable = [p.what for p in problems if "cannot be written" in p.what]
    assert len(unwritable) == 1
    assert "TFDS_DATA_DIR" in unwritable[0]


def test_buckets_are_named_and_not_looked_at(monkeypatch):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "gs://bucket/compiled")
    monkeypatch.setenv("TFDS_DATA_DIR", "gs://bucket/data")
    report = doctor.examine(numerics=False)
    assert report["folders"]["compile cache"]["path"] == "gs://bucket/compiled"
    for name in ("compiled", "data"):
        assert f"gs://bucket/{name} (a bucket)" in doctor.table(report)
    assert not [p for p in report["problems"] if "bucket" in p["what"]]


def test_a_full_disk_is_noted(monkeypatch):
    monkeypatch.setattr(doctor, "_LOW_DISK_GB", float("inf"))
    _, problems = doctor.check_folders()
    assert len(problems) == 3
    assert not any(p.required for p in problems)


def test_each_problem_is_one_line(declared):
    declared(REQUIREMENTS)
    for problem in doctor.examine()["problems"]:
        assert "\n" not in problem["what"]


def test_an_old_python_is_a_problem(monkeypatch):
    monkeypatch.setattr(doctor.platform, "python_version", lambda: "3.10.13")
    _, problems = doctor.check_python()
    assert [p.required for p in problems] == [True]
    assert "3.10.13" in problems[0].what


def test_the_numerics_have_a_line_each(declared, capsys):
    declared(["numpy>=1.0"])
    assert doctor.main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    first = lines.index("Numerics  largest error, largest error that rounding explains")
    assert [line.split() for line in lines[first + 1 : first + 4]] == [
        ["sums", "1.0e-07", "2.0e-07"],
        ["products", "1.0e-03", "1.0e-02", "TF32", "here"],
        ["doubles", "-", "-", "not", "tested:", "this", "machine", "has", "none"],
    ]
    assert lines[first + 1].index("1.0e-07") == lines[first + 2].index("1.0e-03")


def test_numbers_that_are_wrong_are_a_required_problem(declared, results, capsys):
    declared(["numpy>=1.0"])
    results.append(WRONG)
    assert doctor.main(["doctor"]) == 1
    text = capsys.readouterr().out
    assert "<- wrong" in next(line for line in text.splitlines() if line.startswith("  softmax of rows"))
    assert f"Problem: {WRONG.message}\nA requirement is missing or wrong.\n" in text
    assert doctor.main(["doctor", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert [r["ok"] for r in report["numerics"]] == [True, True, True, False]
    assert report["numerics"][-1]["error"] == WRONG.error and report["numerics"][2]["error"] is None


def test_the_numerics_can_be_left_out(declared, monkeypatch, capsys):
    declared(["numpy>=1.0"])
    monkeypatch.setattr(suite, "run", lambda: pytest.fail("the self-test was run"))
    assert doctor.main(["doctor", "--json", "--no_numerics"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["numerics"] == [] and said.err == ""


def test_without_a_device_the_numerics_are_not_tested(monkeypatch):
    monkeypatch.setattr(suite, "run", lambda: pytest.fail("the self-test was run"))
    monkeypatch.setattr(doctor, "check_devices", lambda nvidia_driver: ({}, [doctor.Problem("no device", True)]))
    assert doctor.examine()["numerics"] == []


def test_a_package_that_the_self_test_misses_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "score_jax.self_test", None)
    results, problems = doctor.check_numerics()
    assert results == [] and [p.required for p in problems] == [True]
    assert "score_jax.self_test" in problems[0].what and "\n" not in problems[0].what


@pytest.mark.parametrize(("platform", "required"), [("cpu", True), ("gpu", False), (None, False)])
def test_a_release_that_is_known_to_be_wrong_is_listed(platform, required, monkeypatch):
    real = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0.10.2" if name == "jaxlib" else real(name))
    (problem,) = doctor.check_release(platform)
    assert problem.required is required
    assert problem.what.startswith("jaxlib 0.10.2 computes wrong numbers on CPUs") and "install jax" in problem.what
