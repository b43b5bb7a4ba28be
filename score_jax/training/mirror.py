"""A copy of what a run shows, at the place of its checkpoints, where it outlives the machine.

CHECKPOINTS/log/    config, data facts, curves, non-finite steps, costs, pictures, TensorBoard events and what other
                    processes of the job said
"""

import threading
from collections.abc import Iterator
from pathlib import Path

import jax
from etils import epath

from score_jax.runtime.files import written_whole
from score_jax.runtime.multihost import on_first_process
from score_jax.runtime.outages import say_outage
from score_jax.runtime.relay import FILE_NAME as OTHERS
from score_jax.runtime.relay import keep_of_others

FOLDER = "log"
_SHOWN = (
    *("config.json", "data.json", "loss.jsonl", "metrics.csv", "nonfinite.jsonl", "runs.jsonl"),
    *("tensorboard/*", "samples/*.png", OTHERS),
)


class Mirror:
    """Copies in a thread of its own, so that no step waits; a context manager.

    It first brings back what a fresh workdir lacks, has what other processes say written there, and makes a last
    copy at its end.

    Checkpoints within the workdir have no copy: they live and die with it.

    Args:
      workdir: of the run.
      directory: of its checkpoints.
    """

    def __init__(self, workdir: Path, directory: epath.Path):
        self._workdir, self._place = workdir, directory / FOLDER
        inside = "://" not in str(directory) and Path(directory).is_relative_to(workdir.absolute())
        self._active = jax.process_index() == 0 and not inside
        self._copied: dict[Path, tuple[int, int]] = {}
        self._thread: threading.Thread | None = None

    def __enter__(self) -> "Mirror":
        on_first_process(self._bring_back)
        keep_of_others(self._workdir)
        return self

    def _bring_back(self) -> None:
        if not self._active or not self._place.is_dir():
            return
        for source in _files_below(self._place):
            target = self._workdir / source.relative_to(self._place)
            if not target.exists():
                with written_whole(target) as temporary:
                    temporary.write_bytes(source.read_bytes())

    def copy(self) -> None:
        """Begins to copy what is new; left out where the copy before is not done."""
        if not self._active or (self._thread is not None and self._thread.is_alive()):
            return
        self._thread = threading.Thread(target=self._copy, name="score_jax mirror")
        self._thread.start()

    def __exit__(self, *_) -> None:
        if self._thread is not None:
            self._thread.join()
        self.copy()
        if self._thread is not None:
            self._thread.join()

    def _copy(self) -> None:
        try:
            for pattern in _SHOWN:
                for path in sorted(self._workdir.glob(pattern)):
                    self._copy_file(path)
        except Exception as error:  # of any storage; what is missing is copied with the next checkpoint
            say_outage(
                f"cannot copy curves and pictures to {self._place} now ({error}); the next checkpoint tries again"
            )

    def _copy_file(self, path: Path) -> None:
        target, stat = self._place / path.relative_to(self._workdir).as_posix(), path.stat()
        is_new = self._copied.get(path) != (stat.st_size, stat.st_mtime_ns)
        if not is_new or (path.suffix == ".png" and target.exists()):  # a picture is written once
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
        self._copied[path] = (stat.st_size, stat.st_mtime_ns)


def _files_below(folder: epath.Path) -> Iterator[epath.Path]:
    for path in folder.iterdir():
        if path.is_dir():
            yield from _files_below(path)
        else:
            yield path
