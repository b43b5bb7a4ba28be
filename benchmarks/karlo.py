"""Does a folder of diffusers' UnCLIPPipeline, once converted, draw what diffusers draws? A random stack, few channels.

    python -m venv peer && peer/bin/pip install torch==2.13.0 diffusers transformers accelerate
    python benchmarks/karlo.py --peer_python=peer/bin/python [--json] [--quick]

From a prompt to images through prior, decoder and upsampler, with the same initial states and the same noise at every
step, in float32; diffusers' schedulers with their tables in float64, because those of float32 alone are off by 5e-4 at
the last step. Here stages hand on numbers as they are; `sample` hands on the decoder's images in 8 bits, and how far
that moves the upsampler's images is measured too.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from peer import peer_of
from safetensors.numpy import load_file

from report import Claim, emit
from score_jax import builder
from score_jax.builder.workdirs import load_config
from score_jax.data.text_tokenizers import text_tokenizer
from score_jax.jobs.convert import convert
from score_jax.jobs.convert_karlo import STAGES
from score_jax.jobs.train import restore_params
from score_jax.prediction.predictor import with_conditions
from score_jax.processes.noise import replay
from score_jax.runtime.sharding import make_mesh
from score_jax.samplers.chain import run_chain
from score_jax.samplers.sample import FixedSteps

SHAPES = {"prior": (1, 1, 64), "decoder": (16, 16, 3), "upsampler": (32, 32, 3)}
"""Of what each stage draws."""
STEPS, SCALES = {"prior": 25, "decoder": 25, "upsampler": 7}, (4.0, 8.0)
PROMPT, COUNT = "a small red circle on the left of a white background", 2
LIMIT = 1e-4


def inputs(seed: int, steps: dict[str, int]) -> dict[str, np.ndarray]:
    """Ids of the prompt and of no text, and of each stage the state that it begins with and its noise."""
    rng, tokenizer = np.random.default_rng(seed), text_tokenizer("clip", 77)
    assert tokenizer is not None
    found = {"prompt": tokenizer.encode(PROMPT), "empty": tokenizer.encode("")}
    for stage, shape in SHAPES.items():
        found[f"{stage}_start"] = rng.standard_normal((COUNT, *shape), np.float32)
        # The last step has no noise.
        found[f"{stage}_noise"] = rng.standard_normal((steps[stage] - 1, COUNT, *shape), np.float32)
    return found


def drawn(
    workdir: Path, stage: str, given: dict[str, np.ndarray], batch: dict[str, np.ndarray], steps: int
) -> np.ndarray:
    """x0 of one stage, from given states and noise, of a batch of conditions."""
    config = load_config(workdir / stage)
    config.sampler.respacing = str(steps)
    experiment = builder.experiment(config)
    params, _ = restore_params(experiment.config, experiment, workdir / stage, make_mesh())
    sampling = experiment.sampling()
    method = sampling.sampler.method
    assert isinstance(method, FixedSteps)

    def draw(params, start, noise, batch):
        conditions = experiment.conditions(params, batch, guided=True)
        model = sampling.see(experiment.predictor(params, guided=True))
        asked = with_conditions(model, {"model": conditions})
        noise = jnp.concatenate([noise, jnp.zeros_like(noise[:1])])
        return run_chain(method.step, asked, replay(noise, 1), start, method.grid).mean

    return np.asarray(jax.jit(draw)(params, given[f"{stage}_start"], given[f"{stage}_noise"], batch))


def embeddings(workdir: Path, x0: np.ndarray) -> np.ndarray:
    """What a prior's x0 stands for, in the CLIP's own units."""
    statistics = load_file(workdir / "prior" / "embedding_statistics" / "params.safetensors")
    return x0 * statistics["std"] + statistics["mean"]


def images(
    workdir: Path, given: dict[str, np.ndarray], steps: dict[str, int], *, eight_bits: bool
) -> dict[str, np.ndarray]:
    """x0 of each stage of the whole cascade; `eight_bits`: the decoder's images are rounded as a file has them."""
    tokens = {"tokens": np.stack([given["prompt"]] * COUNT)}
    prior = drawn(workdir, "prior", given, tokens, steps["prior"])
    shown = tokens | {"image_embedding": embeddings(workdir, prior)}
    decoder = drawn(workdir, "decoder", given, shown, steps["decoder"])
    levels = 127.5 * (np.clip(decoder, -1, 1) + 1)
    # A batch has images as levels, of which the codec makes numbers in [-1, 1].
    small = {"low_res": levels.astype(np.uint8) if eight_bits else levels}
    upsampler = drawn(workdir, "upsampler", given, small, steps["upsampler"])
    return {"prior": prior[:, 0, 0], "decoder": decoder, "upsampler": upsampler}


def largest(first: np.ndarray, second: np.ndarray) -> float:
    """The largest difference of two arrays of one shape."""
    assert first.shape == second.shape, (first.shape, second.shape)
    return float(np.abs(first - second).max())


def main() -> int:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout, nothing else")
    parser.add_argument("--quick", action="store_true", help="fewer steps")
    parser.add_argument("--peer_python", type=Path, required=True, help="a Python with diffusers and transformers")
    arguments = parser.parse_args()
    steps = {"prior": 5, "decoder": 5, "upsampler": 3} if arguments.quick else STEPS
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name, peer_of(arguments.peer_python, "karlo_peer.py") as peer:
        folder = Path(name)
        versions = peer.ask("make", folder=str(folder / "diffusers"), seed=0)["versions"]
        convert(None, "karlo", folder / "diffusers", folder / "converted")
        given = inputs(1, steps)
        np.savez(folder / "given.npz", **given)
        counts = [steps[stage] for stage in STAGES]
        peer.ask("draw", given=str(folder / "given.npz"), out=str(folder / "found.npz"), steps=counts, scales=SCALES)
        theirs = dict(np.load(folder / "found.npz"))
        ours = images(folder / "converted", given, steps, eight_bits=False)
        rounded = images(folder / "converted", given, steps, eight_bits=True)
    white = {name: (np.clip(found["upsampler"], -1, 1) + 1) / 2 for name, found in (("ours", ours), ("8", rounded))}
    how = ", ".join(f"{package} {number}" for package, number in versions.items())
    what = f"{' + '.join(map(str, counts))} steps, guidance {SCALES[0]:g} and {SCALES[1]:g}"
    claims = [
        Claim("prompt_to_image", largest(white["ours"], theirs["images"]), "of white", LIMIT, "<=", f"{what}; {how}"),
        *(Claim(f"x0_of_{s}", largest(ours[s], theirs[s]), "", 10 * LIMIT, "<=", "from the prompt on") for s in STAGES),
        Claim("spread_of_images", float(theirs["images"].std()), "of white", 0.05, ">=", "they are no blank images"),
        Claim("in_8_bits", float(np.abs(white["8"] - white["ours"]).mean()), "of white", 0.01, "<=", "mean move"),
    ]
    return emit("karlo", claims, began, as_json=arguments.json)


if __name__ == "__main__":
    sys.exit(main())
