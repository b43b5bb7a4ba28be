"""The lineage under one budget: every system trained on the same digits, and what each then can do.

    python benchmarks/lineage.py [--budget N] [--only ddpm,edm] [--out runs/lineage] [--docs] [--json] [--quick]

Systems are those of `configs/lineage.py`, and the image network of 2015. A run cut short goes on where it was: what is
done is kept below --out. With --docs, table and pictures go to docs/results.md and docs/images/.
"""

import argparse
import contextlib
import dataclasses
import json
import sys
import time
from pathlib import Path

import jax
import lineage_pages
import numpy as np
from lineage_pages import Curve, Row
from lineage_systems import SEED, Judge, System, config_of, lineage, of_config, trained

from report import Claim, emit
from score_jax import builder
from score_jax.evaluation.image_grid import grid, save_png
from score_jax.jobs.sample import Given, draw
from score_jax.runtime.results import write_arrays, write_json
from score_jax.runtime.sharding import make_mesh

ALONE = ("classifier",)
"""Trained to guide others, no row of the table."""
NAMES = tuple(name for name in lineage.SYSTEMS if name not in ALONE)
GUIDED_STEPS = "50"


@dataclasses.dataclass(frozen=True)
class Budget:
    """What each system gets.

    Attributes:
      steps: of training.
      samples: that are compared with held-out images.
      completed: images, from their left halves.
      likelihoods: held-out images whose bits are measured.
      scales: of guidance.
      targets: of `fid_digits` over that of noise, of bits/dim, and of the inpainting error over that of the mean image.
    """

    steps: int
    samples: int
    completed: int
    likelihoods: int
    scales: tuple[float, ...]
    targets: tuple[float, float, float]

    @staticmethod
    def of(factor: int, *, quick: bool) -> "Budget":
        """Of a CPU, times `factor`; or just enough to run everything once."""
        if quick:
            return Budget(20, 64, 16, 8, (1.0, 2.0), (1.0, 16.0, 2.5))
        samples, completed = min(5000, 512 * factor), min(1000, 128 * factor)
        return Budget(1000 * factor, samples, completed, 128, (0.0, 1.0, 2.0, 4.0, 8.0), (0.5, 8.0, 1.5))


