"""`evaluate`: fresh samples against a reference, by the protocol of one evaluator."""

import contextlib
import dataclasses
from collections.abc import Generator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Int, UInt8

from score_jax.data.loader import read_examples
from score_jax.data.sources import Source
from score_jax.errors import InputError
from score_jax.evaluation import digit_features, feature_set, metrics
from score_jax.evaluation.evaluation_report import EvaluationPage, write_evaluation_page
from score_jax.evaluation.extrapolation import Extrapolated
from score_jax.evaluation.feature_set import FeatureSet, collect
from score_jax.evaluation.features import FeatureExtractor
from score_jax.evaluation.image_grid import grid, save_png
from score_jax.evaluation.kernel_distance import squared_mmd
from score_jax.evaluation.neighbours import images_at_a_time, nearest_of_parts
from score_jax.evaluation.protocols import PLAIN, Protocol
from score_jax.jobs.cascades import Cascade, open_images
from score_jax.jobs.compare import Side, check_length, facts_of, features_of, open_side
from score_jax.jobs.drawing import Drawing, Request, of_cascade
from score_jax.jobs.feature_sets import (
    KEPT,
    array_features,
    cached_source_features,
    jitted,
    sample_batches,
    source_features,
)
from score_jax.runtime.multihost import on_first_process
from score_jax.runtime.parts import Columns, Parts, parts_of
from score_jax.runtime.results import check_result, provenance, write_arrays, write_json
from score_jax.runtime.stop import Stop

SHOWN, NEIGHBOURS = 100, 10
"""Samples of the picture, and of the page's comparison with training images."""
_NEAR = 50_000
_FEWEST_OF_A_CLASS = 20
_SPLITS = ("train", "eval")


def spread(source: Source, limit: int) -> Source:
    """Returns `limit` examples of a source, evenly spread; all where it has no more."""
    return source.at(np.unique(np.linspace(0, len(source) - 1, min(len(source), limit)).astype(int)))


def load_images(source: Source) -> tuple[UInt8[np.ndarray, "n h w c"], Int[np.ndarray, "n"]]:
    """Loads images and labels of a source into memory."""
    batch = read_examples(source, np.arange(len(source)))
    return batch["image"], batch["label"]


def trained_classifier(
    images: UInt8[np.ndarray, "n h w c"], labels: Int[np.ndarray, "n"], path: Path
) -> digit_features.Classifier:
    """Returns the classifier kept at `path`, trained on these images first if there is none."""
    if not path.exists():
        print("Training the classifier for the features of fid_digits.", flush=True)
        digit_features.save_classifier(path, digit_features.train_classifier(images, labels))
    return digit_features.load_classifier(path)


@dataclasses.dataclass(frozen=True, eq=False)
class Samples:
    """Samples as the metrics see them.

    Attributes:
      features: of all.
      images: the first ones (k, h, w, c).
      nfe: evaluations of the model for each (n,); none where that is not known.
      parts: what was kept of the work while it lasted; None: nothing.
    """

    features: FeatureSet
    images: UInt8[np.ndarray, "k h w c"]
    nfe: Int[np.ndarray, "n"]
    parts: Parts | None

    @property
    def cost(self) -> dict[str, Any]:
        """Evaluations of the model per sample, for a result's file."""
        return {"nfe_mean": float(self.nfe.mean()), "nfe_max": int(self.nfe.max())} if self.nfe.size else {}


