"""Is a training step as fast in its loop as outside of any, and as fast as the original's?

    python benchmarks/train_step.py [--json] [--quick]

loop_ratio: the time of a step of `train`, with its loader, loop and log, over that of the jitted step alone;
loop_ratio_*: the same of all else that differentiates networks in a loop, see `in_loops.py`.

    python -m venv peer && peer/bin/pip install torch==2.13.0 ml_collections scipy tqdm
    git clone https://github.com/yang-song/score_sde_pytorch && git clone https://github.com/openai/guided-diffusion
    python benchmarks/train_step.py --peer_python=peer/bin/python \\
        --reference=score_sde_pytorch --reference=guided-diffusion [--models=ncsnpp_cifar10,adm64] [--json]

ratio_train_step_* and ratio_forward_*: in turns with clones of the original code, its median time over ours,
compilation apart. On both sides a step is loss, gradient, clipping, Adam and the average of the parameters.
difference_*: of the outputs under the same weights. mfu_*: model FLOP utilisation, on chips whose rate is known.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # the other side needs memory too
if os.environ.get("JAX_PLATFORMS", "cpu") == "cpu":
    os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=2")  # one fills 1.3 cores
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).resolve().parents[1] / ".cache" / "jax"))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # XLA repeats at each program what it thinks of the cached code

import jax
import numpy as np
from in_loops import QUICK, loop_claims
from peer import Peer, peer_of
from published import PUBLISHED, Ours, both_sides, load_original

from report import Claim, emit, ratio_claim, timed
from score_jax.planning.chips import peak_flops
from score_jax.runtime.host_memory import keep_freed_memory
from score_jax.training.throughput import TRAINING_PER_FORWARD

MODES = ("eager", "channels_last_bf16", "compile")


def _difference(name: str, ours: Ours, peer: Peer, folder: Path) -> Claim:
    peer.ask("forward", out=str(folder / "output.npy"))
    expected = np.load(folder / "output.npy").transpose(0, 2, 3, 1)
    found = np.asarray(ours.forward(), np.float32)
    difference = float(np.abs(found - expected).max() / np.abs(expected).max())
    return Claim(f"difference_{name}", difference, "of the largest", 1e-4, "<=", "outputs under the same weights")


def model_claims(
    name: str, peer: Peer, folder: Path, *, b: int, rounds: int, dtype: str, modes: list[str]
) -> list[Claim]:
    """Of one model, in turns with the original in each mode."""
    ours, how = both_sides(name, peer, folder, b, dtype)
    claims = [_difference(name, ours, peer, folder)] if dtype == "float32" else []
    for mode in modes:
        if mode != "eager":
            load_original(name, peer, folder, mode)
        suffix = "" if mode == "eager" else f"_{mode}"
        target = 1.5 if mode == "eager" and jax.default_backend() != "cpu" else 1.0
        for what, run, asked in (("train_step", ours.step, "step"), ("forward", ours.forward, "forward")):
            peer.ask(asked), run()
            pairs = [(timed(run)[0], peer.ask(asked)["seconds"]) for _ in range(rounds)]
            claims.append(ratio_claim(f"ratio_{what}_{name}{suffix}", pairs, target, f"{how}, {mode}"))
    return [*claims, *_utilisation(name, ours, b, rounds)]


def _utilisation(name: str, ours: Ours, b: int, rounds: int) -> list[Claim]:
    rate = peak_flops(jax.devices()[0].device_kind)
    if rate is None:
        return []
    seconds = float(np.median([timed(ours.step)[0] for _ in range(rounds)]))
    achieved = TRAINING_PER_FORWARD * ours.flops() * b / seconds / jax.device_count()
    how = f"batch of {b}: {achieved / 1e12:.0f} TFLOP/s of {rate / 1e12:.0f}, three forward passes a step"
    return [Claim(f"mfu_{name}", achieved / rate, "", 0.45, ">=", how)]


def peer_claims(folder: Path, options: argparse.Namespace) -> list[Claim]:
    """Of all models that are asked for, each beside a process of the original's."""
    claims = []
    for model in options.models.split(","):
        with peer_of(options.peer_python, "torch_originals.py", *options.reference) as peer:
            claims += model_claims(
                model,
                peer,
                folder,
                b=options.batch,
                rounds=options.rounds,
                dtype=options.dtype,
                modes=options.modes.split(","),
            )
    return claims


def main() -> int:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout, nothing else")
    parser.add_argument("--quick", action="store_true", help="the loops of training alone, in few rounds")
    parser.add_argument("--peer_python", type=Path, help="a Python with torch; without it, in loops and outside alone")
    parser.add_argument("--reference", action="append", default=[], help="a clone of the original code; repeat it")
    parser.add_argument("--models", default="ncsnpp_cifar10", help=f"of {', '.join(PUBLISHED)}")
    parser.add_argument("--modes", default="eager", help=f"of the original: {', '.join(MODES)}")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        if options.quick or options.peer_python is None:
            keep_freed_memory()  # as the command line does
            quick = {"rounds": 3, "names": QUICK}
            claims = loop_claims(Path(folder), **(quick if options.quick else {"rounds": 9}))
        else:
            claims = peer_claims(Path(folder), options)
    return emit("train_step", claims, began, as_json=options.json)


if __name__ == "__main__":
    sys.exit(main())
