"""Does a folder of diffusers, once converted, compute what diffusers computes? Random models with few channels.

    python -m venv peer && peer/bin/pip install torch==2.13.0 diffusers transformers accelerate
    python benchmarks/stable_diffusion.py --peer_python=peer/bin/python [--json] [--quick]

Of both versions, with eps and v: each network alone, then DDIM, and of eps PLMS, from the same latents with guidance of
7.5, in float32. diffusers has `steps_offset=1` and `set_alpha_to_one=False`, as the published schedulers say.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from peer import Peer, peer_of

from report import Claim, emit
from score_jax import builder
from score_jax.builder.workdirs import load_config
from score_jax.jobs.convert import convert
from score_jax.jobs.train import restore_params
from score_jax.runtime.sharding import make_mesh

MODELS = ((1, "epsilon"), (1, "v_prediction"), (2, "epsilon"), (2, "v_prediction"))
SAMPLERS = {"epsilon": ("ddim", "plms"), "v_prediction": ("ddim",)}
"""diffusers' PNDM extrapolates what the network outputs, which of v is another method than that of eps here."""
SCALE = 7.5
LIMIT = 1e-4


def inputs(seed: int) -> dict[str, np.ndarray]:
    """Texts, latents, their levels, and images, of two examples."""
    rng = np.random.default_rng(seed)
    return {
        "tokens": rng.integers(0, 1000, (2, 77)).astype(np.int32),
        "negative_tokens": rng.integers(0, 1000, (2, 77)).astype(np.int32),
        "latents": rng.standard_normal((2, 8, 8, 4), np.float32),
        "levels": np.array([17, 801], np.int32),
        "images": rng.uniform(-1, 1, (2, 64, 64, 3)).astype(np.float32),
    }


def outputs(workdir: Path, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Of each network of a converted model."""
    experiment = builder.experiment(load_config(workdir))
    params, _ = restore_params(experiment.config, experiment, workdir, make_mesh())
    codec = experiment.codec_with(params)

    def all_of_them(params, given):
        own, frozen = experiment.trained(params), {name: params["frozen"][name] for name in experiment.frozen}
        conditions = experiment.network.encode(own, frozen, {"tokens": given["tokens"]})
        return {
            "context": conditions["context"],
            "unet": experiment.network.apply(own, given["latents"], given["levels"], **conditions),
            "moments": codec.first_stage.encode(frozen["first_stage"], given["images"]),
            "decoded": codec.first_stage.decode(frozen["first_stage"], given["latents"]),
        }

    return jax.tree.map(np.asarray, jax.jit(all_of_them)(params, given))


def samples(workdir: Path, given: dict[str, np.ndarray], sampler: str, steps: int) -> np.ndarray:
    """Latents of a converted model, from given ones."""
    config = load_config(workdir)
    config.sampler.update(name=sampler, num_steps=steps, discretisation="latent_diffusion")
    config.guidance.scale = SCALE
    experiment = builder.experiment(config)
    params, _ = restore_params(experiment.config, experiment, workdir, make_mesh())
    sampling = experiment.sampling()

    def draw(params, given):
        conditions = experiment.conditions(params, given, guided=True)
        drawn = sampling.draw(
            sampling.see(experiment.predictor(params, guided=True)),
            key=jax.random.key(0),
            indices=jnp.arange(2),
            shape=(8, 8, 4),
            initial=given["latents"],
            conditions={"model": conditions},
        )
        return drawn.x

    return np.asarray(jax.jit(draw)(params, given))


def apart(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The largest difference, relative to the largest value."""
    assert ours.shape == theirs.shape, (ours.shape, theirs.shape)
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def claims_of(peer: Peer, folder: Path, version: int, prediction: str, steps: int) -> list[Claim]:
    """Of one model."""
    name, source = f"v{version}_{prediction}", folder / f"v{version}_{prediction}"
    versions = peer.ask("make", version=version, prediction=prediction, folder=str(source), seed=version)["versions"]
    how = ", ".join(f"{package} {number}" for package, number in versions.items())
    convert(None, "diffusers", source, folder / f"{name}_converted")
    given, found = inputs(version), folder / "found.npz"
    np.savez(folder / "given.npz", **given)
    peer.ask("outputs", given=str(folder / "given.npz"), out=str(found))
    theirs, ours = dict(np.load(found)), outputs(folder / f"{name}_converted", given)
    claims = [
        Claim(f"{name}_{part}", apart(ours[part], theirs[part]), "of the largest", LIMIT, "<=", how) for part in theirs
    ]
    for sampler in SAMPLERS[prediction]:
        request = {"scheduler": sampler, "steps": steps, "scale": SCALE}
        peer.ask("sample", given=str(folder / "given.npz"), out=str(found), **request)
        ours_drawn = samples(folder / f"{name}_converted", given, sampler, steps)
        difference = apart(ours_drawn, np.load(found)["latents"])
        what = f"{steps} steps of {sampler}, guidance {SCALE}"
        claims.append(Claim(f"{name}_{sampler}", difference, "of the largest", LIMIT, "<=", what))
    return claims


def main() -> int:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout, nothing else")
    parser.add_argument("--quick", action="store_true", help="one model of each version, fewer steps")
    parser.add_argument("--peer_python", type=Path, required=True, help="a Python with diffusers and transformers")
    arguments = parser.parse_args()
    began, claims = time.monotonic(), []
    with tempfile.TemporaryDirectory() as name, peer_of(arguments.peer_python, "stable_diffusion_peer.py") as peer:
        for version, prediction in MODELS[:: 3 if arguments.quick else 1]:
            steps = 10 if arguments.quick else 50
            claims += claims_of(peer, Path(name), version, prediction, steps)
    return emit("stable_diffusion", claims, began, as_json=arguments.json)


if __name__ == "__main__":
    sys.exit(main())
