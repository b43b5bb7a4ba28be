"""What `preflight` looks at on each machine of a job: devices, links, memory, disk, place of the checkpoints, data."""

import dataclasses
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from jaxtyping import Array, BFloat16, Float

from score_jax import builder
from score_jax.errors import InputError, Outage, counted
from score_jax.jobs.train import open_training
from score_jax.runtime.exit_codes import AGAIN, DONE, MEND
from score_jax.runtime.multihost import on_first_then_all
from score_jax.runtime.outages import is_outage
from score_jax.runtime.sharding import make_mesh, over_batch, replicated

_SIDE, _COLUMNS, _ROUNDS = 256, 512, 8
_MODULUS = 511
"""Whole numbers up to 255, which fill bfloat16's bits; a sum of 256 of their products fills float32's, so that no order
of adding rounds."""
_BYTES = 2**24
"""Of each device, in the sum over all."""
_RUNS = 3
_LOW_DISK, _LOW_MEMORY = 5e9, 2e9
_GB = 1e9


@dataclasses.dataclass(frozen=True)
class Finding:
    """What one check found on one process.

    Attributes:
      check: its name.
      said: what was found, also where all is well.
      code: 0; 2 where a person must mend it; 75 where a device, a network or a service fails.
      warns: worth a look, and no reason to stop.
    """

    check: str
    said: str
    code: int = DONE
    warns: bool = False


def within(seconds: float, check: str, work: Callable[[], Finding]) -> Finding:
    """What a check finds; its error, or that it has not ended in time, is a finding too.

    It runs in a thread, which is left behind where it hangs, as on the disk of a server that is gone.
    """
    ended: list[Finding | Exception] = []

    def run() -> None:
        try:
            ended.append(work())
        except Exception as error:  # is raised below, where it is not the world's
            ended.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if not ended:
        return Finding(check, f"has not ended within {seconds:.0f} s: look at this machine", AGAIN)
    outcome = ended[0]
    if isinstance(outcome, Finding):
        return outcome
    if isinstance(outcome, InputError):
        return Finding(check, _line(outcome), MEND)
    if isinstance(outcome, Outage | jax.errors.JaxRuntimeError) or is_outage(outcome):
        return Finding(check, _line(outcome), AGAIN)
    if isinstance(outcome, OSError):
        return Finding(check, _line(outcome), MEND)
    raise outcome


def _line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300].rstrip(".")


