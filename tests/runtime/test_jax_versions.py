"""A jax that is known to compute wrong numbers is refused where it computes, unless told."""

import contextlib
import importlib.metadata
import os

import jax
import pytest

from score_jax.cli import main as cli
from score_jax.runtime import jax_versions

COMPUTING = ("train", "sample", "edit", "likelihood", "encode", "evaluate", "fid", "demo")


@pytest.fixture
def installed(monkeypatch):
    """Makes distributions appear in other versions."""
    monkeypatch.setattr(os, "environ", dict(os.environ))
    real = importlib.metadata.version

    def install(**versions: str) -> None:
        monkeypatch.setattr(importlib.metadata, "version", lambda name: versions.get(name) or real(name))

    return install


@pytest.mark.parametrize("version", ["0.10.2", "0.10.2+cuda12.local"])
@pytest.mark.parametrize("verb", COMPUTING)
def test_what_computes_is_refused_with_what_to_install_and_how_to_go_on(verb, version, installed, capsys):
    installed(jaxlib=version)
    assert cli.main(["score_jax", verb]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith(f"score_jax {verb}: jaxlib 0.10.2 computes wrong numbers on CPUs: ")
    assert "install jax 0.10.1 (Python 3.11)" in error and f"{jax_versions.ALLOW}=1" in error


@pytest.mark.parametrize("verb", ["plan", "inspect", "export", "convert"])
def test_what_does_not_compute_is_not_refused(verb, installed, capsys):
    installed(jaxlib="0.10.2")
    with contextlib.suppress(SystemExit):  # argparse's, of arguments that are missing
        cli.main(["score_jax", verb])
    error = capsys.readouterr().err
    assert error and "wrong numbers" not in error


def test_help_is_not_refused(installed):
    installed(jaxlib="0.10.2")
    assert cli.main(["score_jax", "train", "--help"]) == 0


@pytest.mark.parametrize(("value", "refused"), [("1", False), ("0", True), ("", True)])
def test_it_goes_on_if_told(value, refused, installed, capsys):
    installed(jaxlib="0.10.2")
    os.environ[jax_versions.ALLOW] = value
    assert cli.main(["score_jax", "train"]) == 2
    assert ("wrong numbers" in capsys.readouterr().err) is refused


def test_a_defect_of_cpus_is_let_pass_on_an_accelerator(installed, monkeypatch):
    installed(jaxlib="0.10.2")
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    jax_versions.refuse_known_wrong({})


def test_a_defect_of_all_platforms_is_not(installed, monkeypatch):
    monkeypatch.setattr(jax_versions, "KNOWN_WRONG", {("jax", "9.9"): jax_versions.Defect("sums are wrong", "all")})
    installed(jax="9.9")
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    with pytest.raises(jax_versions.InputError, match="jax 9.9 computes wrong numbers everywhere: sums are wrong"):
        jax_versions.refuse_known_wrong({})


@pytest.mark.parametrize("version", ["0.10.1", "0.10.2.1", "0.10.20", "0.12.0.1", "main"])
def test_other_releases_pass_without_a_backend(version, installed, monkeypatch):
    def started():
        raise AssertionError("a backend was started")

    installed(jaxlib=version)
    monkeypatch.setattr(jax, "default_backend", started)
    jax_versions.refuse_known_wrong({})


def test_the_release_that_the_tests_run_with_is_not_known_to_be_wrong():
    assert jax_versions.known_defects() == {}
