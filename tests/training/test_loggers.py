"""Loggers by name: what each keeps, also where a run goes on; by the real clients, which reach no network."""

import csv
import importlib.util
import json
import re
import time

import numpy as np
import pytest

from score_jax.builder.run_options import Training
from score_jax.errors import InputError
from score_jax.training import loggers
from score_jax.training.log import TrainingLog
from score_jax.training.loggers import LOGGERS, Run, check_loggers, open_loggers
from score_jax.training.throughput import Meter
from tiny import here, write_config

PICTURE = np.full((4, 6, 3), 200, np.uint8)
CONFIG = {"optimizer": {"learning_rate": 0.5}, "seed": 3}


def logged(name: str, folder, initial_step: int = 0, losses=(0.5, 0.25)) -> None:
    """A run of two steps, or its going on."""
    made = open_loggers((name,), Run(folder, initial_step, CONFIG))
    with TrainingLog(folder, 9, initial_step, Meter(8), made) as log:
        for step, loss in enumerate(losses, initial_step + 1):
            log.scalars(step, {"loss": loss})
        log.image(initial_step + 2, "samples", PICTURE)


def test_csv_has_a_line_for_each_number_and_goes_on_after_a_cut_line(tmp_path):
    logged("csv", tmp_path)
    with (tmp_path / "metrics.csv").open("a") as file:
        file.write("3,lo")
    logged("csv", tmp_path, 2, (0.125,))
    rows = list(csv.DictReader((tmp_path / "metrics.csv").open()))
    assert [(int(row["step"]), float(row["value"])) for row in rows if row["name"] == "loss"] == [
        (1, 0.5),
        (2, 0.25),
        (3, 0.125),
    ]
    assert {row["name"] for row in rows} >= {"loss", "steps_per_s"} and None not in rows[0]


def test_tensorboard_has_events(tmp_path):
    logged("tensorboard", tmp_path)
    (events,) = (tmp_path / "tensorboard").iterdir()
    contents = events.read_bytes()
    assert b"loss" in contents and b"samples" in contents and b"PNG" in contents


def test_what_is_logged_is_closed_with_the_log(tmp_path):
    calls = []

    class Notes:
        def scalars(self, step, values):
            calls.append((step, values["loss"]))

        def image(self, step, name, image):
            calls.append((step, name, image.shape))

        def close(self):
            calls.append("closed")

    with TrainingLog(tmp_path, 9, 0, Meter(8), [Notes()]) as log:
        log.scalars(1, {"loss": 0.5})
        log.image(1, "samples", PICTURE)
    assert calls == [(1, 0.5), (1, "samples", (4, 6, 3)), "closed"]


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_package_that_is_missing_is_one_line(name, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda package: None)
    with pytest.raises(InputError, match=rf"training.loggers has '{name}', .* pip install 'score_jax\[{name}\]'"):
        check_loggers(("csv", name))
    check_loggers(("tensorboard", "csv"))
    assert set(LOGGERS) == {"tensorboard", "csv", "wandb", "mlflow"}


def holds(path, *words: bytes) -> bool:
    """Whether a file comes to hold these: wandb's own process writes it, about 10 ms after the run was closed."""
    end = time.monotonic() + 10
    while not (found := all(word in path.read_bytes() for word in words)) and time.monotonic() < end:
        time.sleep(0.01)
    return found


@pytest.mark.slow
def test_weights_and_biases_keeps_a_run_offline_and_goes_on_with_it(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    logged("wandb", tmp_path)
    name = (tmp_path / "wandb_run.txt").read_text().strip()
    logged("wandb", tmp_path, 2, (0.125,))
    records = sorted((tmp_path / "wandb").glob(f"offline-run-*-{name}*/run-{name}.wandb"))
    assert len(records) == 2  # of one run, to which `wandb sync` adds both; the second of one second ends in -1
    assert holds(records[0], b"learning_rate", b"loss", b"0.25") and holds(records[1], b"0.125")
    assert len(list((tmp_path / "wandb").glob("offline-run-*/files/media/images/samples_*.png"))) == 2


@pytest.mark.slow
def test_mlflow_keeps_one_run_in_the_workdir(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    logged("mlflow", tmp_path)
    logged("mlflow", tmp_path, 2, (0.125,))
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name(loggers.PROJECT).experiment_id])
    assert run.info.status == "FINISHED" and run.info.run_name == tmp_path.name
    assert run.data.tags["optimizer.learning_rate"] == "0.5" and run.data.tags["seed"] == "3"
    history = client.get_metric_history(run.info.run_id, "loss")
    assert [(row.step, row.value) for row in history] == [(1, 0.5), (2, 0.25), (3, 0.125)]
    assert len(list((tmp_path / "mlflow_artifacts").rglob("samples*step+2*.png"))) == 1


@pytest.mark.slow
def test_a_run_logs_where_its_config_says(tmp_path, capsys):
    words = ("train", f"--config={write_config(tmp_path)}", f"--workdir={tmp_path / 'run'}")
    assert here(*words, "--config.training.loggers=('csv',)") == 0
    rows = list(csv.DictReader((tmp_path / "run" / "metrics.csv").open()))
    losses = {int(row["step"]): float(row["value"]) for row in rows if row["name"] == "loss"}
    lines = [json.loads(line) for line in (tmp_path / "run" / "loss.jsonl").read_text().splitlines()]
    assert losses == {line["step"]: line["loss"] for line in lines} and len(losses) == 6
    assert not (tmp_path / "run" / "tensorboard").exists()
    assert here(*words, "--config.training.loggers=('tensorbord',)") == 2
    assert "Did you mean 'tensorboard'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "hint"), [("csv,wandb", "('csv', 'wandb')"), ("", "()"), ("csv,", "('csv',)"), ("csv", None)]
)
def test_several_names_are_written_as_a_tuple(text, hint):
    if hint is None:
        assert Training(loggers=(text,)).loggers == ("csv",)
    else:
        with pytest.raises(InputError, match=re.escape(f'write several as --config.training.loggers="{hint}"')):
            Training(loggers=(text,))


def test_a_logger_that_is_named_twice_is_refused():
    with pytest.raises(InputError, match="training.loggers has 'csv' twice: leave one out"):
        check_loggers(("csv", "tensorboard", "csv"))
