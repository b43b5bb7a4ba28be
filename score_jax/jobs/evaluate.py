"""`evaluate`: fresh samples against a reference, by the protocol of one evaluator."""

import contextlib
import dataclasses
import json
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
from score_jax.jobs.feature_sets import (
    KEPT,
    Request,
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
      nfe_mean: evaluations of the model per sample.
      nfe_max: the most of any.
      parts: what was kept of the work while it lasted.
    """

    features: FeatureSet
    images: UInt8[np.ndarray, "k h w c"]
    nfe_mean: float
    nfe_max: int
    parts: Parts


def draw_features(
    models: Cascade,
    extractor: FeatureExtractor,
    request: Request,
    *,
    facts: dict[str, Any],
    folder: Path,
    shards: "Shards | None" = None,
    stop: Stop | None = None,
) -> Samples:
    """Draws samples and keeps their features.

    Args:
      models: what draws, one model or a cascade.
      extractor: of the features.
      request: which samples.
      facts: of the features, see `compare.facts_of`.
      folder: where finished batches are kept while the work lasts.
      shards: takes all samples.
      stop: ends the work after a batch.

    Raises:
      InputError: samples are not finite, or the model draws none.
      Interrupted: `stop`; the same call goes on.
    """
    request = dataclasses.replace(request, images=request.count if shards else SHOWN)
    asked = models.identity(request.count) | {"request": dataclasses.asdict(request)}
    parts = parts_of(folder, asked | facts)
    first: list[np.ndarray] = []
    evaluations: list[np.ndarray] = []

    def watched() -> Generator[Columns, None, None]:
        for columns in sample_batches(models, jitted(extractor, models.mesh), request, parts=parts, stop=stop):
            evaluations.append(columns["nfe"])
            if "image" in columns and sum(len(images) for images in first) < SHOWN:
                first.append(columns["image"][:SHOWN])
            if shards is not None:
                shards.add(columns["image"], columns["label"])
            yield columns

    with contextlib.closing(watched()) as batches:  # so that the progress bar ends before an error is printed
        features = collect(batches, count=request.count, keep=KEPT, facts=facts)
    if shards is not None:
        shards.close()
    nfe = np.concatenate(evaluations)
    return Samples(features, np.concatenate(first)[:SHOWN], float(nfe.mean()), int(nfe.max()), parts)


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
      path: its .json file.
      lines: its numbers for a reader.
    """

    path: Path
    lines: list[str]


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
    """Draws `evaluation.num_samples` samples, compares them with the reference, and writes the files of the verb.

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
    config, c, mesh = models.config, models.config.evaluation, models.mesh
    stem = "evaluation" if protocol is PLAIN else f"evaluation_{protocol.name}"
    opened = _open_reference(models, protocol, extractor, reference)
    beside_samples = open_images(models, "train_split") if protocol is PLAIN and reference is None else None
    request = Request(c.num_samples, c.batch_size, c.seed, protocol.rounding, config.sampling.label)
    samples = draw_features(
        models,
        extractor,
        request,
        facts=facts_of(protocol, extractor),
        folder=workdir / f"{stem}_parts",
        shards=Shards(workdir / f"{stem}_samples") if save_samples else None,
        stop=stop,
    )
    real = _reference_features(opened, protocol, extractor, mesh, c.batch_size, workdir / "reference_parts", stop)
    beside: dict[str, Any] = {}
    if beside_samples is not None:
        assert real is not None
        training = spread(beside_samples, c.num_samples)
        beside = beside_real_and_noise(training, c.num_samples, real, mesh, extractor, c.seed)

    def finish() -> Result:
        assert real is not None
        values = metrics.measure(
            protocol, generated=samples.features, real=real, name=extractor.name, logits=extractor.logits, seed=c.seed
        )
        facts = _facts(models, protocol, request, samples, real)
        same_classes = models.num_classes and opened.name in _SPLITS  # another reference may number them otherwise
        classes = by_class(samples.features, real) if same_classes else {}
        path = workdir / f"{stem}.json"
        extrapolated = metrics.by_count(samples.features, real)
        fid = metrics.name_of("fid", extractor.name, None)
        values |= beside | metrics.at_infinity(fid, extrapolated)
        check_result(values)
        save_png(path.with_suffix(".png"), grid(samples.images, columns=10))
        feature_set.save(path.with_suffix(".npz"), dataclasses.replace(samples.features, features=None, labels=None))
        write_json(path, values | facts)
        samples.parts.remove()
        _write_page(path.with_suffix(".html"), models, samples, values, facts, (fid, extrapolated), classes)
        return Result(path, metrics.lines(values))

    return on_first_process(finish)


def _open_reference(models: Cascade, protocol: Protocol, extractor: FeatureExtractor, reference: str | None) -> Side:
    """The reference, before any sample is drawn or any image of it measured.

    Raises:
      InputError: there is no such reference, or samples of this model cannot be compared with it.
    """
    name, config = reference or ("eval" if protocol is PLAIN else "train"), models.config
    if name in _SPLITS:
        side = Side(name, None, open_images(models, f"{name}_split", as_trained=True))
    else:
        side = open_side(name, protocol, extractor, channels=config.data.channels, data_dir=config.data.data_dir)
    metrics.check_counts(generated=config.evaluation.num_samples, real=side.count)
    check_length(side, extractor, models.image_shape)
    return side


def _reference_features(
    side: Side,
    protocol: Protocol,
    extractor: FeatureExtractor,
    mesh: Mesh,
    batch_size: int,
    parts: Path,
    stop: Stop | None,
) -> FeatureSet | None:
    """None on processes that do not need it."""
    if side.name not in _SPLITS:
        return features_of(side, protocol, extractor, mesh, batch_size=batch_size)
    assert side.source is not None
    facts = facts_of(protocol, extractor)
    return cached_source_features(
        side.source, mesh, extractor, batch_size=batch_size, facts=facts, parts=parts, stop=stop
    )


def _facts(models: Cascade, protocol: Protocol, request: Request, samples: Samples, real: FeatureSet) -> dict[str, Any]:
    """How the numbers came about."""
    return provenance(
        num_samples=request.count,
        protocol=protocol.name,
        **samples.features.facts,
        rounding=request.rounding,
        reference=real.facts,
        **models.facts(request.seed),
        seed=request.seed,
        nfe_mean=samples.nfe_mean,
        nfe_max=samples.nfe_max,
        arithmetic=f"network {models.dtype}, features float32, statistics float64",
    )


def _neighbours(models: Cascade, shown: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Samples and the training image nearest to each; None, said, where the training images are not here."""
    try:
        training = spread(open_images(models, "train_split"), _NEAR)
        places, size = np.arange(len(training)), images_at_a_time(shown[0].size)
        parts = (read_examples(training, places[i : i + size])["image"] for i in range(0, len(places), size))
        return shown, read_examples(training, nearest_of_parts(shown, parts))["image"]
    except InputError as error:
        print(f"No nearest training images: {error}", flush=True)
        return None


def _write_page(
    path: Path,
    models: Cascade,
    samples: Samples,
    values: dict[str, Any],
    facts: dict[str, Any],
    extrapolated: tuple[str, Extrapolated],
    classes: dict[str, float],
) -> None:
    """The page, or a line that says why there is none: the numbers are written."""
    metric, line = extrapolated
    page = EvaluationPage(
        title=f"{facts['protocol']}: {facts['num_samples']:,} samples of {models.named}",
        summary=values.get("warning", ""),
        numbers=metrics.rows(values),
        samples=samples.images,
        neighbours=_neighbours(models, samples.images[:NEIGHBOURS]),
        counts=line.counts,
        by_count=line.distances,
        metric=metric,
        by_class=classes,
        facts=facts,
        config_text=json.dumps(models.config.to_dict(), indent=2),
    )
    try:
        write_evaluation_page(path, page)
    except InputError as error:
        print(f"No {path.name}: {error}", flush=True)