def draw_features(
    drawing: Drawing,
    extractor: FeatureExtractor,
    request: Request,
    *,
    facts: dict[str, Any],
    folder: Path | None,
    shards: "Shards | None" = None,
    stop: Stop | None = None,
) -> Samples:
    """Draws samples and keeps their features.

    Args:
      drawing: what draws.
      extractor: of the features.
      request: which samples.
      facts: of the features, see `compare.facts_of`.
      folder: where finished batches are kept while the work lasts; None: nowhere.
      shards: takes all samples.
      stop: ends the work after a batch.

    Raises:
      InputError: samples are not finite, or the model draws none.
      Interrupted: `stop`; the same call goes on.
    """
    request = dataclasses.replace(request, images=request.count if shards else SHOWN)
    asked = drawing.identity | {"request": dataclasses.asdict(request)}
    parts = None if folder is None else parts_of(folder, asked | facts)
    first: list[np.ndarray] = []
    evaluations: list[np.ndarray] = []

    def watched() -> Generator[Columns, None, None]:
        for columns in sample_batches(drawing, jitted(extractor, drawing.mesh), request, parts=parts, stop=stop):
            evaluations.append(columns.get("nfe", np.zeros(0, int)))
            if "image" in columns and sum(len(images) for images in first) < SHOWN:
                first.append(columns["image"][:SHOWN])
            if shards is not None:
                shards.add(columns["image"], columns["label"])
            yield columns

    with contextlib.closing(watched()) as batches:  # so that the progress bar ends before an error is printed
        features = collect(batches, count=request.count, keep=KEPT, facts=facts)
    if shards is not None:
        shards.close()
    return Samples(features, np.concatenate(first)[:SHOWN], np.concatenate(evaluations), parts)


class Shards:
    """Samples in .npz files of 10,000 (arr_0: uint8 (n, h, w, c), arr_1: classes), as guided-diffusion reads them."""

    SIZE = 10_000

    def __init__(self, folder: Path):
        self._folder, self._written = folder, 0
        self._waiting: list[tuple[np.ndarray, np.ndarray]] = []

    def add(self, images: UInt8[np.ndarray, "b h w c"], labels: Int[np.ndarray, "b"]) -> None:
        """In their order."""
        self._waiting.extend(zip(images, labels, strict=True))
        while len(self._waiting) >= self.SIZE:
            self._write(self.SIZE)

    def close(self) -> None:
        """Writes what is left."""
        if self._waiting:
            self._write(len(self._waiting))

    def _write(self, count: int) -> None:
        images, labels = zip(*self._waiting[:count], strict=True)
        del self._waiting[:count]
        if jax.process_index() == 0:
            path = self._folder / f"samples_{self._written:05d}.npz"
            write_arrays(path, {"arr_0": np.stack(images), "arr_1": np.array(labels)})
        self._written += 1


def beside_real_and_noise(
    training: Source,
    count: int,
    real: FeatureSet,
    mesh: Mesh,
    extractor: FeatureExtractor,
    seed: int,
) -> dict[str, Any]:
    """Returns the plain metrics of as many training images, and of as much uniform noise, as there are samples.

    Raises:
      InputError: too few images for a covariance.
    """
    rng = np.random.default_rng(seed)
    chosen = training.at(rng.permutation(len(training))[:count])
    noise = rng.integers(0, 256, (len(chosen), *chosen[0]["image"].shape), dtype=np.uint8)
    values: dict[str, Any] = {}
    for kind, features in (
        ("real", source_features(chosen, mesh, extractor, batch_size=64, facts={})),
        ("noise", array_features(noise, mesh, extractor)),
    ):
        measured = metrics.measure(PLAIN, generated=features, real=real, name=extractor.name, seed=seed)
        values |= {_of_kind(name, kind): value for name, value in measured.items()}
    return values


def _of_kind(name: str, kind: str) -> str:
    """`fid_digits_standard_error` of "real" as `fid_digits_real_standard_error`."""
    for ending in ("_standard_error", "_spread", "_subset_size"):
        if name.endswith(ending):
            return f"{name.removesuffix(ending)}_{kind}{ending}"
    return f"{name}_{kind}"


def by_class(generated: FeatureSet, real: FeatureSet) -> dict[str, float]:
    """Returns KID of each class of which both sets have at least 20 images, among those with kept features."""
    values: dict[str, float] = {}
    if generated.features is None or real.features is None or generated.labels is None or real.labels is None:
        return values
    for label in np.unique(generated.labels):
        one, other = generated.features[generated.labels == label], real.features[real.labels == label]
        if min(len(one), len(other)) >= _FEWEST_OF_A_CLASS:
            values[str(label)] = squared_mmd(one.astype(np.float64), other.astype(np.float64))
    return values


