"""Jobs for `faults.py`: started by launch/local.sh, ended by signals, and what they leave."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from score_jax.training.checkpoint import Checkpoints

ROOT = Path(__file__).parents[1]
STEPS, SAVED_EVERY = 400, 25
_CONFIG = """
from score_jax.configs.demo import mnist


def get_config():
    config = mnist.get_config()
    config.data.update(name="digits", image_size=8, data_dir={data_dir!r})
    config.network.update(channels=8, channel_mult=(1, 2), attention_resolutions=())
    config.training.update(
        batch_size=16, steps={steps}, log_every=25, checkpoint_every={every}, keep=3, sample_every=0
    )
    config.sampler.update(name="euler_maruyama", num_steps=20)
    config.sampling.update(num_samples=2000, batch_size=40)
    config.likelihood.update(num_examples=0, batch_size=8)
    config.evaluation.update(num_samples=2000, batch_size=20)
    return config
"""


def write_config(folder: Path) -> Path:
    """The config of all jobs, in a folder."""
    path = folder / "faults_config.py"
    path.write_text(_CONFIG.format(data_dir=str(folder / "tfds"), steps=STEPS, every=SAVED_EVERY))
    return path


def environment_of(folder: Path, devices: int) -> dict[str, str]:
    """Of a process of a job with so many devices."""
    return os.environ | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": str(ROOT),
        "VIRTUAL_ENV": sys.prefix,
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "SCORE_JAX_CACHE": str(folder / "cache"),
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
    }


def alone(folder: Path, words: list[str], **more: str) -> tuple[int, float, str]:
    """Runs Python with these words, of two devices; its exit code, its seconds and its output."""
    began = time.monotonic()
    found = subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        env=environment_of(folder, 2) | more,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )
    return found.returncode, time.monotonic() - began, found.stdout


class Job:
    """A verb in one or several processes, at work.

    Args:
      folder: of all jobs; the job's output goes into a file there.
      arguments: verb and flags.
      processes: how many; they have two devices together.
      output: name of that file.
    """

    def __init__(self, folder: Path, arguments: list[str], processes: int, output: str = "output.log"):
        self.processes = processes
        self.output = folder / output
        self._began = time.monotonic()
        environment = environment_of(folder, 2 // processes)
        with self.output.open("w") as output:
            self._process = subprocess.Popen(
                ["launch/local.sh", str(processes), "--", *arguments],
                cwd=ROOT,
                env=environment,
                stdout=output,
                stderr=output,
            )

    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self._began

    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def pids(self) -> list[int]:
        """Of its processes, by number; fewer while they start and end."""
        listed = subprocess.run(
            ["pgrep", "-P", str(self._process.pid), "-f", "score_jax"], capture_output=True, text=True, check=False
        )
        return sorted(map(int, listed.stdout.split()))

    def tell(self, number: int, what: signal.Signals) -> bool:
        """Sends a signal to one process; whether it was there."""
        pids = self.pids()
        if number >= len(pids):
            return False
        os.kill(pids[number], what)
        return True

    def wait(self) -> int:
        """Until it ends; its exit code."""
        return self._process.wait(timeout=600)

    def done(self) -> "Job":
        """Until it ends well."""
        if self.wait():
            raise RuntimeError(f"A run failed:\n{self.output.read_text()[-4000:]}")
        return self

    def until(self, there: Path) -> None:
        """Waits for a file or folder."""
        while not there.exists():
            if not self.is_running():
                raise RuntimeError(f"A run ended too early:\n{self.output.read_text()[-4000:]}")
            time.sleep(0.01)


def arguments_of(verb: str, config: Path, workdir: Path) -> list[str]:
    """The command of a verb."""
    named = [f"--config={config}"] if verb == "train" else []
    return [verb, *named, f"--workdir={workdir}"]


def workdir_of(verb: str, folder: Path, name: str) -> Path:
    """A fresh folder for a job; but for training with the trained model in it."""
    workdir = folder / name
    shutil.rmtree(workdir, ignore_errors=True)
    if verb != "train":
        shutil.copytree(folder / "trained", workdir)
    return workdir


def committed(workdir: Path) -> int:
    """Step of the newest checkpoint that is whole on disk; 0 if none."""
    steps = [int(path.name) for path in (workdir / "checkpoints").glob("*") if path.name.isdecimal()]
    return max(steps, default=0)


def resumed_at(job: Job) -> int:
    """The step that a training says it goes on from; 0 where it begins."""
    found = re.search(r"Resuming at step (\d+)", job.output.read_text())
    return int(found[1]) if found else 0


def result_of(verb: str, workdir: Path) -> dict[str, np.ndarray]:
    """What a verb leaves, as arrays by name."""
    if verb == "train":
        with Checkpoints(workdir / "checkpoints") as checkpoints:
            contents = checkpoints.read(STEPS)
        return contents.arrays | {"batches": np.array(contents.data["batches"])}
    stem = {"sample": "samples", "likelihood": "likelihood", "evaluate": "evaluation"}[verb]
    with np.load(workdir / f"{stem}.npz") as file:
        arrays = dict(file)
    numbers = json.loads((workdir / f"{stem}.json").read_text())
    return arrays | {name: np.array(value) for name, value in numbers.items() if isinstance(value, float | int)}


def differing(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> list[str]:
    """Names whose arrays are not the same to the bit."""
    return sorted(
        name
        for name in found.keys() | expected.keys()
        if name not in found or name not in expected or found[name].tobytes() != expected[name].tobytes()
    )
