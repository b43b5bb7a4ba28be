"""`evaluate`: fresh samples against a reference, by the protocols of one or several evaluators."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jax.sharding import Mesh
from jaxtyping import Int, UInt8

from score_jax.data.loader import read_examples
from score_jax.data.sources import Source
from score_jax.errors import InputError
from score_jax.evaluation import digit_features, feature_set, metrics
from score_jax.evaluation.evaluation_report import EvaluationPage, write_evaluation_page
from score_jax.evaluation.extrapolation import Extrapolated
from score_jax.evaluation.feature_set import FeatureSet
from score_jax.evaluation.features import FeatureExtractor
from score_jax.evaluation.image_grid import grid, save_png
from score_jax.evaluation.kernel_distance import squared_mmd
from score_jax.evaluation.neighbours import images_at_a_time, nearest_of_parts
from score_jax.evaluation.protocol_set import joint_values
from score_jax.evaluation.protocols import PLAIN, SETS, Protocol
from score_jax.jobs.cascades import Cascade, open_images
from score_jax.jobs.compare import Side, check_each_of, check_held_out, check_length, facts_of, features_of, open_side
from score_jax.jobs.drawing import Drawing, Request, of_cascade
from score_jax.jobs.feature_sets import array_features, cached_source_features, source_features
from score_jax.jobs.sample import image_name
from score_jax.jobs.sample_features import Measure, Samples, Shards, draw_features, roundings_of
from score_jax.runtime.multihost import on_first_process
from score_jax.runtime.results import check_result, measurement, write_json
from score_jax.runtime.stop import Stop
from score_jax.typing import Rounding

NEIGHBOURS = 10
"""Samples of the page's comparison with training images."""
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
        print("Training a small classifier, whose features are compared.", flush=True)
        digit_features.save_classifier(path, digit_features.train_classifier(images, labels))
    return digit_features.load_classifier(path)


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
    measured_by: Sequence[tuple[Protocol, FeatureExtractor]],
    *,
    workdir: Path,
    references: Sequence[str | None] = (None,),
    held_out: Sequence[str] | None = None,
    save_samples: bool = False,
    stop: Stop | None = None,
) -> list[Result] | None:
    """Draws `evaluation.num_samples` samples of a run and compares them with the reference, as `evaluate_drawing` does.

    Args:
      models: what draws, one model or a cascade.
      measured_by: protocols of the numbers, and their features.
      workdir: for results, and for finished batches while the work lasts.
      references: of each protocol, or one of all: "train", "eval", or what `compare.open_side` takes; None: what the
        protocol says, or the training images where others are held out.
      held_out: images that were not trained on, of each protocol or of all, named likewise: for the tests of copies and
        for FDr; None: there are none.
      save_samples: keep all samples, as files.
      stop: ends the work after a batch.

    Returns:
      The numbers of each protocol and then of each set of protocols, on the first process.

    Raises:
      InputError: samples are not finite, there are too few, or a reference was made otherwise.
      Interrupted: `stop`; the same call goes on.
    """
    config, c = models.config, models.config.evaluation
    roundings = roundings_of(protocol for protocol, _ in measured_by)
    request = Request(c.num_samples, c.batch_size, c.seed, roundings, config.sampling.label)
    named = each_reference(["train"] if held_out and list(references) == [None] else references, len(measured_by))
    sides = [_side_of_run(models, *how, name) for how, name in zip(measured_by, named, strict=True)]
    others = [None] if held_out is None else held_out
    fresh = [
        None if name is None else _side_of_run(models, *how, name)
        for how, name in zip(measured_by, each_reference(others, len(measured_by)), strict=True)
    ]
    plain = measured_by[0][0] is PLAIN and named[0] is None
    beside = open_images(models, "train_split") if plain else None
    return evaluate_drawing(
        of_cascade(models, request),
        request,
        [Measure(*how, side, other) for how, side, other in zip(measured_by, sides, fresh, strict=True)],
        workdir=workdir,
        # Another reference than the data of the run may number its classes otherwise.
        classes=bool(models.num_classes),
        beside=None if beside is None else spread(beside, c.num_samples),
        save_samples=save_samples,
        stop=stop,
    )