@dataclasses.dataclass(frozen=True)
class Result:
    """Of an evaluation.

    Attributes:
      values: its numbers, and how they came about, JSON-able.
      lines: its numbers for a reader.
      path: its .json file; None where none was asked for.
    """

    values: dict[str, Any]
    lines: list[str]
    path: Path | None


def evaluate(
    models: Cascade,
    protocol: Protocol,
    extractor: FeatureExtractor,
    *,
    workdir: Path,
    reference: str | None = None,
    save_samples: bool = False,
    stop: Stop | None = None,
) -> Result | None:
    """Draws `evaluation.num_samples` samples of a run and compares them with the reference, as `evaluate_drawing` does.

    Args:
      models: what draws, one model or a cascade.
      protocol: of the numbers.
      extractor: of the features.
      workdir: for results, and for finished batches while the work lasts.
      reference: "train", "eval", or what `compare.open_side` takes; None: what the protocol says.
      save_samples: keep all samples, as files.
      stop: ends the work after a batch.

    Returns:
      The numbers, on the first process.

    Raises:
      InputError: samples are not finite, there are too few, or the reference was made otherwise.
      Interrupted: `stop`; the same call goes on.
    """
    config, c = models.config, models.config.evaluation
    request = Request(c.num_samples, c.batch_size, c.seed, protocol.rounding, config.sampling.label)
    name = reference or ("eval" if protocol is PLAIN else "train")
    if name in _SPLITS:
        side = Side(name, None, open_images(models, f"{name}_split", as_trained=True), kept=True)
    else:
        side = open_side(name, protocol, extractor, channels=config.data.channels, data_dir=config.data.data_dir)
    beside = open_images(models, "train_split") if protocol is PLAIN and reference is None else None
    return evaluate_drawing(
        of_cascade(models, request),
        request,
        protocol,
        extractor,
        side,
        workdir=workdir,
        # Another reference than the data of the run may number its classes otherwise.
        classes=bool(models.num_classes and side.kept),
        beside=None if beside is None else spread(beside, c.num_samples),
        save_samples=save_samples,
        stop=stop,
    )


def evaluate_drawing(
    drawing: Drawing,
    request: Request,
    protocol: Protocol,
    extractor: FeatureExtractor,
    side: Side,
    *,
    workdir: Path | None,
    classes: bool = False,
    beside: Source | None = None,
    save_samples: bool = False,
    stop: Stop | None = None,
) -> Result | None:
    """Draws samples, compares them with the reference, and writes the files of the verb.

    Args:
      drawing: what draws.
      request: which samples.
      protocol: of the numbers.
      extractor: of the features.
      side: the reference.
      workdir: for results, and for finished batches while the work lasts; None: for neither.
      classes: labels of samples and of the reference name the same classes.
      beside: training images, of which as many as there are samples are measured too.
      save_samples: keep all samples, as files in the workdir.
      stop: ends the work after a batch.

    Returns:
      The numbers, on the first process.

    Raises:
      InputError: samples are not finite, there are too few, or the reference was made otherwise.
      Interrupted: `stop`; the same call goes on.
    """
    mesh, stem = drawing.mesh, "evaluation" if protocol is PLAIN else f"evaluation_{protocol.name}"
    metrics.check_counts(generated=request.count, real=side.count)
    check_length(side, extractor, drawing.image_shape)
    samples = draw_features(
        drawing,
        extractor,
        request,
        facts=facts_of(protocol, extractor),
        folder=workdir and workdir / f"{stem}_parts",
        shards=Shards(workdir / f"{stem}_samples") if workdir and save_samples else None,
        stop=stop,
    )
    real = _reference_features(side, protocol, extractor, mesh, request.batch_size, workdir, stop)
    found: dict[str, Any] = {}
    if beside is not None:
        assert real is not None
        found = beside_real_and_noise(beside, request.count, real, mesh, extractor, request.seed)

    def finish() -> Result:
        assert real is not None
        values = metrics.measure(
            protocol,
            generated=samples.features,
            real=real,
            name=extractor.name,
            logits=extractor.logits,
            seed=request.seed,
        )
        facts = _facts(drawing, protocol, request, samples, real)
        extrapolated = metrics.by_count(samples.features, real)
        fid = metrics.name_of("fid", extractor.name, None)
        values |= found | metrics.at_infinity(fid, extrapolated)
        check_result(values)
        result = Result(values | facts, metrics.lines(values), workdir and workdir / f"{stem}.json")
        if result.path is not None:
            _write(result, samples)
            by = by_class(samples.features, real) if classes else {}
            _write_page(result.path.with_suffix(".html"), drawing, samples, values, facts, (fid, extrapolated), by)
        return result

    return on_first_process(finish)


