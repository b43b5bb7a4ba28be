"""A save that does not fit into the time that a machine leaves which is taken away is said before it is."""

import pytest

from score_jax.errors import InputError
from score_jax.training.grace import VARIABLE, Grace
from score_jax.training.step_clock import StepClock
from tiny import here, write_config


def test_a_save_that_does_not_fit_is_said_once(capsys):
    clock = StepClock()
    grace = Grace({VARIABLE: "15"}, clock)
    clock.usual = 1.5
    grace.judge(100, 12.0)
    assert not capsys.readouterr().out
    clock.usual = 1.75
    grace.judge(200, 12.0)
    grace.judge(300, 40.0)
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert "Checkpoint 200 took 12.0 s to write, and steps before it take up to 3.5 s" in said
    assert "leaves 15 s (SCORE_JAX_GRACE_SECONDS)" in said


def test_nothing_is_said_where_no_time_is_known(capsys):
    Grace({}, StepClock()).judge(100, 1e5)
    assert not capsys.readouterr().out


@pytest.mark.parametrize("text", ["-1", "soon", "nan"])
def test_a_time_is_a_positive_number(text):
    with pytest.raises(InputError, match=f"SCORE_JAX_GRACE_SECONDS={text}: expected"):
        Grace({VARIABLE: text}, StepClock())


def test_training_looks_at_its_saves(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv(VARIABLE, "0.001")
    assert here("train", f"--config={write_config(tmp_path)}", f"--workdir={tmp_path / 'run'}") == 0
    said = capsys.readouterr().out
    assert said.count(VARIABLE) == 1 and "Checkpoint 2 took " in said
