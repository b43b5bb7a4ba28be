"""A run whose checkpoints lie elsewhere goes on in a fresh workdir, with its curves, its costs and its owner."""

import json
import shutil

import pytest

from score_jax.jobs.inspect import inspect
from score_jax.runtime.exit_codes import MEND
from score_jax.training import lease
from score_jax.training.log import read_curve
from tiny import TINIEST, here, write_config

pytestmark = pytest.mark.slow


def test_a_fresh_machine_goes_on_with_all_that_was_there(tmp_path, capsys, monkeypatch):
    place, workdir = tmp_path / "bucket", tmp_path / "run"
    words = ("train", f"--config={write_config(tmp_path, TINIEST)}", f"--workdir={workdir}")
    words += (f"--config.training.checkpoints={place}",)
    assert here(*words) == 0
    shutil.rmtree(workdir)
    about = place / "6" / "about" / "metadata"
    about.write_text(about.read_text().replace('"numpy": "', '"numpy": "1.'))
    capsys.readouterr()

    assert here(*words, "--config.training.steps=8") == 0
    said = capsys.readouterr().out
    assert "Other versions than this run had: numpy 1." in said and "Resuming at step 6" in said
    assert "2 runs" in said
    assert list(read_curve(workdir)) == list(range(1, 9))
    assert sorted(path.name for path in place.iterdir()) == ["4", "6", "8", "log"]
    assert json.loads((place / "log" / "config.json").read_text())["training"]["steps"] == 8
    assert inspect(str(place))["goodput"]["runs"] == inspect(str(workdir))["goodput"]["runs"] == 2

    monkeypatch.setattr(lease, "LOST_SECONDS", 4.0)
    monkeypatch.setattr(lease, "RENEWED_SECONDS", 0.1)
    with lease.Lease(place):
        assert here(*words, "--config.training.steps=10") == MEND
    assert "Another run writes checkpoints" in capsys.readouterr().err
    assert sorted(path.name for path in place.iterdir()) == ["4", "6", "8", "log"]