def each_reference(references: Sequence[Any], count: int) -> Sequence[Any]:
    """Returns the reference of each of `count` protocols, of which there may be one for all.

    Raises:
      InputError: there are others, or one has no name.
    """
    if any(isinstance(reference, str) and not reference for reference in references):
        raise InputError("A reference has no name: give one, or one for each protocol with commas between them.")
    if len(references) not in (1, count):
        raise InputError(
            f"{len(references)} references for {count} protocols: give one, or one for each protocol in its order."
        )
    return list(references) * (count if len(references) == 1 else 1)


def _side_of_run(models: Cascade, protocol: Protocol, extractor: FeatureExtractor, name: str | None) -> Side:
    """The reference of a run that is called so."""
    name = name or ("eval" if protocol is PLAIN else "train")
    if name in _SPLITS:
        return Side(name, None, open_images(models, f"{name}_split", as_trained=True), kept=True)
    data = models.config.data
    return open_side(name, protocol, extractor, channels=data.channels, data_dir=data.data_dir)


def evaluate_drawing(
    drawing: Drawing,
    request: Request,
    measures: Sequence[Measure],
    *,
    workdir: Path | None,
    classes: bool = False,
    beside: Source | None = None,
    save_samples: bool = False,
    stop: Stop | None = None,
) -> list[Result] | None:
    """Draws samples once, compares them with each reference, and writes the files of the verb.

    Args:
      drawing: what draws.
      request: which samples, with the roundings of all measures.
      measures: protocols, features and references.
      workdir: for results, and for finished batches while the work lasts; None: for neither.
      classes: labels of samples and of references that are kept name the same classes.
      beside: training images, of which as many as there are samples are measured too, by the first measure.
      save_samples: keep all samples, as files in the workdir.
      stop: ends the work after a batch.

    Returns:
      The numbers of each measure and then of each set of protocols, on the first process.

    Raises:
      InputError: samples are not finite, there are too few, or a reference was made otherwise.
      Interrupted: `stop`; the same call goes on.
    """
    for measure in measures:
        metrics.check_counts(generated=request.count, real=measure.side.count)
        for side in measure.sides:
            check_length(side, measure.extractor, drawing.image_shape)
        if measure.held_out is not None:
            check_each_of(measure.protocol, measure.sides)
            check_held_out(measure.held_out, measure.side, request.count, measure.protocol)
    samples = draw_features(
        drawing,
        measures,
        request,
        folder=workdir and workdir / f"{measures[0].stem}_parts",
        shards=_shards(measures, request, workdir) if workdir and save_samples else None,
        stop=stop,
    )
    how = (drawing.mesh, request.batch_size, workdir, stop)
    reals = [_reference_features(measure, measure.side, *how) for measure in measures]
    fresh = [
        None if measure.held_out is None else _reference_features(measure, measure.held_out, *how)
        for measure in measures
    ]
    found: dict[str, Any] = {}
    if beside is not None:
        assert reals[0] is not None
        found = beside_real_and_noise(
            beside, request.count, reals[0], drawing.mesh, measures[0].extractor, request.seed
        )

    def finish() -> list[Result]:
        results = []
        near: dict[Rounding, tuple[np.ndarray, np.ndarray] | None] = {}
        for place, (measure, real) in enumerate(zip(measures, reals, strict=True)):
            assert real is not None
            named = classes and measure.side.kept
            extra, rounding = found if place == 0 else {}, measure.protocol.rounding
            sets = (real, fresh[place])
            if workdir is not None and rounding not in near:  # samples of one rounding are the same
                near[rounding] = _neighbours(drawing, samples.images[place][:NEIGHBOURS])
            how = (extra, near.get(rounding), workdir)
            results.append(_finished(drawing, request, measure, samples, place, sets, *how, classes=named))
        results += _of_sets(results, workdir)
        if samples.parts is not None:
            samples.parts.remove()
        return results

    return on_first_process(finish)


def _of_sets(results: Sequence[Result], workdir: Path | None) -> list[Result]:
    """The numbers of each set of protocols all of which were measured, after its file is written."""
    found = []
    by_name = {result.values["protocol"]: result.values for result in results}
    for name, members in SETS.items():
        if all(member in by_name for member in members):
            values = joint_values(name, [by_name[member] for member in members])
            result = Result(values, metrics.lines(values), workdir and workdir / f"evaluation_{name}.json")
            if result.path is not None:
                write_json(result.path, values)
            found.append(result)
    return found


