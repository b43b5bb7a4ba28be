"""Are DINOv2's features those of facebookresearch and transformers, and its images those of edm2 and dgm-eval?

    python -m venv peer && peer/bin/pip install torch==2.13.0 transformers pillow
    peer/bin/pip install --no-deps dinov2==0.0.1.dev2
    python benchmarks/fd_dinov2.py --peer_python=peer/bin/python [--json] [--write=FOLDER]

Random weights, written by each code and read here as published files are. Position embeddings are of 518 x 518 and
images of 224 x 224, as the evaluators have them, and of other sizes. --write makes the parity files anew.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import parity_file
from peer import Peer, peer_of

from report import Claim, emit
from score_jax.convert.diffusers import part_tensors
from score_jax.convert.dinov2 import dinov2_of, load_dinov2
from score_jax.convert.readers import read_tensors
from score_jax.evaluation.dinov2 import DINOv2Weights, at_size, dinov2_extractor, input_rule
from score_jax.evaluation.input_rule import prepared
from score_jax.evaluation.protocols import PROTOCOLS
from score_jax.models.scorers.dinov2 import ARCHITECTURES, architecture_of, dinov2, parameter_shapes

TINY = {"image_size": 70, "width": 16, "layers": 2, "heads": 2}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "hub": ("hub", TINY),
    "hub_swiglu": ("hub", {**TINY, "swiglu": True}),
    "transformers": ("transformers", TINY),
    "transformers_swiglu": ("transformers", {**TINY, "swiglu": True}),
    "transformers_registers": ("transformers", {**TINY, "registers": 4}),
    "transformers_registers_swiglu": ("transformers", {**TINY, "registers": 4, "swiglu": True}),
}
WRITTEN = ("hub", "hub_swiglu", "transformers", "transformers_registers")
"""Of them, those with a parity file."""
SIZES = (42, 70, 98)
"""A smaller grid than that of the position embeddings, the same, and a larger one."""
LIMIT = 1e-5
SOURCES = {
    "hub": {"repo": "facebookresearch/dinov2", "commit": "PyPI dinov2 0.0.1.dev2"},
    "transformers": {"repo": "huggingface/transformers", "commit": "PyPI transformers"},
}


def apart(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The largest difference, relative to the largest value."""
    assert ours.shape == theirs.shape, (ours.shape, theirs.shape)
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def images_of(sizes: tuple[int, ...], seed: int) -> dict[str, np.ndarray]:
    """Noise by its size, channels first, of few levels, so that files of it are small."""
    rng = np.random.default_rng(seed)
    return {str(size): rng.integers(-8, 9, (1, 3, size, size)).astype(np.float32) / 4 for size in sizes}


def outputs(weights: DINOv2Weights, images: dict[str, np.ndarray], code: Any) -> dict[str, np.ndarray]:
    """Tokens and features under the peer's names."""
    found = {}
    for name, image in images.items():
        sized = at_size(weights, image.shape[-1], code)
        seen = jnp.asarray(image.transpose(0, 2, 3, 1))
        run = jax.jit(lambda params, x, module=sized.module: module.apply({"params": params}, x, method="tokens"))
        found[f"tokens_{name}"] = np.asarray(run(sized.params, seen))
        found[f"features_{name}"] = found[f"tokens_{name}"][:, 0]
    return found


def source(folder: Path, name: str, code: str) -> Path:
    """Where a model's weights are: a file of the hub, a folder of transformers."""
    return folder / (f"{name}.pth" if code == "hub" else name)


def loaded(path: Path, heads: int) -> DINOv2Weights:
    """The hub's files do not say the heads, of which the tiny models have narrower ones than all published."""
    weights = load_dinov2(path) if path.is_dir() else dinov2_of(read_tensors(path, ""), heads=heads)
    assert weights.module.heads == heads
    return weights


def network_claims(peer: Peer, folder: Path, written: Path | None) -> list[Claim]:
    """Of the tiny models, and of what resizing position embeddings otherwise would change."""
    claims, given, found = [], folder / "images.npz", folder / "found.npz"
    np.savez(given, **images_of(SIZES, 0))
    images = dict(np.load(given))
    for seed, (name, (code, options)) in enumerate(MODELS.items()):
        path = source(folder, name, code)
        versions = peer.ask("make", code=code, options=options, seed=seed, out=str(path))
        weights = loaded(path, options["heads"])
        peer.ask("outputs", images=str(given), out=str(found))
        theirs, ours = dict(np.load(found)), outputs(weights, images, code)
        how = f"tokens of {SIZES}; {code} {versions['dinov2' if code == 'hub' else code]}, torch {versions['torch']}"
        worst = max(apart(ours[key], theirs[key]) for key in theirs)
        claims.append(Claim(name, worst, "of the largest", LIMIT, "<=", how))
        if written is not None and name in WRITTEN:
            peer.ask("outputs", images=str(given), out=str(folder / "double.npz"), double=True)
            _write(written / f"{name}.npz", name, path, images, theirs, dict(np.load(folder / "double.npz")), versions)
    return claims


def _write(
    path: Path,
    name: str,
    weights: Path,
    images: dict[str, np.ndarray],
    single: dict[str, np.ndarray],
    double: dict[str, np.ndarray],
    versions: dict[str, str],
) -> None:
    """A parity file, see tests/parity/files/README.md."""
    code, options = MODELS[name]
    state = part_tensors(weights) if weights.is_dir() else read_tensors(weights, "")
    arrays: dict[str, Any] = {f"params/{key}": tensor for key, tensor in state.items()}
    arrays |= {f"in/{key}": image for key, image in images.items()}
    arrays |= {f"out/{key}": tensor for key, tensor in single.items()}
    arrays |= {f"out64/{key}": tensor for key, tensor in double.items()}
    _save(path, f"network_{name}", SOURCES[code], {"code": code, "heads": options["heads"]}, arrays, versions)


