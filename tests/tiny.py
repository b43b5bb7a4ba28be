"""A run small enough to test the whole of it, as a config file and as commands."""

import functools
import json
import os
import socket
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import jsonschema
import pytest

from score_jax.evaluation.result_table import checked_result

ROOT = Path(__file__).parents[1]

CONFIG = """
from score_jax.configs import base

def get_config():
    config = base.get_config()
    config.data.update(name="dead_leaves", image_size=8, channels=1, flip=True, dequantize=True)
    config.data.update(train_split="train[:64]", eval_split="test[:10]")
    config.network.update(channels=8, channel_mult=(1,), num_res_blocks=1, attention_resolutions=(8,), dropout=0.1)
    config.optimizer.update(learning_rate=1e-3, warmup_steps=2)
    config.ema.decay = 0.5
    config.training.update(batch_size=16, steps=6, log_every=1, checkpoint_every=2, sample_every=0)
    config.sampler.update(num_steps=5)
    config.sampling.update(num_samples=8, batch_size=8)
    config.likelihood.update(batch_size=8, rtol=1e-2, atol=1e-2)
    config.evaluation.update(num_samples=8, batch_size=8)
    return config
"""

TINIEST = """
from score_jax.configs.dpm2015 import swiss_roll

def get_config():
    config = swiss_roll.get_config()
    with config.unlocked():
        config.process.num_levels = config.network.num_levels = 6
        config.network.units = 6
    config.data.update(train_split="train[:64]", eval_split="test[:16]")
    config.optimizer.update(warmup_steps=2, decay="constant")
    config.training.update(batch_size=16, steps=6, log_every=1, checkpoint_every=2, keep=3, sample_every=0)
    return config
"""
"""Of points, whose network compiles in a moment: for tests of what surrounds a training."""


def write_config(folder: Path, text: str = CONFIG) -> Path:
    """The config file."""
    path = folder / "tiny.py"
    path.write_text(text)
    return path


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "score_jax", *map(str, arguments)]


def xla_flags(devices: int, level: int = 0) -> str:
    """Without LLVM's optimisations, which double the time of compiling a network once; benchmarks run with them.

    `level`: 1 is for what trains some hundred steps, which without any optimisation take up to thirty times as long.
    """
    return f"--xla_force_host_platform_device_count={devices} --xla_backend_optimization_level={level}"


def xla_flags_of_tests(devices: int, level: int = 0) -> str:
    """The same without XLA's newer emitters of fusions, whose passes double that time again; jax 0.12 has no others.

    Benchmarks run with the emitters, as users do; `benchmarks/same_results.py` compares what they compute.
    """
    older = " --xla_cpu_use_fusion_emitters=false" if version("jaxlib").startswith("0.10.") else ""
    return xla_flags(devices, level) + older


def environment(devices: int = 8) -> dict[str, str]:
    """Of a process with so many devices; with those of the tests it finds the programs that they compiled."""
    flags = {"XLA_FLAGS": xla_flags_of_tests(devices), "JAX_PLATFORMS": "cpu"}
    cache = {
        "JAX_COMPILATION_CACHE_DIR": os.environ["JAX_COMPILATION_CACHE_DIR"],
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_DEFAULT_MATMUL_PRECISION": "highest",  # as in conftest.py, so that both find one another's programs
        "PYTHONPATH": str(ROOT),
        # JAX has set it to 1 here, and what jaxlib then says of its cache would fill a pipe that nobody reads.
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "PYTHONFAULTHANDLER": "1",  # a process that hangs and is sent SIGABRT says where
    }
    return {**os.environ, **flags, **cache}


def here(*arguments: object) -> int:
    """One command in this process, where nothing is imported or compiled again; its exit code."""
    from score_jax.cli import main as cli  # not before conftest.py has set what JAX reads when it is imported

    return cli.main(["score_jax", *map(str, arguments)])


def run(*arguments: str, devices: int = 8) -> subprocess.CompletedProcess:
    """One command in a process of its own."""
    return subprocess.run(
        command(*arguments), env=environment(devices), cwd=ROOT, capture_output=True, text=True, timeout=300
    )


def checked(path: Path) -> dict:
    """A result file, which has the form that docs/result.schema.json says."""
    schema = json.loads((Path(__file__).parents[1] / "docs" / "result.schema.json").read_text())
    values = json.loads(Path(path).read_text())
    jsonschema.validate(values, schema, jsonschema.Draft202012Validator)
    return dict(checked_result(values, str(path)))


def train_classifiers_briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of `fid_classes` and `fid_digits`, where a test does not look at how good they are."""
    from score_jax.evaluation import digit_features  # not before conftest.py has set what JAX reads

    whole = digit_features.train_classifier
    monkeypatch.setattr(digit_features, "train_classifier", functools.partial(whole, steps=50))


def in_two_processes(program: str, folder: Path, beside: str) -> None:
    """Runs a program in two processes of two devices each; its arguments are an address, its number, and the folder.

    `beside` is the test file, whose neighbours the program may import.
    """
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    paths = [str(ROOT), str(ROOT / "tests"), str(Path(beside).parent)]
    changed = {"XLA_FLAGS": xla_flags_of_tests(2), "PYTHONPATH": os.pathsep.join(paths), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", program, address]
    processes = [subprocess.Popen([*command, str(i), str(folder)], env=os.environ | changed) for i in range(2)]
    assert [process.wait(timeout=240) for process in processes] == [0, 0]
