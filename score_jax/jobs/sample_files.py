"""The files of `sample`: images, a picture of them and how they came about, with no more than a part in memory."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Int, Shaped

from score_jax.evaluation.image_grid import save_png
from score_jax.evaluation.pictures import picture
from score_jax.jobs.cascades import Cascade, cascade_sampler, check_last_finite
from score_jax.jobs.sample import drawn_batches
from score_jax.runtime.parts import Parts
from score_jax.runtime.results import provenance, write_joined, write_json
from score_jax.runtime.stop import Stop

_SHOWN, _SHOWN_BYTES = 256, 2**26
"""Samples of the picture: so many of any size, and others as long as they are of so few bytes."""


@dataclasses.dataclass(frozen=True, eq=False)
class Written:
    """What is remembered of samples whose images are in a file.

    Attributes:
      nfe: evaluations of the model per sample (n,).
      labels: their classes (n,).
      shown: the first images (k, h, w, c).
    """

    nfe: Int[np.ndarray, "n"]
    labels: Int[np.ndarray, "n"]
    shown: Shaped[np.ndarray, "k h w c"]


def draw_samples(models: Cascade, count: int, parts: Parts, stop: Stop | None = None) -> Written:
    """Draws `count` samples as the section `sampling` says; their images are in the parts then.

    Raises:
      InputError: samples are not finite.
      Interrupted: `stop`; the same call with the same parts goes on.
    """
    c, indices = models.config.sampling, np.arange(count, dtype=np.int32)
    sampler = cascade_sampler(models, seed=c.seed, label=c.label)
    shown: list[np.ndarray] = []
    known: list[tuple[np.ndarray, ...]] = []
    for columns in drawn_batches(sampler, models.mesh, indices, batch_size=c.batch_size, parts=parts, stop=stop):
        known.append((columns["nfe"], columns["label"], columns["finite"]))
        if sum(map(len, shown)) < _SHOWN or sum(images.nbytes for images in shown) < _SHOWN_BYTES:
            shown.append(columns["image"])
    nfe, labels, finite = (np.concatenate(column) for column in zip(*known, strict=True))
    check_last_finite(models, finite, indices)
    return Written(nfe, labels, np.concatenate(shown))


def write_samples(folder: Path, models: Cascade, written: Written, parts: Parts) -> None:
    """Writes samples.npz, samples.png and samples.json of samples that were drawn; on the first process."""
    count, c = len(written.nfe), models.config.sampling

    def images() -> Iterator[np.ndarray]:
        for start in range(0, count, c.batch_size):
            yield parts.read(start)["image"]

    labels = {"arr_1": written.labels} if models.stages[0].num_classes else {}
    write_joined(folder / "samples.npz", "arr_0", images(), count, labels)
    save_png(folder / "samples.png", picture(written.shown))
    summary = {"count": count, "nfe_mean": float(written.nfe.mean()), "nfe_max": int(written.nfe.max())}
    facts = models.facts(c.seed)
    if "sampler" in facts:
        facts["sampler"] |= {"guidance": facts.pop("guidance")}
    write_json(folder / "samples.json", summary | provenance(**facts, seed=c.seed, rounding="truncated"))