def known_product(
    factor: BFloat16[Array, "side side"], start: BFloat16[Array, "devices side columns"]
) -> BFloat16[Array, "devices side columns"]:
    """Returns `start` after some rounds of a product of matrices, each brought back to whole numbers up to 255."""

    def one(_, held: Array) -> Array:
        product = jnp.einsum("ij,djk->dik", factor, held, preferred_element_type=jnp.float32)
        return (product.astype(jnp.int32) % _MODULUS - _MODULUS // 2).astype(jnp.bfloat16)

    return jax.lax.fori_loop(0, _ROUNDS, one, start)


def _known_case() -> tuple[Float[np.ndarray, "side side"], Float[np.ndarray, "side columns"], np.ndarray]:
    """Factor, start, and what `known_product` makes of them, in float64."""
    rng, largest = np.random.default_rng(0), _MODULUS // 2
    factor = rng.integers(-largest, largest + 1, (_SIDE, _SIDE)).astype(np.float64)
    start = rng.integers(-largest, largest + 1, (_SIDE, _COLUMNS)).astype(np.float64)
    answer = start
    for _ in range(_ROUNDS):
        answer = (factor @ answer) % _MODULUS - largest
    return factor, start, answer


def check_devices(product: Callable[[Array, Array], Array] = known_product) -> Finding:
    """Every device of this process computes `product`, whose answer is known to the bit, and so the same everywhere."""
    mesh = make_mesh(devices=jax.local_devices())
    factor, start, answer = _known_case()
    held = np.broadcast_to(start, (mesh.size, *start.shape)).astype(jnp.bfloat16)
    given = jax.device_put(factor.astype(jnp.bfloat16), replicated(mesh)), jax.device_put(held, over_batch(mesh))
    found = jax.jit(product, out_shardings=over_batch(mesh))(*given)
    wrong = [
        f"{off} of {answer.size} numbers on {shard.device}"
        for shard in found.addressable_shards
        if (off := int((np.asarray(shard.data[0], np.float64) != answer).sum()))
    ]
    if wrong:
        said = f"a known product of matrices is wrong in {', '.join(wrong)}: leave this machine out"
        return Finding("devices", said, AGAIN)
    return Finding("devices", f"{devices_here()}: a known product of matrices is right to the bit")


def devices_here() -> str:
    """How many devices of which kind this process has."""
    return f"{jax.local_device_count()} x {jax.local_devices()[0].device_kind}"


def _over_devices(held: Float[Array, "devices length"]) -> Float[Array, " length"]:
    return held.sum(axis=0)


def check_links(total: Callable[[Array], Array] = _over_devices) -> Finding:
    """The `total` over all devices of all processes, whose answer is known, and how fast it is."""
    mesh = make_mesh()
    if mesh.size == 1:
        return Finding("links", "one device, which has none")
    length = _BYTES // 4
    own = np.ones((len(mesh.local_devices), length), np.float32)
    held = jax.make_array_from_process_local_data(over_batch(mesh), own)
    compute = jax.jit(total, out_shardings=replicated(mesh))
    seconds, summed = [], compute(held).block_until_ready()
    for _ in range(_RUNS):
        began = time.perf_counter()
        summed = compute(held).block_until_ready()
        seconds.append(time.perf_counter() - began)
    for shard in summed.addressable_shards:
        if off := int((np.asarray(shard.data) != mesh.size).sum()):
            said = f"a known sum over all devices is wrong in {off} of {length} numbers on {shard.device}"
            return Finding("links", said, AGAIN)
    # Of a ring, which each device's share goes around twice.
    rate = 2 * (mesh.size - 1) / mesh.size * _BYTES / min(seconds) / _GB
    return Finding(
        "links", f"{_BYTES >> 20} MiB are summed over {counted(mesh.size, 'device')}, {rate:.2f} GB/s through each"
    )


def check_memory() -> Finding:
    """What is free of the machine's memory and of that of its devices, where they say it."""
    free, said = _free_memory(), []
    if free is not None:
        said.append(f"{free / _GB:.1f} GB of the machine")
    counts = [stats for device in jax.local_devices() if (stats := device.memory_stats())]
    if counts:
        least = min(each.get("bytes_limit", 0) - each.get("bytes_in_use", 0) for each in counts)
        said.append(f"{least / _GB:.1f} GB of each device")
    low = free is not None and free < _LOW_MEMORY
    return Finding("memory", f"{' and '.join(said)} are free" if said else "the system does not say", warns=low)


def _free_memory() -> int | None:
    """Bytes that programs may still take; None where the system does not say."""
    facts = Path("/proc/meminfo")
    lines = facts.read_text().splitlines() if facts.is_file() else []
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")), None)


def check_disk(workdir: Path) -> Finding:
    """What is free where the workdir is, or will be."""
    folder = workdir.absolute()
    free = shutil.disk_usage(next(path for path in (folder, *folder.parents) if path.exists())).free
    return Finding("disk", f"{free / _GB:.1f} GB are free in {workdir}", warns=free < _LOW_DISK)


def existing(directory: epath.Path) -> epath.Path:
    """The folder itself, or the nearest above it that is there; one of a bucket is always there."""
    if "://" in os.fspath(directory):
        return directory
    return next(path for path in (directory, *directory.parents) if path.exists())


def own_file(directory: epath.Path, name: str) -> epath.Path:
    """A path that no other process and no other job has, where the checkpoints are to be."""
    return existing(directory) / f".{name}-{socket.gethostname()}-{os.getpid()}"


def check_place(directory: epath.Path) -> Finding:
    """A file can be written, read and removed where the checkpoints are to be; nothing is left behind."""
    file, text = own_file(directory, "preflight"), os.urandom(2**20)
    try:
        try:
            file.write_bytes(text)
            same = file.read_bytes() == text
        finally:
            file.unlink(missing_ok=True)
    except Exception as error:  # whatever a file system or the client of a bucket raises
        reason = (isinstance(error, OSError) and error.strerror) or _line(error)
        said = f"cannot write, read and remove a file in {file.parent}: {reason}"
        if is_outage(error):
            return Finding("checkpoints", said, AGAIN)
        return Finding("checkpoints", f"{said}: let this machine write there, or give training.checkpoints", MEND)
    if not same:
        return Finding("checkpoints", f"a file in {file.parent} is not read as it was written", AGAIN)
    return Finding("checkpoints", f"a file in {file.parent} is written, read and removed")


def check_shared(directory: epath.Path, mark: str) -> Finding:
    """The place of the checkpoints is the same for all: this process sees the file that the first one left there."""
    folder = existing(directory)
    if (folder / mark).exists():
        return Finding("one place", "all see the same place of the checkpoints")
    said = f"does not see in {folder} the file that process 0 wrote where it keeps the checkpoints"
    return Finding("one place", f"{said}: give training.checkpoints=gs://..., or a folder that all machines see", MEND)


def check_data(experiment: builder.Experiment) -> Finding:
    """The training data can be opened, and the first record read; the first process opens them before the others."""
    source = on_first_then_all(lambda: open_training(experiment))
    source[0]
    return Finding("data", f"the first of {counted(len(source), 'record')} is read")
