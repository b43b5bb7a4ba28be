"""What a training cost, over runs that were killed and went on."""

import json

import pytest

from score_jax.jobs import foretold
from score_jax.training.goodput import FILE_NAME, RunsFile, goodput, read_runs, seconds_per_step


def row(run, utc, step, seconds, devices=4):
    return {"run": run, "utc": utc, "step": step, "seconds_in_steps": seconds, "devices": devices}


def test_steps_that_were_taken_twice_count_once():
    rows = [
        row("a", 0.0, 0, 0.0),
        row("a", 110.0, 100, 100.0),  # saved here, after ten seconds of compiling
        row("a", 160.0, 150, 150.0),  # and killed after it
        row("b", 260.0, 100, 0.0, devices=8),
        row("b", 370.0, 200, 100.0, devices=8),
    ]
    found = goodput(rows)
    assert found.runs == 2
    assert found.kept_seconds == 200  # 100 of each
    assert found.running_seconds == 160 + 110
    assert found.device_seconds == 4 * 160 + 8 * 110
    assert found.calendar_seconds == 370
    assert "2 runs" in str(found) and "goodput 74.1%" in str(found) and "54.1% of the time since" in str(found)


def test_a_run_that_was_killed_before_its_first_checkpoint_was_in_vain():
    rows = [row("a", 0.0, 0, 0.0), row("a", 50.0, 40, 45.0), row("b", 60.0, 0, 0.0), row("b", 100.0, 40, 40.0)]
    assert goodput(rows).kept_seconds == 40


def test_lines_that_cannot_be_read_are_passed_over(tmp_path):
    assert read_runs(tmp_path) == [] and goodput([]) is None
    RunsFile(tmp_path, 3).reached(5, 1.5)
    with (tmp_path / FILE_NAME).open("ab") as file:
        file.write(b'[]\n\xff\n{"run": "x"}\n{"run":')
    begun, reached = read_runs(tmp_path)
    assert begun["step"] == 3 and begun["versions"]["jax"] and reached["seconds_in_steps"] == pytest.approx(1.5)
    assert reached["run"] == begun["run"]


def test_a_step_is_compared_with_what_was_foretold(tmp_path):
    rows = [row("a", 0.0, 0, 0.0), row("a", 9.0, 9, 9.0)]
    rows += [row("b", 20.0, 0, 0.0), row("b", 40.0, 10, 20.0), row("b", 44.0, 50, 24.0)]  # compiled in its first line
    assert seconds_per_step(rows) == pytest.approx(0.1) and seconds_per_step(rows[:4]) is None
    assert foretold.foretold(tmp_path, rows) is None
    (tmp_path / "config.json").write_text('{"training": {"batch_size": 8}}')
    step = {"program": "train", "batch_size": 8, "fits": True, "bound_by": "memory"}
    step["floor_seconds"] = {"memory": 0.04, "links": 0.01}
    plan = {"chips": 16, "topology": "v5e:4x4", "programs": [step | {"fits": False}, step]}
    (tmp_path / foretold.FILE_NAME).write_text(json.dumps(plan))
    said = foretold.foretold(tmp_path, rows)
    assert said is not None
    assert "took 100 ms" in said and "at least 40 ms on 16 chips (v5e:4x4), bound by memory: 40.0%" in said
    still = [*rows[:3], row("b", 40.0, 10, 20.0), row("b", 40.0, 50, 20.0)]
    assert foretold.foretold(tmp_path, still) is None
    floors = ({"a": "x"}, None, {"a": float("nan")}, {"a": -1.0}, {})
    others = [plan | {"programs": [step | {"floor_seconds": floor}]} for floor in floors]
    others.append(plan | {"programs": [step | {"batch_size": 512}]})  # of another batch
    others += [plan | {"programs": [{}]}, plan | {"programs": []}]
    for damaged in ("{", "[]", "[" * 100_000, *map(json.dumps, others)):
        (tmp_path / foretold.FILE_NAME).write_text(damaged)
        assert foretold.foretold(tmp_path, rows) is None
