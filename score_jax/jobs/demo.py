"""`demo`: train, sample, measure, report. A demo cut short resumes."""

import importlib.metadata
import json
import math
import platform
from pathlib import Path

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from score_jax import builder
from score_jax.builder.sections import refuse_cascade
from score_jax.data.sources import Source
from score_jax.evaluation import digit_features, metrics
from score_jax.evaluation.image_grid import grid, save_png
from score_jax.evaluation.neighbours import nearest_neighbours
from score_jax.evaluation.protocols import PLAIN
from score_jax.evaluation.report import Number, ReportData, write_report
from score_jax.jobs import evaluate, likelihood
from score_jax.jobs.analytic_variance import with_measured
from score_jax.jobs.feature_sets import array_features
from score_jax.jobs.open_split import open_split
from score_jax.jobs.sample import Drawn, draw
from score_jax.jobs.stage_times import StageTimes
from score_jax.jobs.train import restore_params, train
from score_jax.jobs.trajectory import from_noise_to_image
from score_jax.runtime.results import provenance, write_json
from score_jax.runtime.sharding import make_mesh
from score_jax.runtime.stop import Stop, stop_on_signals
from score_jax.training.log import read_curve
from score_jax.typing import Params

_TRAJECTORIES, _SAVED, _GRID = 6, 61, 64
_CELL = 64
"""Pixels of a small image's side in the pictures."""


def _say(text: str) -> None:
    print(f"\n== {text}", flush=True)


def _numbers(measured: dict, likelihood_summary: dict) -> list[Number]:
    """The table of the report."""

    def fid(suffix: str, meaning: str, name: str) -> Number:
        value, error = measured[f"fid_digits{suffix}"], measured[f"fid_digits{suffix}_standard_error"]
        return Number(name, f"{value:.2f}", f"{error:.2f} (bootstrap)", meaning)

    bits, error = (likelihood_summary[f"bpd_ode_uniform{s}"] for s in ("", "_standard_error"))
    return [
        Number(
            "bits/dim",
            f"{bits:.3f}",
            f"{error:.3f} (standard error)",
            f"exact likelihood of {likelihood_summary['count']} held-out images by the probability-flow ODE, with "
            f"uniform dequantisation; {likelihood_summary['nfe_mean']:.0f} evaluations each",
        ),
        fid(
            "",
            "distance of the samples to held-out images, in the features of a small digit classifier; not FID with "
            "Inception features",
            "fid_digits of samples",
        ),
        fid(
            "_real",
            "the same for as many real images: what a perfect model would reach",
            "fid_digits of real images",
        ),
        fid("_noise", "the same for uniform noise: where training began", "fid_digits of noise"),
        Number(
            "kid_digits of samples",
            f"{measured['kid_digits']:.4f}",
            f"{measured['kid_digits_spread']:.4f} (over subsets)",
            "kernel distance in the same features, unbiased in the number of images",
        ),
        Number("evaluations", f"{measured['nfe_mean']:.0f}", "", "of the network for one sample"),
        Number(
            "classifier accuracy",
            f"{measured['classifier_accuracy']:.3f}",
            "",
            "of the classifier behind fid_digits, on held-out images",
        ),
    ]


def _environment() -> dict[str, str]:
    packages = ("jax", "flax", "diffrax", "optax", "numpy")
    versions = {name: importlib.metadata.version(name) for name in packages}
    device = f"{jax.device_count()} x {jax.devices()[0].device_kind}"
    return {"python": platform.python_version(), **versions, "devices": device}


def _report(
    workdir: Path,
    config: ConfigDict,
    drawn: Drawn,
    trajectory: Drawn,
    training: np.ndarray,
    classes: np.ndarray,
    measured: dict,
    durations: dict[str, float],
) -> None:
    curve = read_curve(workdir)
    shown = drawn.images[:10]
    nearest = training[nearest_neighbours(shown, training)]
    counts = np.bincount(classes, minlength=10)
    summary = (
        f"A score-based model ({config.network.name}, {measured['parameters'] / 1e6:.2f} M parameters) was trained for "
        f"{measured['step']} steps on {len(training)} images of {config.data.name} at {config.data.image_size} x "
        f"{config.data.image_size} pixels (resized with the {config.data.resize_filter} filter). Samples, likelihood "
        "and distances below are of its averaged parameters."
    )
    write_report(
        workdir / "report.html",
        ReportData(
            title="score_jax demo",
            summary=summary,
            samples=drawn.images[:_GRID],
            trajectory=trajectory.trajectory,
            times=trajectory.times,
            loss_steps=np.array(list(curve)),
            losses=np.array(list(curve.values())),
            bits_per_dim=np.load(workdir / "likelihood.npz")["bits_per_dim"],
            numbers=_numbers(measured, measured["likelihood"]),
            neighbours=(shown, nearest),
            class_counts={str(i): int(n) for i, n in enumerate(counts)},
            config_text=json.dumps(config.to_dict(), indent=2),
            environment=_environment(),
            durations=durations,
        ),
    )


def _measure_likelihood(
    model: tuple[builder.Experiment, Params, Mesh], source: Source, workdir: Path, step: int
) -> dict:
    path = workdir / "likelihood.json"
    facts = {"step": step, "seed": model[0].likelihood.seed, "data": source.fingerprint}
    if not path.exists() or json.loads(path.read_text())["step"] != step:
        parts = workdir / "likelihood_parts"
        likelihood.save(workdir, likelihood.measure(*model, source, parts=parts, facts=facts), facts)
    return json.loads(path.read_text())


