"""Wall time of the stages of a long job, kept in its folder so that a job that was resumed knows all of it."""

import json
import time
from pathlib import Path

from score_jax.runtime.results import write_json


class StageTimes:
    """Seconds per stage, of this run and of the runs that it resumes.

    Args:
      path: the JSON file in which they are kept.
    """

    def __init__(self, path: Path):
        self._path, self._last = path, time.monotonic()
        self.seconds: dict[str, float] = json.loads(path.read_text()) if path.exists() else {}

    def took(self, stage: str) -> None:
        """Adds the time since the last call, or since the beginning, to a stage."""
        now = time.monotonic()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._last
        self._last = now
        write_json(self._path, self.seconds)

    @property
    def total(self) -> float:
        """Of all stages."""
        return sum(self.seconds.values())
