"""What an evaluation knows of what draws its samples: of a run, a cascade, or any function."""

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import numpy as np
from jax.sharding import Mesh
from jaxtyping import Int

from score_jax.data.sources import Source
from score_jax.jobs.cascades import Cascade, cascade_sampler, check_last_finite, open_images
from score_jax.jobs.sample import RANDOM_LABEL, BatchSampler, labels_named
from score_jax.runtime.parts import Columns
from score_jax.typing import Rounding


@dataclasses.dataclass(frozen=True)
class Request:
    """Which samples are drawn, and how.

    Attributes:
      count: how many: those of indices 0 to count - 1.
      batch_size: at a time, on each device.
      seed: of the whole set.
      roundings: to uint8, each of which is wanted; the first is that of the pictures.
      label: class of all of them, `RANDOM_LABEL` or `BALANCED_LABELS`.
      images: of how many of the first the pixels are kept.
    """

    count: int
    batch_size: int
    seed: int
    roundings: tuple[Rounding, ...]
    label: int = RANDOM_LABEL
    images: int = 100


@dataclasses.dataclass(frozen=True, eq=False)
class Drawing:
    """What draws samples.

    Attributes:
      sampler: of their batches, of which sample i is the same in any.
      check: raises InputError where samples of these numbers (n,) are none, from the arrays of the sampler but images.
      mesh: all devices.
      image_shape: (h, w, c) of a sample.
      identity: what tells its samples from others, JSON-able, beside how they are asked for.
      named: for a title.
      facts: how it draws, for a result's file.
      arithmetic: what its networks compute in.
      about: its config, for a page.
      training: opens the images that it was trained on; None where they are not known.
    """

    sampler: BatchSampler
    check: Callable[[Columns, Int[np.ndarray, "n"]], None]
    mesh: Mesh
    image_shape: tuple[int, int, int]
    identity: dict[str, Any]
    named: str
    facts: dict[str, Any]
    arithmetic: str
    about: str
    training: Callable[[], Source] | None = None


def _labels_named(models: Cascade, request: Request) -> str:
    """How the samples get their classes."""
    if "label" in models.stages[0].given.conditions:
        return "those of the images that are enlarged"
    return labels_named(request.label, models.stages[0].num_classes)


def of_cascade(models: Cascade, request: Request) -> Drawing:
    """Returns one model, or several that draw one after another, as what draws the samples asked for.

    Raises:
      InputError: there is no such class.
    """

    def check(columns: Columns, numbers: Int[np.ndarray, "n"]) -> None:
        check_last_finite(models, columns["finite"], numbers)

    return Drawing(
        cascade_sampler(models, seed=request.seed, label=request.label, roundings=request.roundings),
        check,
        models.mesh,
        models.image_shape,
        identity=models.identity(request.count),
        named=models.named,
        facts=models.facts(request.seed) | {"labels": _labels_named(models, request)},
        arithmetic=models.dtype,
        about=json.dumps(models.config.to_dict(), indent=2),
        training=lambda: open_images(models, "train_split"),
    )
