"""What is said while a run trains: lines where nobody looks at a terminal, a bar where somebody does."""

import re
import sys
import time

import pytest

from score_jax.training.log import TrainingLog
from score_jax.training.throughput import Meter

LINE = r"\d+-\d\d-\d\dT\d\d:\d\d:\d\dZ \S+ step %d/40 loss=0.5 memory_gib=\S+%s\n"


def said(folder, capsys):
    """What two readings of a log write to stderr."""
    with TrainingLog(folder, 40, 10, Meter(8)) as log:
        for step in (11, 12):
            log.advance(1)
            log.waited(0.001)
            log.scalars(step, {"loss": 0.5})
    return capsys.readouterr().err


def test_without_a_terminal_each_reading_is_a_line(tmp_path, capsys):
    rates = r" steps_per_s=\S+ images_per_s=\S+ data_wait=\S+"
    assert re.fullmatch(LINE % (11, "") + LINE % (12, rates), said(tmp_path, capsys))


def test_on_a_terminal_there_is_a_bar_and_no_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    found = said(tmp_path, capsys)
    assert "step/s" in found and "loss=0.5" in found and "data_wait" in found
    assert not re.search(LINE % (11, ""), found)


def test_the_first_step_is_not_silent(tmp_path, capsys, monkeypatch):
    with TrainingLog(tmp_path, 40, 10, Meter(8)) as log:
        log.compiling(10)
    assert re.fullmatch(r"\S+Z \S+ step 10/40 compiling \(.*\) \.\.\.\n", capsys.readouterr().err)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with TrainingLog(tmp_path, 40, 10, Meter(8)) as log:
        log.compiling(10)
        log.scalars(11, {"loss": 0.5})
    first, _, later = capsys.readouterr().err.rpartition("compiling")
    assert "10/40" in first and "loss=0.5" in later


def test_the_share_of_time_that_data_kept_the_devices_waiting(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    meter = Meter(8)
    meter.waited(3.0)  # before the first step, with which it has nothing to do
    meter.read(0)
    meter.waited(0.5)
    meter.waited(0.5)
    now[0] += 4.0
    values = meter.read(8)
    assert values["data_wait"] == pytest.approx(0.25)
    assert values["steps_per_s"] == pytest.approx(2.0) and values["images_per_s"] == pytest.approx(16.0)
    now[0] += 4.0
    assert meter.read(16)["data_wait"] == 0.0
