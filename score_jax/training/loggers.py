"""Where the numbers and pictures of a run go, by name: TensorBoard, a CSV file, Weights & Biases, MLflow.

Nothing leaves the machine unless $WANDB_MODE or $MLFLOW_TRACKING_URI says so.
"""

import csv
import dataclasses
import importlib.util
import logging
import os
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np
from jaxtyping import UInt8

from score_jax.errors import InputError
from score_jax.runtime.files import written_whole

PROJECT = "score_jax"
"""The project of Weights & Biases, and the experiment of MLflow, that runs are of."""
CSV_NAME = "metrics.csv"

Image = UInt8[np.ndarray, "h w 3"]


@dataclasses.dataclass(frozen=True)
class Run:
    """What a logger knows of a run.

    Attributes:
      workdir: of the run.
      initial_step: that training goes on from.
      config: the config, by section and key.
    """

    workdir: Path
    initial_step: int
    config: Mapping[str, Mapping[str, Any]]


@runtime_checkable
class Logger(Protocol):
    """Takes the numbers and pictures of a run; on the first process alone."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Takes numbers by name."""

    def image(self, step: int, name: str, image: Image) -> None:
        """Takes a picture."""

    def close(self) -> None:
        """Ends; what was taken is kept."""


class TensorBoard:
    """Events in WORKDIR/tensorboard; a run that goes on hides what an earlier one logged after its start."""

    def __init__(self, run: Run):
        from tensorboardX import SummaryWriter

        self._writer = SummaryWriter(str(run.workdir / "tensorboard"), purge_step=run.initial_step)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Takes numbers by name."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def image(self, step: int, name: str, image: Image) -> None:
        """Takes a picture."""
        self._writer.add_image(name, image, step, dataformats="HWC")

    def close(self) -> None:
        """Ends."""
        self._writer.close()


class CSVFile:
    """Lines `step,name,value` in WORKDIR/metrics.csv; of lines of one step and name the last one holds. No pictures."""

    def __init__(self, run: Run):
        path = run.workdir / CSV_NAME
        drop_cut_line(path)
        self._file = path.open("a", newline="")
        self._writer = csv.writer(self._file)
        if path.stat().st_size == 0:
            self._writer.writerow(("step", "name", "value"))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Takes numbers by name."""
        self._writer.writerows((step, name, value) for name, value in values.items())
        self._file.flush()

    def image(self, step: int, name: str, image: Image) -> None:
        """Takes a picture, and does not keep it."""

    def close(self) -> None:
        """Ends."""
        self._file.close()


class WandB:
    """A run of Weights & Biases in WORKDIR/wandb, offline unless $WANDB_MODE says otherwise; `wandb sync` sends it.

    A run that goes on has the id of the earlier one. Its axis is `step`, which may go back to the last checkpoint.
    """

    def __init__(self, run: Run):
        if "WANDB_MODE" not in os.environ:
            os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        self._made_image = wandb.Image
        mode: Any = os.environ.get("WANDB_MODE", "offline")
        self._run = wandb.init(
            dir=str(run.workdir),
            project=PROJECT,
            name=run.workdir.name,
            id=_kept(run.workdir / "wandb_run.txt", lambda: uuid.uuid4().hex),
            resume="allow",
            mode=mode,
            config={section: dict(keys) if isinstance(keys, Mapping) else keys for section, keys in run.config.items()},
            settings=wandb.Settings(console="off", silent=True, disable_git=True, x_disable_stats=True),
        )
        self._run.define_metric("*", step_metric="step")

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Takes numbers by name."""
        self._run.log({**values, "step": step})

    def image(self, step: int, name: str, image: Image) -> None:
        """Takes a picture."""
        self._run.log({name: self._made_image(image), "step": step})

    def close(self) -> None:
        """Ends."""
        self._run.finish()


class MLflow:
    """A run of MLflow, in WORKDIR/mlflow.db unless $MLFLOW_TRACKING_URI names another place; training goes on in it."""

    def __init__(self, run: Run):
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow import MlflowClient
        from mlflow.entities import Metric

        logging.getLogger("mlflow").setLevel(logging.WARNING)
        folder = run.workdir.absolute()
        place = os.environ.get("MLFLOW_TRACKING_URI")
        self._client, self._made_metric = MlflowClient(place or f"sqlite:///{folder / 'mlflow.db'}"), Metric
        found = self._client.get_experiment_by_name(PROJECT)
        artifacts = None if place else (folder / "mlflow_artifacts").as_uri()
        experiment = found.experiment_id if found else self._client.create_experiment(PROJECT, artifacts)
        name = run.workdir.name
        kept = folder / "mlflow_run.txt"
        self._id = _kept(kept, lambda: self._client.create_run(experiment, run_name=name).info.run_id)
        self._client.update_run(self._id, status="RUNNING")
        for section, keys in run.config.items():
            for key, value in (keys if isinstance(keys, Mapping) else {"": keys}).items():
                self._client.set_tag(self._id, f"{section}.{key}".rstrip("."), str(value))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Takes numbers by name."""
        now = int(time.time() * 1000)
        metrics = [self._made_metric(name, value, now, step) for name, value in values.items()]
        self._client.log_batch(self._id, metrics=metrics)

    def image(self, step: int, name: str, image: Image) -> None:
        """Takes a picture."""
        self._client.log_image(self._id, image, key=name, step=step)

    def close(self) -> None:
        """Ends."""
        self._client.set_terminated(self._id)


LOGGERS: dict[str, Callable[[Run], Logger]] = {
    "tensorboard": TensorBoard,
    "csv": CSVFile,
    "wandb": WandB,
    "mlflow": MLflow,
}
_PACKAGES = {"wandb": ("wandb",), "mlflow": ("mlflow", "sqlalchemy", "alembic")}


def check_loggers(names: Iterable[str]) -> None:
    """Raises InputError where a logger's package is not installed, or a logger is named twice."""
    names = list(names)
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"training.loggers has {name!r} twice: leave one out.")
        missing = [package for package in _PACKAGES.get(name, ()) if importlib.util.find_spec(package) is None]
        if missing:
            raise InputError(
                f"training.loggers has {name!r}, which needs the package {missing[0]}: "
                f"pip install 'score_jax[{name}]', or leave it out."
            )


def open_loggers(names: Iterable[str], run: Run) -> list[Logger]:
    """Makes the loggers of these names, which `check_loggers` accepts; none on processes beside the first."""
    return [LOGGERS[name](run) for name in names] if jax.process_index() == 0 else []


def drop_cut_line(path: Path) -> None:
    """Ends a file with the last line that was written whole, so that the next one begins on its own."""
    if not path.is_file():
        return
    with path.open("rb+") as file:
        contents = file.read()
        if contents and not contents.endswith(b"\n"):
            file.truncate(contents.rfind(b"\n") + 1)


def _kept(path: Path, make: Callable[[], str]) -> str:
    """The text of a file, which is made where it is not there."""
    if path.is_file():
        return path.read_text().strip()
    text = make()
    with written_whole(path) as temporary:
        temporary.write_text(text + "\n")
    return text
