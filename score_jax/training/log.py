"""TensorBoard events, a metrics file, and a progress bar, on the first process only."""

import json
from pathlib import Path

import jax
import numpy as np
from tensorboardX import SummaryWriter
from tqdm import tqdm

from score_jax.training.throughput import Meter


class TrainingLog:
    """Writes scalars and images of a run; a context manager."""

    def __init__(self, workdir: Path, total_steps: int, initial_step: int, meter: Meter):
        self._meter = meter
        self._active = jax.process_index() == 0
        if self._active:
            self._writer = SummaryWriter(str(workdir / "tensorboard"), purge_step=initial_step)
            self._curve = (workdir / "loss.jsonl").open("a")
        self._bar = tqdm(
            total=total_steps,
            initial=initial_step,
            desc="train",
            unit="step",
            smoothing=0.05,
            dynamic_ncols=True,
            disable=not self._active,
        )

    def __enter__(self) -> "TrainingLog":
        return self

    def __exit__(self, *_) -> None:
        self._bar.close()
        if self._active:
            self._writer.close()
            self._curve.close()

    def advance(self, steps: int) -> None:
        """So many more are done."""
        self._bar.update(steps)

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """To TensorBoard and beside the bar, with the rates since the last call; `values` to loss.jsonl too."""
        shown = values | self._meter.read(step)
        if not self._active:
            return
        for name, value in shown.items():
            self._writer.add_scalar(name, value, step)
        if values:
            self._curve.write(json.dumps({"step": step, **values}) + "\n")
            self._curve.flush()
        self._bar.set_postfix({name: f"{value:.4g}" for name, value in shown.items()})

    def pause(self) -> None:
        """What follows is not training, and is not counted in its rates."""
        self._meter.pause()

    def image(self, step: int, name: str, image: np.ndarray) -> None:
        """A uint8 image (h, w, 3) to TensorBoard."""
        if self._active:
            self._writer.add_image(name, image, step, dataformats="HWC")


def read_curve(workdir: Path) -> dict[int, float]:
    """Loss by step from loss.jsonl; what a resumed run wrote again replaces what was there."""
    path = workdir / "loss.jsonl"
    if not path.exists():
        return {}
    rows = [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]
    return {row["step"]: row["loss"] for row in rows}
