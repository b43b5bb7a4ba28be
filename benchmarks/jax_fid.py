"""Is `jax_fid` what MeanFlow's repositories measure? Beside the evaluator of Lyy-iiis/imeanflow, on random weights.

git clone https://github.com/Lyy-iiis/imeanflow
python -m venv peer && peer/bin/pip install torch==2.13.0 jax==0.10.1 jaxlib==0.10.1 flax tqdm requests absl-py scipy
python benchmarks/jax_fid.py --peer_python=peer/bin/python --clone=imeanflow [--json]
"""

import argparse
import functools
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict
from peer import Peer, peer_of
from safetensors.numpy import save_file

import score_jax as sj
from report import Claim, emit
from score_jax.codecs.pixels import Pixels
from score_jax.convert.inception import params_of, random_state
from score_jax.evaluation import feature_set, metrics
from score_jax.evaluation.inception import InceptionWeights, inception_extractor
from score_jax.evaluation.protocols import PROTOCOLS
from score_jax.jobs.feature_sets import array_features
from score_jax.runtime.sharding import make_mesh

COUNT, SIDE, SAMPLES = 40, 64, 24
PROTOCOL = PROTOCOLS["jax_fid"]


def pictures(seed: int) -> np.ndarray:
    """Bytes (COUNT, SIDE, SIDE, 3): noise at several scales, so that sets differ in more than their pixels."""
    rng = np.random.default_rng(seed)
    waves = sum(np.kron(rng.normal(size=(COUNT, n, n, 3)), np.ones((1, SIDE // n, SIDE // n, 1))) for n in (4, 16, 64))
    return np.clip(128 + (30 + 5 * seed) * waves, 0, 255).astype(np.uint8)


def claims_of(peer: Peer, folder: Path) -> list[Claim]:
    """All claims."""
    state = random_state(0)
    np.savez(folder / "weights.npz", **state)
    versions = peer.ask("load", weights=str(folder / "weights.npz"))
    weights = InceptionWeights(jax.tree.map(jnp.asarray, params_of(state)), "random", published=False)
    extractor, mesh = inception_extractor(weights, PROTOCOL), make_mesh()
    sets, scores = [], []
    for i in range(2):
        np.save(folder / f"{i}.npy", pictures(i))
        scores.append(peer.ask("stats", images=str(folder / f"{i}.npy"), out=str(folder / f"{i}.npz")))
        sets.append(array_features(pictures(i), mesh, extractor, batch_size=8))
    values = metrics.measure(PROTOCOL, generated=sets[0], real=sets[1], name="", logits=extractor.logits)
    fid, theirs = values[f"fid{COUNT}"], peer.ask("distance", first=str(folder / "0.npz"), second=str(folder / "1.npz"))
    moments, found = np.load(folder / "0.npz"), sets[0].moments["features"]
    reference = {"ref_mu": moments["mu"], "ref_sigma": moments["sigma"]}
    np.savez(folder / "reference.npz", **reference)
    read = feature_set.load(folder / "reference.npz").moments["features"]
    samples = np.random.default_rng(3).uniform(-1.1, 1.1, (4, 3, 64, 64)).astype(np.float32)
    np.save(folder / "samples.npy", samples)
    peer.ask("to_bytes", samples=str(folder / "samples.npy"), out=str(folder / "bytes.npy"))
    ours = Pixels(-1.0, 1.0).decode(jnp.asarray(samples.transpose(0, 2, 3, 1)), PROTOCOL.rounding)
    levels = np.abs(np.asarray(ours, int) - np.load(folder / "bytes.npy"))
    how = f"{COUNT} images of {SIDE} x {SIDE}; jax {versions['jax']} there"
    score = abs(values["inception_score"] / scores[0]["inception_score"] - 1)
    spread = abs(values["inception_score_spread"] / scores[0]["spread"] - 1)
    mean = float(np.abs(found.mean - moments["mu"]).max() / np.abs(moments["mu"]).max())
    covariance = float(np.abs(found.covariance - moments["sigma"]).max() / np.abs(moments["sigma"]).max())
    kept = float(np.abs(read.mean - moments["mu"]).max() + np.abs(read.covariance - moments["sigma"]).max())
    return [
        Claim("mean", mean, "of the largest", 1e-5, "<=", f"of pool3 of {how}"),
        Claim("covariance", covariance, "of the largest", 1e-5, "<=", "of the same"),
        Claim("fid", abs(fid / theirs["fid"] - 1), "", 1e-5, "<=", f"{fid:.6g} here, {theirs['fid']:.6g} there"),
        Claim("inception_score", score, "", 1e-6, "<=", f"{values['inception_score']:.6g} here"),
        Claim("inception_score_spread", spread, "", 1e-4, "<=", f"{values['inception_score_spread']:.4g} here"),
        Claim("bytes", float((levels > 0).mean()), "of the pixels", 1e-4, "<=", f"differ, by {levels.max()} at most"),
        Claim("statistics_file", kept, "", 1e-12, "<=", "ref_mu and ref_sigma, as they are read"),
    ]


def sampler_claim(peer: Peer, clone: str, folder: Path) -> Claim:
    """iMeanFlow's own sampler at random weights (B/2, one evaluation), measured by us and by its own evaluator.

    Its autoencoder is not at hand: three of the four channels of its latents stand for an image.
    """
    sys.path.insert(0, clone)
    from imf import generate, iMeanFlow  # the clone's

    model, config = iMeanFlow("imfDiT_B_2", eval=True), ConfigDict()
    config.dataset = {"num_classes": 1000, "image_size": 32, "image_channels": 4}
    x, ones = jnp.zeros((1, 32, 32, 4)), jnp.ones(1)
    start = (x, jnp.zeros(1, int), 0, jnp.array([1.0, 0.0]), ones, ones, ones)
    variables = jax.jit(functools.partial(model.init, method=model.sample_one_step))(jax.random.key(0), *start)
    guided = (1.0, 0.0, 1.0)

    # What a user of that repository writes:
    def draw(key, indices, labels):
        def one(i):
            return generate(variables, model, jax.random.fold_in(key, i), 1, config, 1, *guided, sample_idx=i)[0]

        return jnp.clip(127.5 * jax.lax.map(one, indices)[..., :3] + 128, 0, 255).astype(jnp.uint8)

    save_file(random_state(0), folder / "inception.safetensors")
    moments = np.load(folder / "1.npz")
    np.savez(folder / "reference.npz", ref_mu=moments["mu"], ref_sigma=moments["sigma"])
    how: dict[str, Any] = dict(weights={"inception": folder / "inception.safetensors"}, allow_other_weights=True)
    how |= dict(protocol="jax_fid", num_samples=SAMPLES, batch_size=8, workdir=folder / "sampler", save_samples=True)
    found = sj.evaluate(jax.jit(draw), reference=str(folder / "reference.npz"), **how)[f"fid{SAMPLES}"]
    with np.load(folder / "sampler" / "evaluation_jax_fid_samples" / "samples_00000.npz") as samples:
        np.save(folder / "drawn.npy", samples["arr_0"])
    peer.ask("stats", images=str(folder / "drawn.npy"), out=str(folder / "drawn.npz"))
    theirs = peer.ask("distance", first=str(folder / "drawn.npz"), second=str(folder / "1.npz"))["fid"]
    what = f"{SAMPLES} samples of iMeanFlow-B/2 at random weights: {found:.6g} here, {theirs:.6g} by its own evaluator"
    return Claim("sampler_fid", abs(found / theirs - 1), "", 1e-5, "<=", what)


def main() -> int:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout, nothing else")
    parser.add_argument("--peer_python", type=Path, required=True, help="a Python with torch, jax and flax")
    parser.add_argument("--clone", type=Path, required=True, help="a clone of Lyy-iiis/imeanflow")
    arguments = parser.parse_args()
    began = time.monotonic()
    clone = str(arguments.clone.resolve())
    with tempfile.TemporaryDirectory() as name, peer_of(arguments.peer_python, "jax_fid_peer.py", clone) as peer:
        claims = [*claims_of(peer, Path(name)), sampler_claim(peer, clone, Path(name))]
    return emit("jax_fid", claims, began, as_json=arguments.json)


if __name__ == "__main__":
    sys.exit(main())
