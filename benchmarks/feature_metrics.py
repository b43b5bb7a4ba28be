"""Are VGG16's features, precision and recall, authenticity, C_T, CMMD and MIND those of the evaluators?

    git clone https://github.com/toshas/torch-fidelity
    git clone https://github.com/layer6ai-labs/dgm-eval
    git clone https://github.com/sayakpaul/cmmd-pytorch
    python -m venv peer && peer/bin/pip install torch==2.13.0 torchvision transformers scikit-learn tqdm
    peer/bin/pip install --no-deps ./torch-fidelity
    python benchmarks/feature_metrics.py --peer_python=peer/bin/python --dgm_eval=dgm-eval --cmmd=cmmd-pytorch \\
        [--json] [--write=FOLDER]

Networks have random weights, written by each code and read here as published files are. --write makes the parity files
anew.
"""

import argparse
import contextlib
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import parity_file
from peer import Peer, peer_of
from PIL import Image

from report import Claim, emit
from score_jax.convert.clip import find_clip
from score_jax.convert.readers import read_tensors
from score_jax.convert.vgg16 import load_vgg16
from score_jax.evaluation.clip import clip_extractor
from score_jax.evaluation.features import FeatureExtractor
from score_jax.evaluation.kernel_distance import cmmd
from score_jax.evaluation.manifold import manifold
from score_jax.evaluation.memorisation import authenticity, data_copying
from score_jax.evaluation.protocols import PROTOCOLS
from score_jax.evaluation.sliced_wasserstein import mind, squared_distances_along
from score_jax.evaluation.vgg16 import VGG16Weights, vgg16_extractor
from score_jax.jobs.compare import compare, open_side

LIMIT = 1e-5
SIDES = (32, 64, 224, 300)
TINY = {"widths": [3, 4, 4, 4, 5, 5, 6, 6, 6, 7, 6, 6, 7], "hidden": 9}
TORCH_FIDELITY = {"repo": "toshas/torch-fidelity", "commit": "5e211a9"}