def _shards(measures: Sequence[Measure], request: Request, workdir: Path) -> dict[str, Shards]:
    """What keeps the samples, once for each rounding, in the folder of the first measure that rounds so."""
    folders: dict[str, Shards] = {}
    for measure in measures:
        name = image_name(measure.protocol.rounding, request.roundings)
        folders.setdefault(name, Shards(workdir / f"{measure.stem}_samples"))
    return folders


def _finished(
    drawing: Drawing,
    request: Request,
    measure: Measure,
    samples: Samples,
    place: int,
    sets: tuple[FeatureSet, FeatureSet | None],
    found: dict[str, Any],
    near: tuple[np.ndarray, np.ndarray] | None,
    workdir: Path | None,
    *,
    classes: bool,
) -> Result:
    """The numbers of the measure at this place, after its files are written."""
    (real, held_out), generated, extractor = sets, samples.features[place], measure.extractor
    values = metrics.measure(
        measure.protocol,
        generated=generated,
        real=real,
        name=extractor.name,
        logits=extractor.logits,
        seed=request.seed,
        held_out=held_out,
    )
    fid, line = metrics.name_of("fid", extractor.name, None), None
    if measure.protocol.frechet:
        line = metrics.by_count(generated, real)
        values |= metrics.at_infinity(fid, line)
    values |= found
    check_result(values)
    facts = _facts(drawing, measure, request, samples, generated, sets, metrics.names(values))
    result = Result(values | facts, metrics.lines(values), workdir and workdir / f"{measure.stem}.json")
    if result.path is not None:
        _write(result, generated, samples.images[place])
        by = by_class(generated, real) if classes else {}
        page = result.path.with_suffix(".html")
        _write_page(page, drawing, samples.images[place], near, values, facts, (fid, line), by)
    return result


def _reference_features(
    measure: Measure, side: Side, mesh: Mesh, batch_size: int, workdir: Path | None, stop: Stop | None
) -> FeatureSet | None:
    """None on processes that do not need it."""
    extractor = measure.extractor
    if not side.kept:
        return features_of(side, measure.protocol, extractor, mesh, batch_size=batch_size)
    assert side.source is not None and workdir is not None
    facts, parts = facts_of(measure.protocol, extractor), workdir / "reference_parts"
    return cached_source_features(
        side.source, mesh, extractor, batch_size=batch_size, facts=facts, parts=parts, stop=stop
    )


def _facts(
    drawing: Drawing,
    measure: Measure,
    request: Request,
    samples: Samples,
    generated: FeatureSet,
    sets: tuple[FeatureSet, FeatureSet | None],
    measured: list[str],
) -> dict[str, Any]:
    """How the numbers came about."""
    real, held_out = sets
    return measurement(
        "evaluation",
        measured,
        num_samples=request.count,
        protocol=measure.protocol.name,
        **generated.facts,
        reference=real.facts,
        **({} if held_out is None else {"held_out": held_out.facts}),
        **drawing.facts,
        seed=request.seed,
        **samples.cost,
        arithmetic=f"network {drawing.arithmetic}, features float32, statistics float64",
    )


def _write(result: Result, generated: FeatureSet, images: UInt8[np.ndarray, "k h w c"]) -> None:
    """The files of the numbers."""
    assert result.path is not None
    save_png(result.path.with_suffix(".png"), grid(images, columns=10))
    feature_set.save(result.path.with_suffix(".npz"), dataclasses.replace(generated, features=None, labels=None))
    write_json(result.path, result.values)


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
    images: UInt8[np.ndarray, "k h w c"],
    near: tuple[np.ndarray, np.ndarray] | None,
    values: dict[str, Any],
    facts: dict[str, Any],
    by_count: tuple[str, Extrapolated | None],
    classes: dict[str, float],
) -> None:
    """The page, or a line that says why there is none: the numbers are written."""
    page = EvaluationPage(
        title=f"{facts['protocol']}: {facts['num_samples']:,} samples of {drawing.named}",
        summary=values.get("warning", ""),
        numbers=metrics.rows(values),
        samples=images,
        neighbours=near,
        metric=by_count[0],
        by_count=by_count[1],
        by_class=classes,
        facts=facts,
        config_text=drawing.about,
    )
    try:
        write_evaluation_page(path, page)
    except InputError as error:
        print(f"No {path.name}: {error}", flush=True)
