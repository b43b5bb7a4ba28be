"""The training loop: steps, logs, checkpoints; stops cleanly on SIGTERM and loudly on a loss that is not finite."""

import contextlib
import math
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from jaxtyping import Array

from score_jax.errors import InputError
from score_jax.training.checkpoint import Checkpoints
from score_jax.training.log import TrainingLog
from score_jax.training.state import TrainState


class Stop:
    """True once the process has been asked to end (SIGTERM, as a preempted machine or a scheduler sends)."""

    def __init__(self):
        self._asked = threading.Event()

    def __bool__(self) -> bool:
        return self._asked.is_set()

    def ask(self, *_) -> None:
        """Ends the work at the next safe point."""
        self._asked.set()


@contextlib.contextmanager
def stop_on_sigterm() -> Iterator[Stop]:
    """A `Stop` that SIGTERM sets, for the time of the context (main thread only)."""
    stop = Stop()
    previous = signal.signal(signal.SIGTERM, stop.ask)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGTERM, previous)


def _check_finite(step: int, metrics: dict[str, Array], indices: Array, checkpoints: Checkpoints) -> dict[str, float]:
    """Metrics as floats; raises InputError where one is not finite. Waits for the step to be done."""
    values = {name: float(value) for name, value in metrics.items()}
    if all(math.isfinite(v) for v in values.values()):
        return values
    checkpoints.wait()
    good = checkpoints.latest
    last = f"the last good checkpoint is step {good} in {checkpoints.directory}" if good else "no checkpoint yet"
    raise InputError(
        f"Training diverged at step {step}: {values}; {last}. First examples of the batch: "
        f"{indices[:8].tolist()}. Lower optimizer.learning_rate or optimizer.clip_norm, or check the data."
    )


def run_training(
    state: TrainState,
    train_step: Callable,
    batches: Iterator[tuple[dict[str, Array], dict]],
    *,
    workdir: Path,
    checkpoints: Checkpoints,
    total_steps: int,
    log_every: int,
    checkpoint_every: int,
    sample_every: int,
    draw_samples: Callable[[TrainState, TrainingLog], None],
    stop: Stop,
) -> TrainState:
    """Trains from `state` to `total_steps`, or until `stop`.

    Args:
      state: where to begin; donated.
      train_step: jitted `(state, batch) -> (state, metrics)`.
      batches: pairs of a device batch and the data iterator's state after it.
      workdir: where logs go.
      checkpoints: where states go: every `checkpoint_every` steps, and at the end.
      total_steps: optimizer steps in all.
      log_every: steps between log lines.
      checkpoint_every: steps between checkpoints.
      sample_every: steps between calls of `draw_samples`; 0 for none.
      draw_samples: draws and logs a grid of samples.
      stop: asked before every step.

    Returns:
      The last state; its step is less than `total_steps` only after `stop`.

    Raises:
      InputError: loss or gradient is not finite. No checkpoint of such a state is written.
    """
    step = int(state.step)
    pending: tuple[int, dict[str, Array], Array] | None = None
    data_state: dict = {}
    with TrainingLog(workdir, total_steps, step) as log:
        while step < total_steps and not stop:
            batch, data_state = next(batches)
            state, metrics = train_step(state, batch)
            step += 1
            # Check the step before while this one runs, so that the device never waits for the host.
            if pending is not None:
                _check_finite(*pending, checkpoints)
            pending = (step, metrics, batch["index"])
            log.advance()
            if step % log_every == 0 or step == total_steps:
                log.scalars(step, _check_finite(*pending, checkpoints))
            if step % checkpoint_every == 0 and step < total_steps:
                _check_finite(*pending, checkpoints)
                checkpoints.save(state, data_state)
            if sample_every and step % sample_every == 0:
                draw_samples(state, log)
        if pending is not None:
            _check_finite(*pending, checkpoints)
            if checkpoints.latest != step:
                checkpoints.save(state, data_state)
        checkpoints.wait()
    return state
