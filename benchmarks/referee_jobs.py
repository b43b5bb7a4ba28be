"""Claims of `referee.py` about jobs: the front door is the verb on any devices and processes, and after kill -9.

As a program it is one process of such a job, `python benchmarks/referee_jobs.py FOLDER NAME COUNT [KILLED_IN]`: it
measures the network of `referee_runs.py` through the front door and by the jobs of the verbs, and leaves
FOLDER/NAME.json. With KILLED_IN, "evaluation" or "likelihood", it is killed by SIGKILL within that.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import jax
from processes import done, started, two_started
from referee_runs import moments_of, ours

from report import Claim
from score_jax.runtime import cluster
from score_jax.runtime.parts import Parts

_PROGRAM = str(Path(__file__))
_PARTS = 2
"""On disk when a process is killed."""


def job_claims(folder: Path, *, count: int) -> list[Claim]:
    """Of processes of their own, which measure what `referee_runs.run_claims` did: `count` samples, and all images."""
    here = _found(folder, "here")
    elsewhere = [
        _elsewhere(folder, "1_device", count, here, devices=1),
        _elsewhere(folder, "8_devices", count, here, devices=8),
        _elsewhere(folder, "2_processes", count, here, devices=2, processes=2),
    ]
    both, of_two = ("evaluation", "likelihood"), _found(folder, "2_processes")
    killed = _killed(folder, "killed", count, here, both, devices=jax.device_count())
    return [
        *elsewhere,
        *killed,
        *_killed(folder, "killed_2_processes", count, of_two, both, devices=2, processes=2),
    ]


def _found(folder: Path, name: str) -> dict[str, Any]:
    return json.loads((folder / f"{name}.json").read_text())


def _start(folder: Path, name: str, count: int, devices: int, processes: int, *killed_in: str) -> list[Any]:
    arguments = [_PROGRAM, str(folder), name, str(count), *killed_in]
    return two_started(arguments, devices) if processes == 2 else [started(arguments, devices)]


def _elsewhere(folder: Path, name: str, count: int, here: dict[str, Any], *, devices: int, processes: int = 1) -> Claim:
    """Verb and front door there, and the verb's evaluation here; a likelihood's last bits depend on the devices."""
    done(*_start(folder, name, count, devices, processes))
    found = _found(folder, name)
    same = found["door"] == found["verb"] == here["verb"] and found["door_bits"] == found["verb_bits"]
    bits = found["verb_bits"]
    how = (
        f"{count} samples, by the verb {found['verb']['fid']:.9f} and through the front door {found['door']['fid']:.9f}"
    )
    how += f", with the same covariance as here; {sum(bits) / len(bits):.6f} bits/dim, equal for each image"
    return Claim(f"same_on_{name}", float(same), "", 1, ">=", how)


def _killed(
    folder: Path,
    name: str,
    count: int,
    expected: dict[str, Any],
    killed_in: tuple[str, ...],
    *,
    devices: int,
    processes: int = 1,
) -> list[Claim]:
    """Killed once in each of these measurements, and called again."""
    how, ends = (devices, processes), []
    for within in killed_in:
        first, *others = _start(folder, name, count, *how, within)
        ends.append(first.wait())
        for other in others:  # waits for one that is dead
            other.kill()
            other.wait()
    done(*_start(folder, name, count, *how))
    found, killed = _found(folder, name), ends == [-signal.SIGKILL] * len(killed_in)
    what = f"SIGKILL with {_PARTS} parts on disk, {processes} process{'es' * (processes > 1)}; called again: "
    same_fid, same_bits = found["door"] == expected["verb"], found["door_bits"] == expected["verb_bits"]
    fid = f"{found['door']['fid']:.9f}, by the verb {expected['verb']['fid']:.9f}, covariances compared bit by bit"
    bits = f"{len(found['door_bits'])} images, the same bits of each as by the verb"
    claims = [Claim(f"same_fid_{name}", float(killed and same_fid), "", 1, ">=", what + fid)]
    if "likelihood" in killed_in:
        claims.append(Claim(f"same_bits_{name}", float(killed and same_bits), "", 1, ">=", what + bits))
    return claims


def _die_in(within: str) -> None:
    """SIGKILL once this process has written so many parts of a measurement, which are whole on disk."""
    write, written = Parts.write, []

    def counted(self: Parts, start: int, columns: Any) -> None:
        write(self, start, columns)
        written.append(self.folder.parent.name)
        if written.count(f"{within}_parts") == _PARTS:
            os.kill(os.getpid(), signal.SIGKILL)

    Parts.write = counted  # type: ignore[method-assign]


def main(folder: Path, name: str, count: int, *killed_in: str) -> None:
    """One process of a job."""
    cluster.join()
    for within in killed_in:
        _die_in(within)
    model, workdir = ours(folder / "images.npz", count), folder / name
    if not (workdir / "evaluation.json").exists():
        model.through_the_door(workdir)
    bits = model.measured_through_the_door(workdir)
    found: dict[str, Any] = {"door_bits": bits.bits_per_dim.tolist()}
    if not name.startswith("killed"):
        model.evaluated(workdir / "verb")
        found["verb_bits"] = model.measured().bits_per_dim.tolist()
    if jax.process_index() == 0:
        found["door"] = moments_of(workdir)
        if "verb_bits" in found:
            found["verb"] = moments_of(workdir / "verb")
        (folder / f"{name}.json").write_text(json.dumps(found))
    if cluster.is_joined():
        cluster.finish()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), *sys.argv[4:])
