"""Loggers, a file of the loss, and a progress bar or lines of a log, on the first process only."""

import datetime
import json
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from jax.experimental import multihost_utils
from tqdm import tqdm

from score_jax.errors import InputError, counted, quoted
from score_jax.training.loggers import Logger, drop_cut_line
from score_jax.training.throughput import Meter

FILE_NAME = "loss.jsonl"
COMPILING = "compiling (the first step takes a while) ..."


def log_line(step: int, total_steps: int, values: dict[str, float]) -> str:
    """Returns a line that says when (UTC), on which machine, at which step, and the numbers."""
    numbers = " ".join(f"{name}={value:.4g}" for name, value in values.items())
    return f"{_where(step, total_steps)} {numbers}"


def _where(step: int, total_steps: int) -> str:
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return f"{now} {socket.gethostname()} step {step}/{total_steps}"


def expected_time(steps: int, steps_per_s: float) -> str:
    """Returns a line that says how long so many steps take at this rate."""
    minutes = steps / steps_per_s / 60
    hours = f"{minutes / 60:.1f} h" if minutes < 48 * 60 else f"{minutes / 60 / 24:.1f} days"
    time = f"{60 * minutes:.0f} s" if minutes < 2 else f"{minutes:.0f} min" if minutes < 120 else hours
    return f"Expected to take another {time}: {counted(steps, 'step')} at {steps_per_s:.2g} a second."


class TrainingLog:
    """Writes scalars and images of a run; a context manager.

    `loggers` take what is said, and are closed with it; there are none on processes beside the first.

    On a terminal there is a progress bar. Elsewhere, as in the log of a job, each call of `scalars` writes a line.
    """

    def __init__(
        self, workdir: Path, total_steps: int, initial_step: int, meter: Meter, loggers: Sequence[Logger] = ()
    ):
        self._meter, self._total_steps, self._loggers = meter, total_steps, loggers
        self._active, self._said = jax.process_index() == 0, False
        self._on_terminal = sys.stderr.isatty()
        if self._active:
            drop_cut_line(workdir / FILE_NAME)
            self._curve = (workdir / FILE_NAME).open("a")
        self._bar = tqdm(
            total=total_steps,
            initial=initial_step,
            desc="train",
            unit="step",
            smoothing=0.05,
            dynamic_ncols=True,
            disable=not (self._active and self._on_terminal),
        )

    def __enter__(self) -> "TrainingLog":
        return self

    def __exit__(self, *_) -> None:
        self._bar.close()
        for logger in self._loggers:
            logger.close()
        if self._active:
            self._curve.close()

    def compiling(self, step: int) -> None:
        """Says that the step after `step` takes longer, as its program is compiled."""
        if self._on_terminal:
            self._bar.set_postfix_str(COMPILING)
        elif self._active:
            print(f"{_where(step, self._total_steps)} {COMPILING}", file=sys.stderr, flush=True)

    def advance(self, steps: int) -> None:
        """So many more are done."""
        self._bar.update(steps)

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """To the loggers, and beside the bar or into a line, with the rates since the last call; `values` to loss.jsonl
        too.
        """
        shown = values | _with_slowest(self._meter.read(step))
        if not self._active:
            return
        for logger in self._loggers:
            logger.scalars(step, shown)
        if values:
            self._curve.write(json.dumps({"step": step, **values}) + "\n")
            self._curve.flush()
        if self._on_terminal:
            self._bar.set_postfix({name: f"{value:.4g}" for name, value in shown.items()})
        else:
            print(log_line(step, self._total_steps, shown), file=sys.stderr, flush=True)
        if not self._said and "steps_per_s" in shown:
            self._said, left = True, self._total_steps - step
            tqdm.write(expected_time(left, shown["steps_per_s"]), file=sys.stdout)

    def waited(self, seconds: float) -> None:
        """So long the devices were not handed anything because data were not there."""
        self._meter.waited(seconds)

    def pause(self) -> None:
        """What follows is not training, and is not counted in its rates."""
        self._meter.pause()

    def image(self, step: int, name: str, image: np.ndarray) -> None:
        """A uint8 image (h, w, 3) to the loggers."""
        for logger in self._loggers:
            logger.image(step, name, image)


def _with_slowest(rates: dict[str, float]) -> dict[str, float]:
    """Of several processes also the one that waited longest for its data, for whom all others wait."""
    if jax.process_count() == 1 or "data_wait" not in rates:
        return rates
    waits = multihost_utils.process_allgather(np.array(rates["data_wait"]))
    return rates | {"data_wait_most": float(waits.max()), "data_wait_process": float(waits.argmax())}


def read_curve(workdir: Path) -> dict[int, float]:
    """Reads the loss by step from loss.jsonl; lines of a resumed run replace older ones of the same step.

    A last line that was cut, by a run that was killed, is passed over.

    Raises:
      InputError: another line is damaged; names it.
    """
    path = workdir / FILE_NAME
    if not path.exists():
        return {}
    lines = path.read_bytes().rstrip().split(b"\n")
    rows = [_row(line) for line in lines]
    damaged = [number for number, row in enumerate(rows[:-1], 1) if row is None and lines[number - 1].strip()]
    if damaged:
        line = quoted(lines[damaged[0] - 1].decode("utf-8", "replace"))
        raise InputError(
            f"Line {damaged[0]} of {path} is damaged ({line}): expected an object with step and loss; remove the line."
        )
    return dict(row for row in rows if row is not None)


def _row(line: bytes) -> tuple[int, float] | None:
    try:
        row = json.loads(line)
        step, loss = row["step"], row["loss"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return (step, float(loss)) if type(step) is int and type(loss) in (int, float) else None
