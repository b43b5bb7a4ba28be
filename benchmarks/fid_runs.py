"""Claims of `fid.py` about whole runs: killed in the middle, on other numbers of devices and processes."""

import json
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
from processes import done, started, two_started

from report import Claim

_CONFIG = """
from score_jax.configs.demo import mnist


def get_config():
    config = mnist.get_config()
    config.data.update(name="digits", image_size=8, data_dir={data_dir!r})
    config.network.update(channels=8, channel_mult={channel_mult}, attention_resolutions=())
    config.training.update(batch_size=32, steps=60, log_every=20, checkpoint_every=60, sample_every=0)
    config.sampler.update(name="euler_maruyama", num_steps=10)
    config.evaluation.update(num_samples={count}, batch_size={batch})
    return config
"""


def _verb(*arguments: str, devices: int = 2) -> subprocess.Popen:
    return started(["-m", "score_jax", *arguments], devices)


def _copy(workdir: Path, name: str) -> Path:
    """Another folder with the same trained model and classifier, so that all runs see the same features."""
    evaluated = shutil.ignore_patterns("evaluation*")
    return Path(shutil.copytree(workdir, workdir.with_name(name), ignore=evaluated))


def _result(workdir: Path) -> tuple[dict, np.ndarray]:
    return json.loads((workdir / "evaluation.json").read_text()), np.load(workdir / "evaluation.npz")["sigma"]


def _killed_and_rerun(workdir: Path, count: int, size: int) -> int:
    """kill -9 once about half of the parts are there, then the same command; how many there were."""
    process = _verb("evaluate", f"--workdir={workdir}")
    half = -(-count // size) // 2

    def finished() -> int:
        return len(list((workdir / "evaluation_parts").glob("*/0*.npz")))

    while finished() < half and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    found = finished()
    done(_verb("evaluate", f"--workdir={workdir}"))
    return found


def run_claims(folder: Path, *, count: int, quick: bool) -> list[Claim]:
    """A small model on digits, evaluated with `count` samples; on other devices and processes with fewer."""
    batch = min(250, count // 8)
    config, trained = folder / "config.py", folder / "trained"
    mult = (1,) if quick else (1, 2)
    config.write_text(_CONFIG.format(data_dir=str(folder / "tfds"), channel_mult=mult, count=count, batch=batch))
    done(_verb("train", f"--config={config}", f"--workdir={trained}"))
    claims = [_resumed(trained, count, 2 * batch)]
    return claims if quick else [*claims, _elsewhere(trained, min(count, 2000))]


def _resumed(trained: Path, count: int, size: int) -> Claim:
    began = time.monotonic()
    done(_verb("evaluate", f"--workdir={trained}"))
    seconds, broken = time.monotonic() - began, _copy(trained, "broken")
    parts = _killed_and_rerun(broken, count, size)
    (one, one_sigma), (other, other_sigma) = _result(trained), _result(broken)
    same = one["fid_digits"] == other["fid_digits"] and np.array_equal(one_sigma, other_sigma)
    how = f"{count} samples in {seconds:.0f} s; killed with {parts} of {-(-count // size)} parts done and rerun: "
    how += f"fid_digits {one['fid_digits']:.9f} and {other['fid_digits']:.9f}, covariances compared bit by bit"
    return Claim("resume_identical", float(same), "", 1.0, ">=", how)


def _elsewhere(trained: Path, count: int) -> Claim:
    one, eight, two = (_copy(trained, name) for name in ("one", "eight", "two"))
    asked = f"--num_samples={count}"
    done(_verb("evaluate", f"--workdir={one}", asked, devices=1))
    done(_verb("evaluate", f"--workdir={eight}", asked, devices=8))
    arguments = ["evaluate", f"--workdir={two}", f"--config.evaluation.num_samples={count}"]
    done(*two_started(["-m", "score_jax", *arguments], 2))
    results = [_result(run) for run in (one, eight, two)]
    apart = max(abs(values["fid_digits"] - results[0][0]["fid_digits"]) for values, _ in results)
    bits = all(np.array_equal(sigma, results[0][1]) for _, sigma in results)
    how = f"{count} samples on 1 device, 8 devices, and 2 processes of 2: {results[0][0]['fid_digits']:.6f}, "
    how += f"covariances {'' if bits else 'not '}equal to the bit"
    return Claim("hosts_identical", float(apart), "fid_digits", 1e-9, "<=", how)
