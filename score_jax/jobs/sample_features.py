"""Features of samples that are drawn once, as the protocols of one or several evaluators see them."""

import contextlib
import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Int, UInt8

from score_jax.evaluation.feature_set import Collector, FeatureSet
from score_jax.evaluation.features import FeatureExtractor
from score_jax.evaluation.protocols import PLAIN, Protocol
from score_jax.jobs.compare import Side, facts_of
from score_jax.jobs.drawing import Drawing, Request
from score_jax.jobs.feature_sets import KEPT, View, answers_of, sample_batches, seen
from score_jax.jobs.sample import image_name
from score_jax.runtime.parts import Parts, parts_of
from score_jax.runtime.results import write_arrays
from score_jax.runtime.stop import Stop
from score_jax.typing import Rounding

SHOWN = 100
"""Samples of the picture."""


@dataclasses.dataclass(frozen=True, eq=False)
class Measure:
    """The numbers of one evaluator, beside those of others from the same samples.

    Attributes:
      protocol: of the numbers.
      extractor: of the features.
      side: the reference.
      held_out: images that were not trained on, where the reference are those that were; None: they are not asked for.
    """

    protocol: Protocol
    extractor: FeatureExtractor
    side: Side
    held_out: Side | None = None

    @property
    def sides(self) -> list[Side]:
        """Sets that samples are compared with."""
        return [self.side] if self.held_out is None else [self.side, self.held_out]

    @property
    def stem(self) -> str:
        """The name of its files, without the suffix."""
        return "evaluation" if self.protocol is PLAIN else f"evaluation_{self.protocol.name}"

    @property
    def facts(self) -> dict[str, Any]:
        """Of its features, see `compare.facts_of`, of samples rounded as the protocol rounds."""
        return facts_of(self.protocol, self.extractor) | {"rounding": self.protocol.rounding}


@dataclasses.dataclass(frozen=True, eq=False)
class Samples:
    """Samples as the metrics see them.

    Attributes:
      features: of all, as each of the measures sees them.
      images: the first ones (k, h, w, c), as each of the measures rounds them.
      nfe: evaluations of the model for each (n,); none where that is not known.
      parts: what was kept of the work while it lasted; None: nothing.
    """

    features: tuple[FeatureSet, ...]
    images: tuple[UInt8[np.ndarray, "k h w c"], ...]
    nfe: Int[np.ndarray, "n"]
    parts: Parts | None

    @property
    def cost(self) -> dict[str, Any]:
        """Evaluations of the model per sample, for a result's file."""
        return {"nfe_mean": float(self.nfe.mean()), "nfe_max": int(self.nfe.max())} if self.nfe.size else {}


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
        """Writes what is left, and removes files of an earlier evaluation with more samples."""
        if self._waiting:
            self._write(len(self._waiting))
        if jax.process_index() == 0:
            for path in self._folder.glob("samples_*.npz"):
                number = path.stem.removeprefix("samples_")
                if number.isdigit() and int(number) >= self._written:
                    path.unlink()

    def _write(self, count: int) -> None:
        images, labels = zip(*self._waiting[:count], strict=True)
        del self._waiting[:count]
        if jax.process_index() == 0:
            path = self._folder / f"samples_{self._written:05d}.npz"
            write_arrays(path, {"arr_0": np.stack(images), "arr_1": np.array(labels)})
        self._written += 1


def roundings_of(protocols: Iterable[Protocol]) -> tuple[Rounding, ...]:
    """Returns the ways in which these protocols round samples, each once, the first one's first."""
    return tuple(dict.fromkeys(protocol.rounding for protocol in protocols))


def _views(measures: Sequence[Measure]) -> tuple[list[View], list[int]]:
    """The different ways in which the measures see the samples, and which of them is that of each measure."""
    views: dict[str, View] = {}
    places = []
    for measure in measures:
        key = json.dumps(measure.facts, sort_keys=True)
        views.setdefault(key, View(measure.extractor, measure.protocol.rounding))
        places.append(list(views).index(key))
    return list(views.values()), places


def _what(drawing: Drawing, measures: Sequence[Measure], request: Request) -> dict[str, Any]:
    """What tells this work from other work in the same folder, JSON-able."""
    how = (drawing.mesh, drawing.image_shape, request.batch_size)
    answers = [answers_of(measure.extractor, *how) for measure in measures]
    return drawing.identity | {
        "request": dataclasses.asdict(request),
        "measures": [measure.facts for measure in measures],
        "answers": answers,
    }


def draw_features(
    drawing: Drawing,
    measures: Sequence[Measure],
    request: Request,
    *,
    folder: Path | None,
    shards: Mapping[str, Shards] | None = None,
    stop: Stop | None = None,
) -> Samples:
    """Draws samples once and keeps their features, as all measures see them.

    Args:
      drawing: what draws.
      measures: what is measured.
      request: which samples, with the roundings of all measures.
      folder: where finished batches are kept while the work lasts; None: nowhere. Another function of features, even
        of the same name, begins anew beside them.
      shards: by a name of images, see `image_name`, what takes these of all samples; None: none.
      stop: ends the work after a batch.

    Raises:
      InputError: samples are not finite, or the model draws none.
      Interrupted: `stop`; the same call goes on.
    """
    request, shards = dataclasses.replace(request, images=request.count if shards else SHOWN), shards or {}
    views, places = _views(measures)
    parts = None if folder is None else parts_of(folder, _what(drawing, measures, request))
    names = [image_name(measure.protocol.rounding, request.roundings) for measure in measures]
    collectors = [Collector(request.count, KEPT) for _ in views]
    first: dict[str, list[np.ndarray]] = {name: [] for name in names}
    evaluations: list[np.ndarray] = []
    batches = sample_batches(drawing, views, request, parts=parts, stop=stop)
    with contextlib.closing(batches):  # so that the progress bar ends before an error is printed
        for columns in batches:
            evaluations.append(columns.get("nfe", np.zeros(0, int)))
            for name, images in first.items():
                if name in columns and sum(map(len, images)) < SHOWN:
                    images.append(columns[name][:SHOWN])
            for name, taker in shards.items():
                taker.add(columns[name], columns["label"])
            for place, collector in enumerate(collectors):
                collector.add(seen(columns, place))
    for taker in shards.values():
        taker.close()
    found = [collectors[place].result(measure.facts) for place, measure in zip(places, measures, strict=True)]
    images_of = {name: np.concatenate(images)[:SHOWN] for name, images in first.items()}
    return Samples(tuple(found), tuple(images_of[name] for name in names), np.concatenate(evaluations), parts)
