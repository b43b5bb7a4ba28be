"""The runs of `latent.py`: commands of the product, each run once, and what their files say."""

import dataclasses
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict
from PIL import Image

from report import Estimate
from score_jax import builder
from score_jax.cli.config_files import config_of_file
from score_jax.data.captioned_checker import share_right
from score_jax.data.captioned_shapes import Jitter, Placed, draw
from score_jax.evaluation.image_errors import psnr
from score_jax.evaluation.image_grid import save_png
from score_jax.jobs.evaluate import load_images
from score_jax.jobs.likelihood_summary import headline
from score_jax.jobs.open_split import open_split
from score_jax.runtime.results import write_arrays, write_json

ROOT = Path(__file__).parents[1]
DIGIT_SCALES = (1.0, 2.0)
"""Of classifier-free guidance."""
COMPLETED = 3
"""Held-out digits that are completed from their left halves."""


def _read(config: str) -> ConfigDict:
    """A config file of the repository, from any folder."""
    return config_of_file(str(ROOT / config))


@dataclasses.dataclass(frozen=True)
class Budget:
    """What the runs get.

    Attributes:
      training: times the steps of the configs.
      steps: of each training in place of that; None: as the configs say.
      samples: of digits, compared with held-out ones.
      drawn: of shapes at each scale; 960 is ten of each held-out combination.
      likelihoods: held-out digits whose bits are measured.
      timed: samples whose time is measured.
      scales: of guidance by text.
      per_edit: samples of each edit.
    """

    training: int = 1
    steps: int | None = None
    samples: int = 512
    drawn: int = 960
    likelihoods: int = 64
    timed: int = 512
    scales: tuple[float, ...] = (1.0, 2.0, 4.0)
    per_edit: int = 16

    @staticmethod
    def of(factor: int, *, quick: bool) -> "Budget":
        """Of two CPU cores, times `factor`; or just enough to run everything once."""
        if quick:
            return Budget(1, 4, 64, 32, 8, 64, (1.0, 2.0), 4)
        return Budget(factor)


@dataclasses.dataclass(frozen=True)
class Product:
    """Commands of `python -m score_jax`; those that have run before are not run again.

    Attributes:
      out: folder of all runs.
      budget: of them.
    """

    out: Path
    budget: Budget

    def __call__(self, name: str, verb: str, *words: str) -> float:
        """Runs a command and returns its seconds, those of an earlier time if there was one.

        Raises:
          SystemExit: the command fails.
        """
        done = self.out / "commands" / f"{name}.json"
        if done.exists():
            return json.loads(done.read_text())["seconds"]
        command = [sys.executable, "-m", "score_jax", verb, *words]
        print(f"== {' '.join(command[1:])}", file=sys.stderr, flush=True)
        began = time.monotonic()
        environment = {"JAX_COMPILATION_CACHE_DIR": str(self.out.absolute() / "compiled")} | os.environ
        found = subprocess.run(command, cwd=ROOT, env=environment, stdout=sys.stderr, check=False)
        if found.returncode:
            sys.exit(f"`{' '.join(command)}` failed with exit code {found.returncode}.")
        seconds = time.monotonic() - began
        write_json(done, {"seconds": seconds, "command": command[1:]})
        return seconds

    def folder(self, name: str) -> Path:
        """The workdir of a run, from any folder."""
        return (self.out / name).absolute()

    def train(self, name: str, config: str, *words: str) -> float:
        """Trains a config under the budget; returns the seconds."""
        steps = self.budget.steps or self.budget.training * _read(config).training.steps
        own = (f"--config={config}", f"--workdir={self.folder(name)}", f"--config.training.steps={steps}")
        return self(f"train_{name}", "train", *own, *words)

    def latents(self, name: str) -> str:
        """Encodes the training images of an autoencoder's run; returns the folder."""
        out = self.folder(f"{name}_latents")
        self(f"encode_{name}", "encode", f"--workdir={self.folder(name)}", f"--out={out}")
        return str(out)

    def reconstruct(self, name: str, count: int) -> dict[str, Any]:
        """What the autoencoder of a run loses of held-out images."""
        self(f"reconstruct_{name}", "reconstruct", f"--workdir={self.folder(name)}", f"--count={count}")
        return json.loads((self.folder(name) / "reconstruct.json").read_text())

    def evaluate(self, run: str, name: str, *words: str) -> dict[str, Any]:
        """Compares samples of a run with held-out images, and keeps both under a name of their own."""
        kept, folder = self.out / "evaluated" / name, self.folder(run)
        self(f"evaluate_{name}", "evaluate", f"--workdir={folder}", "--save_samples", *words)
        if not kept.exists():
            kept.mkdir(parents=True)
            (folder / "evaluation.json").rename(kept / "evaluation.json")
            next((folder / "evaluation_samples").glob("*.npz")).rename(kept / "samples.npz")
        return json.loads((kept / "evaluation.json").read_text())

    def samples(self, name: str) -> np.ndarray:
        """The images that `evaluate` kept under this name."""
        return np.load(self.out / "evaluated" / name / "samples.npz")["arr_0"]

    def milliseconds(self, run: str) -> float:
        """Of one sample: what more of them take longer, so that neither start nor compilation counts."""
        few, more = 64, 64 + self.budget.timed
        words = (
            f"--workdir={self.folder(run)}",
            f"--out={self.folder(run) / 'timed'}",
            "--config.sampling.batch_size=64",
        )
        seconds = [
            self(f"time_{run}_{name}", "sample", *words, f"--config.sampling.num_samples={count}")
            for name, count in (("compile", few), ("few", few), ("more", more))
        ]
        return 1000 * (seconds[2] - seconds[1]) / self.budget.timed


