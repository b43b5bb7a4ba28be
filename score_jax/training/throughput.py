"""How fast training is, how near to the chip's limit, and in how much memory."""

import dataclasses
import resource
import time
from pathlib import Path

import jax

TRAINING_PER_FORWARD = 3
"""A gradient costs two forward passes beside the one; what is recomputed (remat) is not counted as useful."""


def passes_of_a_step(sam_rho: float) -> int:
    """Returns how many forward passes an optimizer step costs; sharpness-aware minimisation takes two gradients."""
    return TRAINING_PER_FORWARD * (2 if sam_rho else 1)


@dataclasses.dataclass
class Meter:
    """Rates since the last reading.

    Attributes:
      batch_size: images of a step, over all devices.
      flops_per_step: of the model, of all devices; 0 where unknown.
      peak_flops: per second, of all devices; 0 where unknown.
    """

    batch_size: int
    flops_per_step: float = 0.0
    peak_flops: float = 0.0
    _step: int | None = None
    _time: float = 0.0
    _waited: float = 0.0

    def waited(self, seconds: float) -> None:
        """So long this process had nothing to hand to the devices, because its data were not there."""
        self._waited += seconds

    def read(self, step: int) -> dict[str, float]:
        """Steps and images per second, the share of time that this process waited for data, model FLOP utilisation and
        peak memory; the first reading has memory only.

        What lies before the first reading (compilation) and between `pause` and the next reading is not counted.
        """
        now, values = time.perf_counter(), {"memory_gib": peak_memory_gib()}
        if self._step is not None and step > self._step:
            seconds = now - self._time
            rate = (step - self._step) / seconds
            values |= {"steps_per_s": rate, "images_per_s": rate * self.batch_size, "data_wait": self._waited / seconds}
            if self.flops_per_step and self.peak_flops:
                values["mfu"] = rate * self.flops_per_step / self.peak_flops
        self._step, self._time, self._waited = step, now, 0.0
        return values

    def pause(self) -> None:
        """Forgets the last reading: what follows is not training."""
        self._step = None


def peak_memory_gib() -> float:
    """Returns the peak memory of this process's fullest device, or of the process where devices do not report it."""
    stats = [device.memory_stats() or {} for device in jax.local_devices()]
    return (max(s.get("peak_bytes_in_use", 0) for s in stats) or process_peak_memory()) / 2**30


def process_peak_memory() -> int:
    """Returns bytes; on Linux not getrusage's, which counts the memory of the parent process too."""
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS counts bytes
