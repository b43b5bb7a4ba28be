"""The training loop: steps, logs, checkpoints; ends cleanly when asked, and loudly on a loss that is not finite."""

import dataclasses
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import numpy as np
from jax.experimental import multihost_utils
from jaxtyping import Array

from score_jax.errors import InputError
from score_jax.training.checkpoint import Checkpoints
from score_jax.training.log import TrainingLog
from score_jax.training.state import TrainState
from score_jax.training.step import TrainSteps
from score_jax.training.step_clock import StepClock

MAX_SKIPPED = 100
"""Steps in a row that may be skipped before training ends all the same."""


@dataclasses.dataclass(frozen=True)
class Schedule:
    """When what is done, in steps.

    Attributes:
      total_steps: optimizer steps in all.
      log_every: between log lines.
      checkpoint_every: between checkpoints; there is one at the end too.
      sample_every: between grids of samples; 0 for none.
      per_dispatch: steps that the devices are handed at a time, as long as nothing is to be done between them.
    """

    total_steps: int
    log_every: int
    checkpoint_every: int
    sample_every: int
    per_dispatch: int = 1

    def next_steps(self, step: int) -> int:
        """How many are handed over after `step`."""
        events = [every for every in (self.log_every, self.checkpoint_every, self.sample_every) if every]
        return min(self.per_dispatch, self.total_steps - step, *(every - step % every for every in events))


@dataclasses.dataclass(frozen=True)
class _Pending:
    """Steps in flight, looked at once the next ones run, so that the device never waits for the host."""

    steps: range
    metrics: dict[str, Array]
    indices: list[Array]
    asked_to_stop: Callable[[], bool]


class _Watch:
    """Looks at each step's numbers; remembers how many in a row were not finite."""

    def __init__(self, workdir: Path, checkpoints: Checkpoints):
        self._workdir, self._checkpoints, self._in_a_row = workdir, checkpoints, 0

    def look(self, pending: _Pending) -> dict[str, float]:
        """The last step's metrics as floats; waits for it. Empty where they were looked at before, or it was skipped.

        Raises:
          InputError: one of a step is not finite, and the step was not skipped or one too many was.
        """
        if not pending.metrics:
            return {}
        values, metrics = {}, jax.device_get(pending.metrics)
        for i, (step, indices) in enumerate(zip(pending.steps, pending.indices, strict=True)):
            values = self._look_at(step, {name: float(of_all[i]) for name, of_all in metrics.items()}, indices)
        return values

    def _look_at(self, step: int, metrics: dict[str, float], indices: Array) -> dict[str, float]:
        values = {name: value for name, value in metrics.items() if name != "skipped"}
        if np.isfinite(list(values.values())).all():
            self._in_a_row = 0
            return values
        self._in_a_row += 1
        file, skipped = self._write_down(step, values, indices), metrics["skipped"] > 0
        if skipped and self._in_a_row <= MAX_SKIPPED:
            if jax.process_index() == 0:
                print(f"Step {step} skipped: {values}; its examples are in {file}.", flush=True)
            return {}
        self._checkpoints.wait()
        good = self._checkpoints.latest
        last = f"the last good checkpoint is step {good} in {self._checkpoints.directory}" if good else "none is saved"
        after = f" after {self._in_a_row} skipped steps in a row" if skipped else ""
        raise InputError(
            f"Training diverged at step {step}{after}: {values}; {last}; the batch's examples are in {file}. "
            "Lower optimizer.learning_rate or optimizer.clip_norm, check the data, or set training.on_nonfinite=skip."
        )

    def _write_down(self, step: int, values: dict[str, float], indices: Array) -> Path:
        """Appends the step, its numbers and its examples' indices in the data set, for whoever looks for the cause."""
        file = self._workdir / "nonfinite.jsonl"
        if jax.process_count() > 1:
            indices = multihost_utils.process_allgather(indices, tiled=True)
        if jax.process_index() == 0:
            texts = {name: str(value) for name, value in values.items()}
            row = {"step": step, **texts, "index": np.asarray(indices).tolist()}
            with file.open("a") as lines:
                lines.write(json.dumps(row) + "\n")
        return file


def run_training(
    state: TrainState,
    train_steps: TrainSteps,
    batches: Iterator[tuple[dict[str, Array], dict]],
    *,
    workdir: Path,
    checkpoints: Checkpoints,
    log: TrainingLog,
    schedule: Schedule,
    draw_samples: Callable[[TrainState], None],
    post_stop: Callable[[], Callable[[], bool]],
    trace: Callable[[int], None] = lambda step: None,
    clock: StepClock | None = None,
    reached: Callable[[int], None] = lambda step: None,
) -> TrainState:
    """Trains from `state` to `schedule.total_steps`, or until asked to stop.

    Args:
      state: where to begin; donated.
      train_steps: jitted.
      batches: pairs of a device batch and the data iterator's state after it.
      workdir: where steps that were not finite are written down.
      checkpoints: where states go.
      log: where numbers go.
      schedule: when.
      draw_samples: draws and logs a grid of samples.
      post_stop: `any_process_asks`'s; asked after every dispatch, answered one dispatch later.
      trace: called with the last step's number once a dispatch is under way.
      clock: told when each dispatch begins and ends; None: one that nobody reads.
      reached: called with the last step's number whenever there was a log line or is to be a checkpoint.

    Returns:
      The last state; its step is less than `total_steps` only where training was asked to stop.

    Raises:
      InputError: loss or gradient is not finite, or a checkpoint cannot be written. No checkpoint holds a state after
        a loss that was not finite.
    """
    step, end = int(state.step), schedule.total_steps
    clock = StepClock() if clock is None else clock
    pending: _Pending | None = None
    watch, stopping = _Watch(workdir, checkpoints), False
    data_state: dict = {}
    while step < end and not stopping:
        began, size = time.perf_counter(), schedule.next_steps(step)
        clock.begin(size)
        taken = [next(batches) for _ in range(size)]
        log.waited(time.perf_counter() - began)
        data_state = taken[-1][1]
        state, metrics = train_steps(state, tuple(batch for batch, _ in taken))
        steps = range(step + 1, step + 1 + len(taken))
        step = steps[-1]
        if pending is not None:
            watch.look(pending)
            stopping = pending.asked_to_stop()
        pending = _Pending(steps, metrics, [batch["index"] for batch, _ in taken], post_stop())
        log.advance(len(taken))
        trace(step)
        saving = step % schedule.checkpoint_every == 0 and step < end
        logging = step % schedule.log_every == 0 or step == end
        if saving or logging:
            values, pending = watch.look(pending), dataclasses.replace(pending, metrics={})
            if logging:
                log.scalars(step, values)
            clock.end()
            reached(step)
            if saving:
                checkpoints.save(state, data_state)
        if schedule.sample_every and step % schedule.sample_every == 0:
            clock.end()
            draw_samples(state)
            log.pause()
    clock.end()
    if pending is not None:
        watch.look(pending)
        reached(step)
        checkpoints.save_last(state, data_state)
    checkpoints.wait()
    return state
