"""What a training costs, and how much of it was of use: over all its runs, those that were killed among them.

WORKDIR/runs.jsonl    a line when a run begins, and one with each log line and checkpoint
"""

import dataclasses
import itertools
import json
import math
import secrets
import time
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
from etils import epath

FILE_NAME = "runs.jsonl"
_VERSIONED = ("jax", "jaxlib", "flax", "optax", "diffrax", "orbax-checkpoint", "numpy")


def versions() -> dict[str, str]:
    """Returns the versions of what computes a training."""
    return {name: version(name) for name in _VERSIONED}


@dataclasses.dataclass(frozen=True)
class Goodput:
    """Of all runs of a training.

    Attributes:
      runs: how many there were.
      kept_seconds: spent in steps that a later run did not have to take again.
      running_seconds: from the start of each run to its last line.
      device_seconds: the same, times the devices.
      calendar_seconds: from the first line of all to the last.
      devices: of the last run, such as "8 x TPU v5 lite".
    """

    runs: int
    kept_seconds: float
    running_seconds: float
    device_seconds: float
    calendar_seconds: float
    devices: str

    def __str__(self) -> str:
        def share(seconds: float) -> str:
            return f"{self.kept_seconds / seconds:.1%}" if seconds else "0%"

        return (
            f"{self.device_seconds / 3600:.3g} device-hours in {self.runs} run{'s' * (self.runs > 1)}, the last on "
            f"{self.devices}; goodput {share(self.running_seconds)} (steps that were kept, of the time of the runs), "
            f"{share(self.calendar_seconds)} of the time since the start"
        )


class RunsFile:
    """Writes what a run costs; on the first process only.

    Args:
      workdir: of the training.
      step: at which the run begins.
    """

    def __init__(self, workdir: Path, step: int):
        self._path = workdir / FILE_NAME
        devices = f"{jax.device_count()} x {jax.devices()[0].device_kind}"
        self._about = {"run": secrets.token_hex(4), "devices": jax.device_count()}
        self._write(step, 0.0, {"on": devices, "versions": versions()})

    def reached(self, step: int, seconds: float) -> None:
        """A step, after so many seconds in steps of this run."""
        self._write(step, seconds, {})

    def _write(self, step: int, seconds: float, more: Mapping[str, Any]) -> None:
        if jax.process_index() == 0:
            row = {"utc": time.time(), "step": step, "seconds_in_steps": round(seconds, 3), **self._about, **more}
            with self._path.open("a") as file:
                file.write(json.dumps(row) + "\n")


def read_runs(folder: epath.PathLike) -> list[dict[str, Any]]:
    """Returns the lines of a folder's runs.jsonl, but for those that cannot be read; none where there is no file."""
    path, rows = epath.Path(folder) / FILE_NAME, []
    for line in path.read_bytes().splitlines() if path.exists() else []:
        try:
            row = json.loads(line)
            if row["run"] and all(math.isfinite(row[key]) for key in ("utc", "step", "seconds_in_steps", "devices")):
                rows.append(row)
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            continue
    return rows


def goodput(rows: Iterable[Mapping[str, Any]]) -> Goodput | None:
    """Returns what the lines of runs.jsonl say together; None without a line."""
    runs = _by_run(rows)
    if not runs:
        return None
    starts = [float(run[0]["step"]) for run in runs[1:]] + [float("inf")]
    kept = [_seconds_to(run, start) for run, start in zip(runs, starts, strict=True)]
    running = [run[-1]["utc"] - run[0]["utc"] for run in runs]
    return Goodput(
        runs=len(runs),
        kept_seconds=sum(kept),
        running_seconds=sum(running),
        device_seconds=sum(seconds * run[0]["devices"] for seconds, run in zip(running, runs, strict=True)),
        calendar_seconds=runs[-1][-1]["utc"] - runs[0][0]["utc"],
        devices=runs[-1][0].get("on", "unknown devices"),
    )


def seconds_per_step(rows: Iterable[Mapping[str, Any]]) -> float | None:
    """Returns the mean time of a step in the last run, without its first line, in whose steps programs are compiled."""
    runs = _by_run(rows)
    if not runs or len(runs[-1]) < 3:
        return None
    first, end = runs[-1][1], runs[-1][-1]
    steps = end["step"] - first["step"]
    return (end["seconds_in_steps"] - first["seconds_in_steps"]) / steps if steps > 0 else None


def _by_run(rows: Iterable[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    return [list(of_run) for _, of_run in itertools.groupby(rows, key=lambda row: row["run"])]


def _seconds_to(run: list[Mapping[str, Any]], step: float) -> float:
    """Spent in the steps of a run up to one from which the next run went on."""
    return max((row["seconds_in_steps"] for row in run if row["step"] <= step), default=0.0)