def _compare(
    drawn: Drawn,
    training: Source,
    held_out: Source,
    classifier: digit_features.Classifier,
    mesh: Mesh,
    config: ConfigDict,
) -> dict:
    """fid_digits and kid_digits, and how far the classifier behind them can be trusted."""
    unseen, labels = evaluate.load_images(held_out)
    extractor, seed = classifier.features(), config.evaluation.seed
    samples, real = (array_features(images, mesh, extractor) for images in (drawn.images, unseen))
    values = metrics.measure(PLAIN, generated=samples, real=real, name=extractor.name, seed=seed)
    values |= evaluate.beside_real_and_noise(training, len(drawn.images), real, mesh, extractor, seed)
    accuracy = float((digit_features.predict_classes(classifier, unseen) == labels).mean())
    facts = {"sampler": config.sampler.to_dict(), "num_samples": len(drawn.images)}
    return values | facts | {"classifier_accuracy": accuracy}


def _print_summary(measured: dict) -> None:
    bits, error = (measured["likelihood"][f"bpd_ode_uniform{s}"] for s in ("", "_standard_error"))
    print(f"bits/dim {bits:.3f} +- {error:.3f}")
    for name in ("fid_digits", "fid_digits_real", "fid_digits_noise"):
        print(f"{name:<17}{measured[name]:8.2f} +- {measured[f'{name}_standard_error']:.2f}")


def _write_example(workdir: Path, held_out: Source) -> None:
    """An image that the model has not seen, and a mask of its right half: what `edit` wants."""
    image = np.broadcast_to(held_out[0]["image"], (*held_out[0]["image"].shape[:2], 3))
    mask = np.zeros_like(image)
    mask[:, image.shape[1] // 2 :] = 255
    save_png(workdir / "digit.png", image)
    save_png(workdir / "mask.png", mask)


def demo(config: ConfigDict, workdir: Path) -> Stop | None:
    """Runs the whole demo; returns what stopped it, where the training ended early with a checkpoint.

    Writes report.html, samples.png, trajectories.png, metrics.json, checkpoints, TensorBoard events, and digit.png and
    mask.png for `edit` into `workdir`. A finished demo is not run again.

    Raises:
      InputError: the config is that of a cascade.
    """
    refuse_cascade(config)
    metrics_path = workdir / "metrics.json"
    if metrics_path.exists() and json.loads(metrics_path.read_text())["step"] == config.training.steps:
        print(f"This demo is done: see {workdir / 'report.html'}. Use another --workdir to run it again.")
        return None
    times = StageTimes(workdir / "stage_times.json")

    _say(f"1/5 Training for {config.training.steps} steps on {jax.device_count()} x {jax.devices()[0].device_kind}")
    with stop_on_signals() as stop:
        state = train(config, workdir, stop)
    times.took("training")
    if int(state.step) < config.training.steps:
        return stop
    mesh, experiment = make_mesh(), builder.experiment(config)
    params, step = restore_params(config, experiment, workdir, mesh)
    experiment = with_measured(experiment, params, workdir, step, mesh)
    model, c = (experiment, params, mesh), config.evaluation

    _say(f"2/5 Sampling {c.num_samples} images with {config.sampler.name}")
    drawn = draw(*model, range(c.num_samples), batch_size=c.batch_size * mesh.size, seed=c.seed)
    few = mesh.size * -(-_TRAJECTORIES // mesh.size)
    saved = draw(*model, range(few), batch_size=few, seed=c.seed, num_saved=_SAVED)
    trajectory = from_noise_to_image(saved, experiment.process)
    scale = math.ceil(_CELL / config.data.image_size)
    save_png(workdir / "samples.png", grid(drawn.images[:_GRID], columns=8, scale=scale))
    strips = trajectory.trajectory.reshape(-1, *experiment.image_shape)
    save_png(workdir / "trajectories.png", grid(strips, columns=len(trajectory.times), scale=scale))
    times.took("sampling")

    held_out = open_split(config, "eval_split")
    _write_example(workdir, held_out)
    _say(f"3/5 Exact likelihood of {config.likelihood.num_examples or len(held_out)} held-out images")
    likelihood_summary = _measure_likelihood(model, held_out, workdir, step)
    times.took("likelihood")

    _say("4/5 Distances to held-out images")
    train_split = open_split(config, "train_split")
    training, labels = evaluate.load_images(train_split)
    classifier = evaluate.trained_classifier(training, labels, workdir / "digit_classifier.npz")
    measured = _compare(drawn, train_split, held_out, classifier, mesh, config)
    classes = digit_features.predict_classes(classifier, drawn.images)
    times.took("distances")

    _say("5/5 Report")
    measured |= {
        "step": step,
        "parameters": sum(p.size for p in jax.tree.leaves(state.params)),
        "nfe_mean": float(drawn.nfe.mean()),
        "likelihood": likelihood_summary,
        **provenance(reference=held_out.fingerprint),
    }
    _report(workdir, config, drawn, trajectory, training, classes, measured, times.seconds | {"so far": times.total})
    times.took("report")
    write_json(metrics_path, measured | {"seconds": times.seconds | {"total": times.total}})
    _print_summary(measured)
    print(f"{times.total:.0f} s. Open {workdir / 'report.html'}")
    return None