def left_half(size: int) -> np.ndarray:
    """What inpainting keeps: 1 in the left half of (size, size, 1)."""
    return np.tile((np.arange(size) < size // 2).astype(np.float32)[None, :, None], (size, 1, 1))


def missing_error(images: np.ndarray, truth: np.ndarray, kept: np.ndarray) -> float:
    """Root mean squared error where nothing was known, grey levels of 255."""
    return float(np.sqrt(((images.astype(float) - truth) ** 2)[:, kept == 0].mean()))


def measured(name: str, system: System, judge: Judge, budget: Budget, folder: Path) -> Row:
    """A row of the table; samples and completions are kept in the folder."""
    half = budget.samples // 2
    first = system.draw(range(half))
    began = time.monotonic()
    second = system.draw(range(half, 2 * half))  # compiled by now
    seconds = (time.monotonic() - began) / half
    samples = np.concatenate([first.pixels, second.pixels])
    truth, labels = judge.held_out[: budget.completed], judge.labels[: budget.completed]
    kept = left_half(truth.shape[1])
    completed = system.complete(truth, labels, kept).pixels
    bits = system.bits and system.bits(budget.likelihoods)
    write_arrays(folder / "images.npz", {"samples": samples[:64], "completed": completed[:16]})
    return Row(
        name=name,
        parameters=system.parameters,
        train_seconds=system.train_seconds,
        sampler=system.sampler,
        nfe=first.nfe,
        milliseconds=1000 * seconds,
        fid=judge.fid(samples),
        bits=bits and bits.value,
        bits_kind=bits and bits.kind,
        missing_error=missing_error(completed, truth, kept[..., 0]),
        completed_accuracy=judge.accuracy(completed, labels),
    )


def row(name: str, judge: Judge, budget: Budget, out: Path) -> Row:
    """The row of a system, from an earlier run if there is one."""
    folder = out / name
    path = folder / "row.json"
    if path.exists():
        return Row.of(json.loads(path.read_text()))
    print(f"== {name}", file=sys.stderr, flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    found = measured(name, of_config(config_of(name, budget.steps), folder), judge, budget, folder)
    write_json(path, found.as_dict())
    return found


def curves(judge: Judge, budget: Budget, out: Path) -> list[Curve]:
    """Accuracy and distance of guided samples against the scale, three ways."""
    path = out / "guidance.json"
    if path.exists():
        return [Curve(**values) for values in json.loads(path.read_text())]
    classifier, classifier_params, _ = trained(config_of("classifier", budget.steps), out / "classifier")
    guiding = Given(classifier=classifier, classifier_params=classifier_params)
    labels = np.arange(budget.samples // 2) % 10
    found, pictures = [], []
    for title, name, given in (
        ("classifier guides a model without classes", "improved_ddpm", guiding),
        ("classifier guides a model with classes", "adm", guiding),
        ("classifier-free", "adm", Given()),
    ):
        print(f"== {title}", file=sys.stderr, flush=True)
        config = config_of(name, budget.steps)
        _, params, _ = trained(config, out / name)
        accuracies, distances = [], []
        for scale in budget.scales:
            config.guidance.scale, config.sampler.respacing = scale, GUIDED_STEPS
            conditions = {"label": labels.astype(np.int32)}
            indices = range(len(labels))
            images = draw(
                builder.experiment(config),
                params,
                make_mesh(),
                indices,
                batch_size=len(labels),
                seed=SEED,
                given=dataclasses.replace(given, conditions=conditions),
            ).images
            accuracies.append(judge.accuracy(images, labels))
            distances.append(judge.fid(images).mean)
            pictures.append(images[:10])
        found.append(Curve(title, budget.scales, tuple(accuracies), tuple(distances)))
    save_png(out / "guidance.png", grid(np.concatenate(pictures), 10))
    write_json(path, [curve._asdict() for curve in found])
    return found


def claims_of(rows: list[Row], guided: list[Curve], judge: Judge, budget: Budget) -> list[Claim]:
    """What must hold for the table to be worth reading."""
    truth, kept = judge.held_out[: budget.completed], left_half(judge.held_out.shape[1])
    mean = np.broadcast_to(judge.training.mean(axis=0)[None], truth.shape)
    blank = missing_error(mean, truth, kept[..., 0])
    noise = judge.fid(np.random.default_rng(SEED).integers(0, 256, judge.held_out.shape, dtype=np.uint8)).mean
    fid, bits, error = budget.targets
    claims = []
    for r in rows:
        how = f"+- {r.fid.error:.1f}, NFE {r.nfe:.0f}; noise {noise:.0f}"
        claims.append(Claim(f"fid_digits_{r.name}", r.fid.mean, "", fid * noise, "<=", how))
        if r.bits is not None:
            how = f"+- {r.bits.error:.3f}, {r.bits_kind}"
            claims.append(Claim(f"bits_per_dim_{r.name}", r.bits.mean, "bits", bits, "<=", how))
        how = f"of 255; the mean image {blank:.0f}"
        claims.append(Claim(f"inpainting_error_{r.name}", r.missing_error, "", error * blank, "<=", how))
    for name, curve in zip(("classifier", "classifier_and_classes", "classifier_free"), guided, strict=False):
        gain = max(curve.accuracies) - curve.accuracies[0]
        how = ", ".join(f"{s:g}: {a:.2f}" for s, a in zip(curve.scales, curve.accuracies, strict=True))
        claims.append(Claim(f"guided_accuracy_gain_{name}", gain, "", 0.0, ">=", how))
    return claims


def main() -> int:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--budget", type=int, default=1, help="times the training and the images of the CPU's budget")
    parser.add_argument("--only", default=",".join(NAMES), help="systems, separated by commas")
    parser.add_argument("--out", type=Path, default=Path("runs/lineage"), help="where everything is kept")
    parser.add_argument("--docs", action="store_true", help="write docs/results.md and its pictures")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout, nothing else")
    parser.add_argument("--quick", action="store_true", help="twenty steps each: that everything runs, no more")
    arguments = parser.parse_args()
    names = arguments.only.split(",")
    if unknown := set(names) - set(NAMES):
        parser.error(f"no systems {sorted(unknown)}: expected some of {', '.join(NAMES)}")
    began = time.monotonic()
    jax.config.update("jax_compilation_cache_dir", str(arguments.out / "compiled"))
    budget = Budget.of(arguments.budget, quick=arguments.quick)
    folder = arguments.out / ("quick" if arguments.quick else f"budget_{arguments.budget}")
    with contextlib.redirect_stdout(sys.stderr):  # training says where its checkpoints are
        judge = Judge(config_of("ddpm", budget.steps), arguments.out / "digit_classifier.npz")
        rows = [row(name, judge, budget, folder) for name in names]
        guided = curves(judge, budget, folder) if {"adm", "improved_ddpm"} <= set(names) else []
    if arguments.docs:
        kept, command = left_half(judge.held_out.shape[1]), f"python {' '.join(sys.argv)}"
        lineage_pages.write(rows, guided, judge.held_out, kept, folder, command)
    return emit("lineage", claims_of(rows, guided, judge, budget), began, as_json=arguments.json)


if __name__ == "__main__":
    sys.exit(main())