def parameters(config: str) -> int:
    """Of the networks that a config trains."""
    network = builder.experiment(_read(config)).network
    return sum(leaf.size for leaf in jax.tree.leaves(network.shapes()))


@dataclasses.dataclass(frozen=True)
class Model:
    """A class-conditional model of digits.

    Attributes:
      parameters: that are trained, those of its autoencoder among them.
      train_seconds: of all commands that lead to it.
      milliseconds: of a sample.
      fids: `fid_digits` by scale of guidance, with standard errors.
      bits: per dimension of held-out digits, at most or exactly so many.
    """

    parameters: int
    train_seconds: float
    milliseconds: float
    fids: dict[float, Estimate]
    bits: Estimate


@dataclasses.dataclass(frozen=True)
class Digits:
    """What was measured on digits.

    Attributes:
      psnr: of reconstructions, dB.
      latent: the model of latents.
      pixels: the model of pixels.
      fid_real: of as many training images.
      fid_noise: of as much noise.
      small_error: mean difference between enlarged images, made small again, and the small ones; levels of 255.
      enlarged_psnr: of enlarged images, against the true ones, dB.
      bicubic_psnr: of their bicubic enlargements, dB.
      images: pictures by name, uint8.
    """

    psnr: float
    latent: Model
    pixels: Model
    fid_real: float
    fid_noise: float
    small_error: float
    enlarged_psnr: float
    bicubic_psnr: float
    images: dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Shapes:
    """What was measured on captioned shapes.

    Attributes:
      psnr: of reconstructions, dB.
      parameters: of the text model with its text encoder, and of the autoencoder.
      train_seconds: of all commands that lead to the text model.
      milliseconds: of a sample.
      reconstructed: share of reconstructions that are read as their captions.
      held_out: by scale of guidance, the shares of samples of held-out captions that are right, by attribute.
      seen: such shares for captions of training, at the best scale.
      shuffled: share of samples that are read as another sample's caption.
      fids: Frechet distances by scale, in the features of a classifier of the shapes.
      fid_real: of as many training images.
      inpainted: share of edits within a mask that are right.
      redrawn: share of edits by noising and denoising that are right.
      images: pictures by name, uint8.
    """

    psnr: float
    parameters: int
    train_seconds: float
    milliseconds: float
    reconstructed: float
    held_out: dict[float, dict[str, float]]
    seen: dict[str, float]
    shuffled: float
    fids: dict[float, Estimate]
    fid_real: float
    inpainted: float
    redrawn: float
    images: dict[str, np.ndarray]

    @property
    def best(self) -> float:
        """The scale with the most captions right."""
        return best_scale(self.held_out)


def best_scale(shares: dict[float, dict[str, float]]) -> float:
    """The scale with the most captions right."""
    return max(shares, key=lambda scale: shares[scale]["all"])


def _fid(found: dict[str, Any], of: str) -> Estimate:
    return Estimate(found[f"fid_{of}"], found[f"fid_{of}_standard_error"])