def _reference_features(
    side: Side,
    protocol: Protocol,
    extractor: FeatureExtractor,
    mesh: Mesh,
    batch_size: int,
    workdir: Path | None,
    stop: Stop | None,
) -> FeatureSet | None:
    """None on processes that do not need it."""
    if not side.kept:
        return features_of(side, protocol, extractor, mesh, batch_size=batch_size)
    assert side.source is not None and workdir is not None
    facts, parts = facts_of(protocol, extractor), workdir / "reference_parts"
    return cached_source_features(
        side.source, mesh, extractor, batch_size=batch_size, facts=facts, parts=parts, stop=stop
    )


def _facts(
    drawing: Drawing, protocol: Protocol, request: Request, samples: Samples, real: FeatureSet
) -> dict[str, Any]:
    """How the numbers came about."""
    return provenance(
        num_samples=request.count,
        protocol=protocol.name,
        **samples.features.facts,
        rounding=request.rounding,
        reference=real.facts,
        **drawing.facts,
        seed=request.seed,
        **samples.cost,
        arithmetic=f"network {drawing.arithmetic}, features float32, statistics float64",
    )


def _write(result: Result, samples: Samples) -> None:
    """The files of the numbers, after which the parts are not needed."""
    assert result.path is not None
    save_png(result.path.with_suffix(".png"), grid(samples.images, columns=10))
    feature_set.save(result.path.with_suffix(".npz"), dataclasses.replace(samples.features, features=None, labels=None))
    write_json(result.path, result.values)
    if samples.parts is not None:
        samples.parts.remove()


def _neighbours(drawing: Drawing, shown: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Samples and the training image nearest to each; None where these are not known, or, said, are not here."""
    if drawing.training is None:
        return None
    try:
        training = spread(drawing.training(), _NEAR)
        places, size = np.arange(len(training)), images_at_a_time(shown[0].size)
        parts = (read_examples(training, places[i : i + size])["image"] for i in range(0, len(places), size))
        return shown, read_examples(training, nearest_of_parts(shown, parts))["image"]
    except InputError as error:
        print(f"No nearest training images: {error}", flush=True)
        return None


def _write_page(
    path: Path,
    drawing: Drawing,
    samples: Samples,
    values: dict[str, Any],
    facts: dict[str, Any],
    extrapolated: tuple[str, Extrapolated],
    classes: dict[str, float],
) -> None:
    """The page, or a line that says why there is none: the numbers are written."""
    metric, line = extrapolated
    page = EvaluationPage(
        title=f"{facts['protocol']}: {facts['num_samples']:,} samples of {drawing.named}",
        summary=values.get("warning", ""),
        numbers=metrics.rows(values),
        samples=samples.images,
        neighbours=_neighbours(drawing, samples.images[:NEIGHBOURS]),
        counts=line.counts,
        by_count=line.distances,
        metric=metric,
        by_class=classes,
        facts=facts,
        config_text=drawing.about,
    )
    try:
        write_evaluation_page(path, page)
    except InputError as error:
        print(f"No {path.name}: {error}", flush=True)
