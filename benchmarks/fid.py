"""Is the FID the reference evaluators' FID, and is it fast? Beside torch-fidelity and pytorch-fid in one run.

    python -m venv peer && peer/bin/pip install torch==2.13.0 torch-fidelity pytorch-fid
    python benchmarks/fid.py --peer_python=peer/bin/python [--json] [--quick]

Both sides have the same random Inception weights and the same images. Without --peer_python only what needs no peer is
measured. The 50,000-image run is of a small model on 8 x 8 digits, whose features are the small classifier's.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=2")

import jax
import jax.numpy as jnp
import numpy as np
from fid_runs import run_claims
from peer import Peer, peer_of

from report import Claim, emit, timed
from score_jax.convert.inception import params_of, random_state
from score_jax.evaluation.frechet import frechet_distance
from score_jax.evaluation.inception import InceptionWeights, inception_extractor
from score_jax.evaluation.protocols import PROTOCOLS
from score_jax.evaluation.statistics import moments
from score_jax.jobs.feature_sets import jitted
from score_jax.runtime.sharding import make_mesh, over_batch
from score_jax.training.throughput import process_peak_memory


def feature_claims(peer: Peer, folder: Path, *, count: int, rounds: int) -> list[Claim]:
    """pool3 of 32 x 32 images under torch-fidelity's protocol, in turns."""
    state = random_state(0)
    images = np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    np.savez(folder / "weights.npz", **state)
    np.save(folder / "images.npy", images)
    peer.ask("load", weights=str(folder / "weights.npz"), images=str(folder / "images.npy"))
    mesh = make_mesh()
    weights = InceptionWeights(jax.tree.map(jnp.asarray, params_of(state)), "random", published=False)
    of_images = jitted(inception_extractor(weights, PROTOCOLS["torch_fidelity"]), mesh)
    placed = jax.device_put(images, over_batch(mesh))

    def ours() -> np.ndarray:
        return np.asarray(of_images(placed)["features"])

    def theirs() -> float:
        return peer.ask("features", out=str(folder / "features.npy"))["seconds"]

    ours(), theirs()
    times = [(timed(ours)[0], theirs()) for _ in range(rounds)]
    here, there = (float(np.median(column)) for column in zip(*times, strict=True))
    found, expected = ours(), np.load(folder / "features.npy")
    how = f"{count} images of 32 x 32: {count / here:.1f} images/s here, {count / there:.1f} in torch-fidelity"
    difference = float(np.abs(found - expected).max() / np.abs(expected).max())
    return [
        Claim("features_ratio", there / here, "", 1.0, ">=", f"{how}, medians of {rounds} rounds in turns"),
        Claim("features_difference", difference, "of the largest", 1e-4, "<=", f"pool3; {how}"),
    ]


def statistics_claims(peer: Peer, folder: Path, *, count: int, dim: int, rounds: int) -> list[Claim]:
    """From features to the distance."""
    rng = np.random.default_rng(1)
    mixing = rng.normal(size=(dim, dim)) / np.sqrt(dim)
    sets = [np.maximum(rng.normal(size=(count, dim)) @ mixing + shift, 0).astype(np.float32) for shift in (0.0, 0.05)]
    paths = [str(folder / f"set_{i}.npy") for i in range(2)]
    for path, rows in zip(paths, sets, strict=True):
        np.save(path, rows)

    def ours() -> float:
        return frechet_distance(generated=moments(np.load(paths[0])), real=moments(np.load(paths[1])))

    times, values = [], {}
    for _ in range(rounds):
        here, values["ours"] = timed(ours)
        answers = {name: peer.ask(name, one=paths[0], other=paths[1]) for name in ("pytorch_fid", "torch_fidelity")}
        values |= {name: answer["value"] for name, answer in answers.items()}
        times.append([here, *(answer["seconds"] for answer in answers.values())])
    here, *there = np.median(times, axis=0)
    how = f"2 x {count} rows of {dim}: {here:.1f} s here, pytorch-fid {there[0]:.1f}, torch-fidelity {there[1]:.1f}"
    apart = max(abs(values[name] / values["ours"] - 1) for name in ("pytorch_fid", "torch_fidelity"))
    exact = _by_nuclear_norm(*sets)
    return [
        Claim("statistics_ratio", float(there[0] / here), "", 3.0, ">=", f"{how}; to pytorch-fid"),
        Claim("statistics_ratio_torch_fidelity", float(there[1] / here), "", 1.0, ">=", how),
        Claim(
            "value_difference",
            float(apart),
            "relative",
            1e-3,
            "<=",
            f"FID {values['ours']:.6f}; the further of the two",
        ),
        Claim(
            "value_error",
            abs(float(values["ours"]) / exact - 1),
            "relative",
            1e-6,
            "<=",
            "against the nuclear norm of the product of centred features, which takes no root of a covariance",
        ),
    ]


def _by_nuclear_norm(one: np.ndarray, other: np.ndarray) -> float:
    """Of the same features, without covariances: QR first, so that the product stays small."""
    centred = [x.astype(np.float64) - x.mean(axis=0, dtype=np.float64) for x in (one, other)]
    shift = one.mean(axis=0, dtype=np.float64) - other.mean(axis=0, dtype=np.float64)
    n, m = len(one) - 1, len(other) - 1
    r1, r2 = (np.linalg.qr(x, mode="r") for x in centred)
    cross = np.linalg.svd(r1 @ r2.T, compute_uv=False).sum() / np.sqrt(n * m)
    return float(np.sum(shift**2) + np.sum(centred[0] ** 2) / n + np.sum(centred[1] ** 2) / m - 2 * cross)


def _memory_claim() -> Claim:
    """Of this process, which held the network and the moments."""
    peak = process_peak_memory() / 2**20
    return Claim("peak_memory_mib", peak, "MiB", 4096, "<=", "resident, of this process")


def main() -> int:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout, nothing else")
    parser.add_argument("--quick", action="store_true", help="fewer and smaller")
    parser.add_argument("--peer_python", type=Path, help="a Python with torch, torch-fidelity and pytorch-fid")
    arguments = parser.parse_args()
    began = time.monotonic()
    claims: list[Claim] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.peer_python is not None:
            quick = arguments.quick
            with peer_of(arguments.peer_python, "fid_peer.py") as peer:
                claims += feature_claims(peer, folder, count=8 if quick else 64, rounds=1 if quick else 5)
                size = {"count": 600, "dim": 256} if quick else {"count": 10_000, "dim": 2048}
                claims += statistics_claims(peer, folder, **size, rounds=1 if quick else 3)
        claims += run_claims(folder, count=240 if arguments.quick else 50_000, quick=arguments.quick)
        claims.append(_memory_claim())
    return emit("fid", claims, began, as_json=arguments.json)


if __name__ == "__main__":
    sys.exit(main())