def apart(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The largest difference, relative to the largest value."""
    assert ours.shape == theirs.shape, (ours.shape, theirs.shape)
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def bytes_of(sides: tuple[int, ...], seed: int) -> dict[str, np.ndarray]:
    """Images (side, side, 3) by their side: noise at two scales."""
    rng = np.random.default_rng(seed)
    found = {}
    for side in sides:
        coarse = np.kron(rng.normal(size=(side // 4, side // 4, 3)), np.ones((4, 4, 1)))
        image = 128 + 50 * coarse + 20 * rng.normal(size=(side, side, 3))
        found[str(side)] = np.clip(image, 0, 255).astype(np.uint8)
    return found


def features(extractor: FeatureExtractor, images: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """From bytes, each image by itself, in full float32."""
    apply = jax.jit(lambda params, x: extractor.apply(params, extractor.prepare(x))["features"][0])
    with jax.default_matmul_precision("highest"):
        return {name: np.asarray(apply(extractor.params, image[None])) for name, image in images.items()}


def vgg_claims(peer: Peer, folder: Path, written: Path | None) -> list[Claim]:
    """The whole published network, from bytes; a tiny one for the parity file."""
    given, found = folder / "images.npz", folder / "found.npz"
    images = bytes_of(SIDES, 0)
    np.savez(given, **images)
    versions = peer.ask("make_vgg16", seed=0, out=str(folder / "vgg16.pth"))
    peer.ask("vgg16", images=str(given), out=str(found))
    weights = load_vgg16(folder / "vgg16.pth", allow_other=True)
    ours, theirs = features(vgg16_extractor(weights, PROTOCOLS["torch_fidelity_prc"]), images), dict(np.load(found))
    worst = max(apart(ours[name], theirs[name]) for name in theirs)
    how = f"fc2_relu of images of {SIDES}, from bytes; torchvision {versions['torchvision']}, torch-fidelity's main"
    claims = [Claim("vgg_features", worst, "of the largest", LIMIT, "<=", how)]
    claims += _whole_claims(peer, folder, weights)
    if written is not None:
        _write_vgg(peer, folder, written / "features.npz")
    return claims


def _whole_claims(peer: Peer, folder: Path, weights: VGG16Weights) -> list[Claim]:
    """From two folders of images to the rates, by the whole of both codes."""
    for seed, name in enumerate(("generated", "real")):
        rng = np.random.default_rng(seed)
        (folder / name).mkdir()
        for i in range(60):  # of one brightness and colour each, of which the generated ones have less
            mean, noise = rng.normal(size=(1, 1, 3)), rng.normal(size=(32, 32, 3))
            image = 128 + (35 + 15 * seed) * mean + 4 * noise
            Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)).save(folder / name / f"{i:02d}.png")
    words = [str(folder / name) for name in ("generated", "real")]
    theirs = peer.ask("whole", generated=words[0], real=words[1])
    protocol = PROTOCOLS["torch_fidelity_prc"]
    extractor = vgg16_extractor(weights, protocol)
    with contextlib.redirect_stdout(sys.stderr):  # a folder says what was taken of it
        found = compare(*(open_side(word, protocol, extractor) for word in words), protocol, extractor, batch_size=20)
    assert found is not None
    how = "of 60 and 60 files: {:.6f} here, {:.6f} by torch-fidelity"
    claims = []
    for name in ("precision", "recall", "f_score"):
        values = found[0][name], theirs[name]
        claims.append(Claim(f"vgg_whole_{name}", abs(values[0] - values[1]), "", LIMIT, "<=", how.format(*values)))
    return claims


def _write_vgg(peer: Peer, folder: Path, path: Path) -> None:
    images, weights = bytes_of((24,), 1), folder / "tiny.pth"
    np.savez(folder / "images.npz", **images)
    versions = peer.ask("make_vgg16", seed=1, out=str(weights), **TINY)
    arrays: dict[str, Any] = {f"params/{name}": tensor for name, tensor in read_tensors(weights, "").items()}
    arrays |= {f"in/{name}": image for name, image in images.items()}
    for kind, double in (("out", False), ("out64", True)):
        peer.ask("vgg16", images=str(folder / "images.npz"), out=str(folder / "found.npz"), double=double)
        arrays |= {f"{kind}/{name}": value for name, value in np.load(folder / "found.npz").items()}
    how = "in: bytes (h, w, c) by their names; out: fc2_relu of each"
    parity_file.save(
        path, "vgg16", "features", arrays, source=TORCH_FIDELITY, config={}, how=how, limit=LIMIT, versions=versions
    )


def sets_of(folder: Path, counts: tuple[int, int], dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Two sets of features in float32 after a ReLU, of laws that differ, also as `sets.npz`."""
    rng = np.random.default_rng(3)
    one, other = (rng.normal(size=(count, dim)).astype(np.float32) for count in counts)
    generated, real = np.maximum(one * 0.9 + 0.3, 0), np.maximum(other, 0)
    np.savez(folder / "sets.npz", generated=generated, real=real)
    return generated, real


def manifold_claims(peer: Peer, folder: Path) -> list[Claim]:
    """Rates of the same features."""
    generated, real = sets_of(folder, (700, 900), 64)
    ours, theirs = manifold(generated=generated, real=real, k=3), peer.ask("prc", sets=str(folder / "sets.npz"))
    how = f"{{}} of {generated.shape} and {real.shape} features: {{:.4f}} here, {{:.4f}} by torch-fidelity"
    claims = []
    for name in ("precision", "recall", "f_score"):
        values = getattr(ours, name), theirs[name]
        claims.append(Claim(f"vgg_{name}", abs(values[0] - values[1]), "", LIMIT, "<=", how.format(name, *values)))
    return claims


def mind_claims(peer: Peer, folder: Path) -> list[Claim]:
    """The same directions, which the peer draws; and directions of our own."""
    generated, real = sets_of(folder, (800, 800), 64)
    drawn = folder / "directions.npy"
    theirs = peer.ask("mind", sets=str(folder / "sets.npz"), out=str(drawn), directions=1000)["mind"]
    along = squared_distances_along(np.load(drawn), generated=generated, real=real)
    value = 3 * 64 * float(along.mean())
    how = f"{value:.6f} here along its directions, {theirs:.6f} by torch-fidelity's main"
    claims = [Claim("mind_same_directions", abs(value / theirs - 1), "", LIMIT, "<=", how)]
    own = mind(generated=generated, real=real)
    how = f"{own.value:.4f} +- {own.standard_error:.4f} along 1000 others"
    away = abs(own.value - theirs) / (2**0.5 * own.standard_error)
    return [*claims, Claim("mind_own_directions", away, "standard errors", 3.0, "<=", how)]


def mixture(seed: int, count: int) -> np.ndarray:
    """Features (count, 100) of three distant Gaussians, in float64, so that no rounding changes an order."""
    rng = np.random.default_rng(seed)
    return 15 * np.eye(100)[rng.integers(0, 3, count)] + rng.normal(size=(count, 100))


def memorisation_claims(peer: Peer, folder: Path) -> list[Claim]:
    """Of fresh samples, and of samples near training data."""
    training, held_out = mixture(0, 1200), mixture(1, 500)
    near = training[:600] + 0.5 * np.random.default_rng(3).normal(size=(600, 100))
    claims = []
    for name, generated in {"fresh": mixture(2, 600), "copies": near}.items():
        np.savez(folder / "three.npz", training=training, held_out=held_out, generated=generated)
        theirs = peer.ask("memorisation", sets=str(folder / "three.npz"))
        share = authenticity(generated=generated, training=training)
        test = data_copying(generated=generated, held_out=held_out, training=training)
        for what, ours in (("authenticity", share), ("c_t", test.value)):
            how = f"{ours:.6f} here, {theirs[what]:.6f} by dgm-eval, of 600 samples with 1200 training images"
            difference = abs(ours - theirs[what]) / max(1.0, abs(theirs[what]))
            claims.append(Claim(f"{what}_{name}", difference, "", LIMIT, "<=", how))
    return claims


def cmmd_claims(peer: Peer, folder: Path) -> list[Claim]:
    """ViT-L/14 at 336 pixels, beside a small tower of texts, from files of images; the distance of embeddings."""
    peer.ask("make_clip", seed=0, out=str(folder / "clip"))
    weights = find_clip(folder / "clip" / "model.safetensors")
    extractor = clip_extractor(weights, PROTOCOLS["cmmd"])
    rng, images = np.random.default_rng(5), bytes_of((64, 256, 336, 400), 6)
    images |= {"wide": rng.integers(0, 256, (300, 451, 3), np.uint8), "tall": images["400"][:, 40:303]}
    for name, image in images.items():
        Image.fromarray(image).save(folder / f"{name}.png")
    peer.ask("clip", images={name: str(folder / f"{name}.png") for name in images}, out=str(folder / "found.npz"))
    theirs, ours = dict(np.load(folder / "found.npz")), features(extractor, images)
    worst = max(apart(ours[name], theirs[name]) for name in theirs)
    how = f"embeddings of files of {', '.join(images)}"
    claims = [Claim("cmmd_features", worst, "of the largest", LIMIT, "<=", how)]
    generated, real = (rng.normal(size=(count, 768)) + 1.2 * i for i, count in enumerate((900, 1100)))
    generated, real = ((rows / np.linalg.norm(rows, axis=1)[:, None]).astype(np.float32) for rows in (generated, real))
    np.savez(folder / "sets.npz", generated=generated, real=real)
    value, found = cmmd(generated=generated, real=real), peer.ask("cmmd", sets=str(folder / "sets.npz"))
    how = "{:.6f} here, {:.6f} by cmmd-pytorch in {}, of 900 and 1100 embeddings"
    for precision, limit in (("float64", LIMIT), ("float32", 1e-3)):
        other = found[precision]
        claim = (f"cmmd_{precision}", abs(value / other - 1), "", limit, "<=", how.format(value, other, precision))
        claims.append(Claim(*claim))
    return claims


def main() -> int:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout, nothing else")
    parser.add_argument("--peer_python", type=Path, required=True, help="a Python with torch-fidelity's main")
    parser.add_argument("--dgm_eval", type=Path, required=True, help="a clone of layer6ai-labs/dgm-eval")
    parser.add_argument("--cmmd", type=Path, required=True, help="a clone of sayakpaul/cmmd-pytorch")
    parser.add_argument("--write", type=Path, help="a folder for the parity files")
    arguments = parser.parse_args()
    began = time.monotonic()
    if arguments.write is not None:
        arguments.write.mkdir(parents=True, exist_ok=True)
    script = ("feature_metrics_peer.py", *(str(path.resolve()) for path in (arguments.dgm_eval, arguments.cmmd)))
    with tempfile.TemporaryDirectory() as name, peer_of(arguments.peer_python, *script) as peer:
        folder = Path(name)
        claims = manifold_claims(peer, folder) + mind_claims(peer, folder) + memorisation_claims(peer, folder)
        claims += vgg_claims(peer, folder, arguments.write)
        claims += cmmd_claims(peer, folder)
    return emit("feature_metrics", claims, began, as_json=arguments.json)


if __name__ == "__main__":
    sys.exit(main())