def _bits(product: Product, run: str, file: str, *words: str) -> Estimate:
    count = product.budget.likelihoods
    options = {"num_examples": count, "batch_size": 64, "rtol": 1e-3, "atol": 1e-3, "sensitivity_batches": 0}
    own = (f"--config.likelihood.{key}={value}" for key, value in options.items())
    product(f"likelihood_{run}", "likelihood", f"--workdir={product.folder(run)}", *words, *own)
    mean, error = headline(json.loads((product.folder(run) / file).read_text()))
    return Estimate(mean, error or 0.0)


def _model(product: Product, run: str, sizes: int, seconds: float, bits: Estimate) -> tuple[Model, dict[str, Any]]:
    """Compares samples with and without guidance; also returns what is known of the first comparison."""
    count = f"--config.evaluation.num_samples={product.budget.samples}"
    found = {
        scale: product.evaluate(run, f"{run}_{scale:g}", count, f"--guidance.scale={scale}") for scale in DIGIT_SCALES
    }
    fids = {scale: _fid(each, "digits") for scale, each in found.items()}
    return Model(sizes, seconds, product.milliseconds(run), fids, bits), found[DIGIT_SCALES[0]]


def _resized(images: np.ndarray, side: int) -> np.ndarray:
    """Grey images (n, h, w, 1), bicubically."""
    resized = [Image.fromarray(image[..., 0]).resize((side, side), Image.Resampling.BICUBIC) for image in images]
    return np.stack([np.asarray(image) for image in resized])[..., None]


def _enlarged(product: Product, held_out: np.ndarray) -> dict[str, np.ndarray]:
    """Digits, small, and enlarged by the model."""
    folder = product.folder("digits_enlarging")
    small, file = _resized(held_out, 8), folder / "small.npz"
    write_arrays(file, {"arr_0": small})
    words = (f"--base={file}", f"--config.sampling.num_samples={len(small)}")
    product("sample_digits_enlarging", "sample", f"--workdir={folder}", *words)
    return {"true": held_out, "small": small, "enlarged": np.load(folder / "samples.npz")["arr_0"]}


def _edited(
    product: Product, run: str, name: str, image: np.ndarray, mask: np.ndarray | None, *words: str
) -> np.ndarray:
    """Edits an image (h, w, c) where the mask (h, w) is 1; returns the results."""
    folder = product.folder("edits") / name
    save_png(folder / "image.png", np.broadcast_to(image, (*image.shape[:2], 3)))
    files = [f"--image={folder / 'image.png'}"]
    if mask is not None:
        save_png(folder / "mask.png", np.repeat(255 * mask.astype(np.uint8)[..., None], 3, axis=-1))
        files.append(f"--mask={folder / 'mask.png'}")
    count = f"--config.sampling.num_samples={product.budget.per_edit}"
    product(f"edit_{name}", "edit", f"--workdir={product.folder(run)}", f"--out={folder}", count, *files, *words)
    return np.load(folder / "edit.npz")["arr_0"]


def digits(product: Product) -> Digits:
    """An autoencoder, a class-conditional model and one that enlarges, in its latents; and a model of pixels."""
    budget, first = product.budget, product.folder("digits_autoencoder")
    configs = {name: f"configs/ldm/mnist_{name}.py" for name in ("first_stage", "class", "sr", "pixels")}
    seconds = product.train("digits_autoencoder", configs["first_stage"])
    sizes = parameters(configs["first_stage"])
    reconstructed = product.reconstruct("digits_autoencoder", budget.samples)
    latents = product.latents("digits_autoencoder")
    from_latents = (f"--config.training.first_stage={first}", f"--config.training.latents={latents}")
    seconds += product.train("digits_latent", configs["class"], *from_latents)
    bits = _bits(product, "digits_latent", "likelihood_images.json", "--method=images")
    latent, found = _model(product, "digits_latent", sizes + parameters(configs["class"]), seconds, bits)
    seconds = product.train("digits_pixels", configs["pixels"])
    bits = _bits(product, "digits_pixels", "likelihood.json")
    pixels, _ = _model(product, "digits_pixels", parameters(configs["pixels"]), seconds, bits)
    product.train("digits_enlarging", configs["sr"], f"--config.training.first_stage={first}")
    held_out, labels = load_images(open_split(_read(configs["pixels"]), "eval_split"))
    enlarged = _enlarged(product, held_out[: 2 * budget.per_edit])
    half = np.tile(np.arange(32) >= 16, (32, 1))
    completed = [
        _edited(product, "digits_latent", f"digit_{i}", held_out[i], half, f"--config.sampling.label={labels[i]}")
        for i in range(COMPLETED)
    ]
    made = np.load(first / "reconstructions.npz")
    true = enlarged["true"]
    return Digits(
        psnr=reconstructed["psnr"],
        latent=latent,
        pixels=pixels,
        fid_real=found["fid_digits_real"],
        fid_noise=found["fid_digits_noise"],
        small_error=float(abs(_resized(enlarged["enlarged"], 8).astype(float) - enlarged["small"]).mean()),
        enlarged_psnr=float(np.mean(psnr(true, enlarged["enlarged"]))),
        bicubic_psnr=float(np.mean(psnr(true, _resized(enlarged["small"], 32)))),
        images=enlarged
        | {"real": made["images"], "reconstructed": made["arr_0"], "completed": np.stack(completed)}
        | {"samples": product.samples("digits_latent_1"), "pixels": product.samples("digits_pixels_1")},
    )