def _save(
    path: Path, case: str, origin: dict[str, str], config: dict[str, Any], arrays: dict[str, Any], versions: Any
) -> None:
    how = "out64: position embeddings are resized in float64 too, which both codes do in float32 always"
    parity_file.save(
        path, "dinov2", case, arrays, source=origin, config=config, how=how, limit=LIMIT, versions=versions
    )


def input_claims(peer: Peer, folder: Path, written: Path | None) -> list[Claim]:
    """What the protocols' networks see of images of bytes."""
    rng = np.random.default_rng(1)
    images = {str(n): rng.integers(0, 256, (n, n, 3), dtype=np.uint8) for n in (32, 64, 256, 300, 512)}
    np.savez(folder / "bytes.npz", **images)
    peer.ask("inputs", images=str(folder / "bytes.npz"), out=str(folder / "inputs.npz"), double=True)
    theirs = dict(np.load(folder / "inputs.npz"))
    claims = []
    for way, protocol in (("edm2", "edm2_dinov2"), ("dgm_eval", "dgm_eval")):
        rule = input_rule(PROTOCOLS[protocol])
        seen = {n: np.asarray(jax.jit(lambda x, r=rule: prepared(x, r))(x[None])[0]) for n, x in images.items()}
        worst = max(apart(seen[n], theirs[f"{way}_{n}"]) for n in images)
        claims.append(Claim(f"input_{protocol}", worst, "of the largest", LIMIT, "<=", f"sides of {', '.join(images)}"))
    if written is not None:
        small = {str(n): images["64"][:n, :n] for n in (20, 50)}
        np.savez(folder / "bytes.npz", **small)
        arrays: dict[str, Any] = {f"in/{n}": image for n, image in small.items()}
        for kind, double in (("out", False), ("out64", True)):
            request = {"images": str(folder / "bytes.npz"), "out": str(folder / "inputs.npz"), "size": 28}
            peer.ask("inputs", double=double, **request)
            arrays |= {f"{kind}/{name}": value for name, value in np.load(folder / "inputs.npz").items()}
        origin = {"repo": "pytorch/pytorch, python-pillow/Pillow", "commit": "PyPI torch 2.13.0, Pillow"}
        _save(written / "inputs.npz", "inputs", origin, {"size": 28}, arrays, None)
    return claims


def whole_claims(peer: Peer, folder: Path, name: str) -> list[Claim]:
    """A published network whole, of the hub's file, from bytes to features, beside the hub's code."""
    options = {"image_size": 518, **ARCHITECTURES[name]}
    peer.ask("make", code="hub", options=options, seed=9, out=str(folder / "whole.pth"))
    weights = load_dinov2(folder / "whole.pth")
    assert architecture_of(weights.module) == name
    image = np.random.default_rng(2).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    np.savez(folder / "bytes.npz", image=image)
    peer.ask("inputs", images=str(folder / "bytes.npz"), out=str(folder / "inputs.npz"))
    claims = []
    for way, protocol in (("edm2", "edm2_dinov2"), ("dgm_eval", "dgm_eval")):
        given = np.load(folder / "inputs.npz")[f"{way}_image"]
        np.savez(folder / "images.npz", image=given.transpose(2, 0, 1)[None])
        peer.ask("outputs", images=str(folder / "images.npz"), out=str(folder / "found.npz"))
        theirs = np.load(folder / "found.npz")["features_image"]
        extractor = dinov2_extractor(weights, PROTOCOLS[protocol])
        ours = jax.jit(lambda params, x, e=extractor: e.apply(params, e.prepare(x))["features"])
        found = np.asarray(ours(extractor.params, image[None]))
        how = f"{name}, 256 x 256 bytes to features"
        claims.append(Claim(f"{protocol}_{name}", apart(found, theirs), "of the largest", LIMIT, "<=", how))
    other = at_size(weights, 224, "transformers")
    moved = np.asarray(ours(other.params, image[None]))
    how = "the same features with position embeddings resized as transformers does"
    return [*claims, Claim(f"transformers_moves_{name}", apart(moved, theirs), "of the largest", LIMIT, ">=", how)]


def size_claims(peer: Peer) -> list[Claim]:
    """How many parameters the networks have."""
    claims = []
    for name, architecture in ARCHITECTURES.items():
        for registers in (0, 4):
            module = dinov2(name, registers=registers)
            count = sum(leaf.size for leaf in jax.tree.leaves(parameter_shapes(module)))
            expected = peer.ask("count", options={"image_size": 518, "registers": registers, **architecture})
            difference = float(abs(count - expected["parameters"]))
            title = f"parameters_{name}{'_reg' * (registers > 0)}"
            claims.append(Claim(title, difference, "", 0.0, "<=", f"{count:,} here and in transformers"))
    return claims


def main() -> int:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout, nothing else")
    parser.add_argument("--peer_python", type=Path, required=True, help="a Python with transformers and dinov2")
    parser.add_argument("--write", type=Path, help="a folder for the parity files")
    arguments = parser.parse_args()
    began = time.monotonic()
    if arguments.write is not None:
        arguments.write.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name, peer_of(arguments.peer_python, "fd_dinov2_peer.py") as peer:
        folder = Path(name)
        claims = network_claims(peer, folder, arguments.write)
        claims += input_claims(peer, folder, arguments.write)
        claims += size_claims(peer)
        with jax.default_matmul_precision("highest"):
            claims += [claim for name in ("vits14", "vitl14") for claim in whole_claims(peer, folder, name)]
    return emit("fd_dinov2", claims, began, as_json=arguments.json)


if __name__ == "__main__":
    sys.exit(main())
