"""Does the input keep ahead of the chips?

    python benchmarks/input_pipeline.py [--json] [--quick]

input_*: images per second out of the loader, in the batches that training takes, against what the four v5e chips of
one host take at the most. slow_files: how much more 16 threads read than 4 where each example comes 20 ms late.
waiting: how much longer a training step takes with the loader than with one batch that is there already, of a model
small enough that its steps are short. dispatch: how much faster steps of a tiny model are when ten of them are handed
to the devices at a time.
"""

import argparse
import contextlib
import dataclasses
import json
import sys
import tempfile
import time
from pathlib import Path

import jax
import numpy as np
from PIL import Image

from report import Claim, emit, ratio_claim
from score_jax import builder
from score_jax.configs.demo import mnist
from score_jax.data.loader import make_loader, prefetch_to_device
from score_jax.data.sources import Source, open_source
from score_jax.jobs.train import compiled_step, compiled_steps, fresh_state
from score_jax.runtime.sharding import make_mesh, over_batch

PLANS = Path(__file__).parents[1] / "docs" / "plans"
CHIPS_OF_A_HOST = 4


def _taken_by_a_host(plan: str) -> float:
    """Images a second that the chips of one host take at the most, by a recorded plan of training."""
    found = json.loads((PLANS / f"{plan}.json").read_text())
    return found["programs"][-1]["images_per_s_at_most"] * CHIPS_OF_A_HOST / found["chips"]


def _rate(source: Source, batch_size: int, seconds: float) -> float:
    batches = make_loader(source, batch_size=batch_size, seed=0, flip=True, process_index=0, process_count=1)
    for _ in range(4):
        next(batches)
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        count += len(next(batches)["image"])
    return count / (time.perf_counter() - began)


def _arrays(folder: Path) -> Source:
    images = np.random.default_rng(0).integers(0, 256, (20_000, 32, 32, 3), dtype=np.uint8)
    np.savez(folder / "images.npz", images=images)
    return open_source(str(folder / "images.npz"), "all", image_size=32, channels=3)


def _photographs(folder: Path, count: int) -> Path:
    """JPEGs of about ImageNet's size, 500 x 375, smooth as photographs are."""
    rng, photographs = np.random.default_rng(0), folder / "photographs"
    photographs.mkdir()
    for i in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8))
        coarse.resize((500, 375), Image.Resampling.BICUBIC).save(photographs / f"{i}.jpg", quality=90)
    return photographs


def _opened(photographs: Path, size: int) -> Source:
    with contextlib.redirect_stdout(sys.stderr):  # a folder says what was taken of it
        return open_source(f"folder:{photographs}", "all", image_size=size, channels=3, resize_filter="bicubic")


def rate_claims(folder: Path, seconds: float) -> list[Claim]:
    """Of arrays in memory, and of photographs that are decoded, cropped and resized."""
    photographs = _photographs(folder, 256)
    sources = {
        "arrays": (_arrays(folder), 128, _taken_by_a_host("cifar10_ddpmpp"), "32 x 32 from an .npz"),
        "jpegs": (
            _opened(photographs, 64),
            128,
            _taken_by_a_host("imagenet64"),
            "JPEGs, 500 x 375 to 64 x 64, bicubic",
        ),
        "jpegs_256": (
            _opened(photographs, 256),
            64,
            _taken_by_a_host("imagenet256"),
            "JPEGs, 500 x 375 to 256 x 256, bicubic",
        ),
    }
    return [
        Claim(f"input_{name}", _rate(source, b, seconds), "images/s", target, ">=", f"{what}, batches of {b}, flips")
        for name, (source, b, target, what) in sources.items()
    ]


def slow_files_claim(folder: Path, seconds: float) -> Claim:
    """As where a bucket is mounted: small arrays, each of which comes after 20 ms."""
    source = _arrays(folder)

    def late(image: np.ndarray, name: str) -> np.ndarray:
        time.sleep(0.02)
        return source.prepare(image, name)

    few, many = (_rate(dataclasses.replace(source, prepare=late, threads=threads), 64, seconds) for threads in (4, 16))
    how = f"{many:.0f} images/s with data.threads=16, {few:.0f} with 4, each 20 ms late"
    return Claim("slow_files", many / few, "times as many", 3.0, ">=", how)


def waiting_claim(folder: Path, steps: int) -> Claim:
    """In turns: steps fed by the loader, and steps fed one batch again and again."""
    config = mnist.get_config()
    config.data.update(image_size=32, channels=3, resize_filter="none")
    config.network.update(channels=16, channel_mult=(1, 2), attention_resolutions=())
    config.training.batch_size = 64
    experiment, mesh = builder.experiment(config), make_mesh()
    step, state = compiled_step(experiment, mesh), fresh_state(experiment, mesh)
    loader = make_loader(_arrays(folder), batch_size=64, seed=0, flip=True, process_index=0, process_count=1)
    batches = prefetch_to_device(loader, over_batch(mesh))
    constant, _ = next(batches)
    times: dict[str, list[float]] = {"loader": [], "constant": []}
    state, _ = step(state, constant)
    for _ in range(5):
        for kind in times:
            began = time.perf_counter()
            for _ in range(steps):
                batch = constant if kind == "constant" else next(batches)[0]
                state, metrics = step(state, batch)
            jax.block_until_ready(metrics)
            times[kind].append((time.perf_counter() - began) / steps)
    with_loader, without = (float(np.median(times[kind])) for kind in ("loader", "constant"))
    how = f"{1e3 * with_loader:.1f} ms with the loader, {1e3 * without:.1f} without, {64 / without:.0f} images/s"
    return Claim("waiting", with_loader / without - 1, "of a step", 0.1, "<=", f"{how}; medians of 5 rounds in turns")


def dispatch_claim(steps: int) -> Claim:
    """In turns: steps one at a time, each looked at once the next is under way as training does, and ten at a time."""
    config = mnist.get_config()
    config.data.update(image_size=8, channels=1)
    config.network.update(channels=8, channel_mult=(1,), attention_resolutions=())
    config.training.batch_size = 16
    experiment, mesh = builder.experiment(config), make_mesh()
    train_steps, together = compiled_steps(experiment, mesh), (1, 10)
    columns = {"image": np.zeros((16, 8, 8, 1), np.uint8), "label": np.zeros(16, np.int32), "index": np.arange(16)}
    batch = jax.device_put(columns, over_batch(mesh))
    states = {k: fresh_state(experiment, mesh) for k in together}

    def seconds(k: int, count: int) -> float:
        began, before = time.perf_counter(), None
        for _ in range(count // k):
            states[k], metrics = train_steps(states[k], (batch,) * k)
            if before is not None:
                jax.device_get(before)
            before = metrics
        jax.block_until_ready(states[k])
        return (time.perf_counter() - began) / count

    for k in together:
        seconds(k, 10)
    pairs = [(seconds(10, steps), seconds(1, steps)) for _ in range(5)]
    return ratio_claim("dispatch", pairs, 1.0, "a step of a tiny model, by ten (here) and singly (there)")


def main() -> int:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout, nothing else")
    parser.add_argument("--quick", action="store_true", help="for fewer seconds")
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        claims = rate_claims(folder, 1.0 if options.quick else 10.0)
        claims.append(slow_files_claim(folder, 1.0 if options.quick else 10.0))
        claims.append(waiting_claim(folder, 3 if options.quick else 20))
    claims.append(dispatch_claim(10 if options.quick else 200))
    return emit("input_pipeline", claims, began, as_json=options.json)


if __name__ == "__main__":
    sys.exit(main())
