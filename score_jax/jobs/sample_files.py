"""The files of `sample`: images, a picture of them and how they came about, with no more than a part in memory."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int, Shaped

from score_jax.evaluation.image_grid import save_png
from score_jax.evaluation.pictures import picture
from score_jax.jobs.cascades import Cascade, cascade_sampler, check_last_finite
from score_jax.jobs.sample import drawn_batches
from score_jax.runtime.parts import Columns, Parts, joined
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


def sample_batches(models: Cascade, count: int, parts: Parts, stop: Stop | None = None) -> Iterator[Columns]:
    """Returns the batches of `count` samples as the section `sampling` says; their images are in the parts afterwards.

    Raises:
      Interrupted: `stop`; the same call with the same parts goes on.
    """
    c, indices = models.config.sampling, np.arange(count, dtype=np.int32)
    sampler = cascade_sampler(models, seed=c.seed, label=c.label)
    return drawn_batches(sampler, models.mesh, indices, batch_size=c.batch_size, parts=parts, stop=stop)


def remembered(columns: Columns, before: Sequence[Columns]) -> Columns:
    """Returns what is kept in memory of a batch: its images only while those `before` are too few for the picture."""
    images = [batch["image"] for batch in before]
    is_shown = sum(map(len, images)) < _SHOWN or sum(each.nbytes for each in images) < _SHOWN_BYTES
    kept = {name: columns[name] for name in ("nfe", "label", "finite")}
    return kept | {"image": columns["image"] if is_shown else np.empty_like(columns["image"][:0])}


def checked(models: Cascade, batches: list[Columns]) -> Written:
    """Returns what is known of samples by their batches, of which `remembered` was kept.

    Raises:
      InputError: samples are not finite.
    """
    whole = joined(batches)
    check_last_finite(models, whole["finite"], np.arange(len(whole["nfe"]), dtype=np.int32))
    return Written(whole["nfe"], whole["label"], whole["image"])


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