def _evaluated_text(product: Product, scale: float, split: str) -> dict[str, Any]:
    words = (f"--config.evaluation.num_samples={product.budget.drawn}", f"--config.data.eval_split={split}")
    return product.evaluate("shapes_text", f"shapes_{split}_{scale:g}", *words, f"--guidance.scale={scale}")


def _captions(config: ConfigDict, split: str, count: int) -> list[str]:
    config.data.eval_split = split
    source = open_split(config, "eval_split")
    return [source.caption(i) for i in range(min(count, len(source)))]


def shapes(product: Product) -> Shapes:
    """An autoencoder of captioned shapes, and a model of texts in its latents."""
    budget, first = product.budget, product.folder("shapes_autoencoder")
    configs = {name: f"configs/ldm/shapes_{name}.py" for name in ("first_stage", "text")}
    config = _read(configs["text"])
    seconds = product.train("shapes_autoencoder", configs["first_stage"], "--config.data.eval_split=held_out")
    reconstructed = product.reconstruct("shapes_autoencoder", budget.drawn)
    latents = product.latents("shapes_autoencoder")
    from_latents = (f"--config.training.first_stage={first}", f"--config.training.latents={latents}")
    seconds += product.train("shapes_text", configs["text"], *from_latents)
    found = {scale: _evaluated_text(product, scale, "held_out") for scale in budget.scales}
    drawn = {scale: product.samples(f"shapes_held_out_{scale:g}") for scale in budget.scales}
    captions = _captions(config, "held_out", budget.drawn)
    shares = {scale: share_right(images, captions) for scale, images in drawn.items()}
    best = best_scale(shares)
    _evaluated_text(product, best, "test")
    seen = share_right(product.samples(f"shapes_test_{best:g}"), _captions(config, "test", budget.drawn))
    made = np.load(first / "reconstructions.npz")
    before, after = (Placed("large", *each, "on the left", "white") for each in (("red", "circle"), ("blue", "cross")))
    image = draw(before, Jitter([(0.0, 0.0)] * 2, [1.0] * 2, [0.0] * 2))
    (prompt,) = after.captions
    asked = (f"--prompt={prompt}", f"--guidance.scale={best}")
    left = np.tile(np.arange(32) < 20, (32, 1))
    inpainted = _edited(product, "shapes_text", "inpainted", image, left, *asked)
    redrawn = _edited(product, "shapes_text", "redrawn", image, None, *asked, "--task=sdedit", "--strength=0.9")
    return Shapes(
        psnr=reconstructed["psnr"],
        parameters=parameters(configs["first_stage"]) + parameters(configs["text"]),
        train_seconds=seconds,
        milliseconds=product.milliseconds("shapes_text"),
        reconstructed=share_right(made["arr_0"], captions[: len(made["arr_0"])])["all"],
        held_out=shares,
        seen=seen,
        shuffled=share_right(drawn[best], [*captions[len(captions) // 2 :], *captions[: len(captions) // 2]])["all"],
        fids={scale: _fid(each, "classes") for scale, each in found.items()},
        fid_real=found[best]["fid_classes_real"],
        inpainted=share_right(inpainted, [prompt] * len(inpainted))["all"],
        redrawn=share_right(redrawn, [prompt] * len(redrawn))["all"],
        images={f"scale_{scale:g}": images for scale, images in drawn.items()}
        | {"real": made["images"], "reconstructed": made["arr_0"]}
        | {"edited": image[None], "inpainted": inpainted, "redrawn": redrawn},
    )
