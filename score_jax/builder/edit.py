"""The `edit` section of a config, and a sampler that blends what it paints into images (Avrahami et al. 2022)."""

import dataclasses
from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from score_jax.arrays import normal_per_example
from score_jax.builder.naming import check_counts, choose
from score_jax.errors import InputError
from score_jax.guidance.measurements import Measurement, believing, blended_after
from score_jax.guidance.text import Loss, pulled
from score_jax.prediction.predictor import Predictor
from score_jax.prediction.reverse import VARIANCES
from score_jax.processes.gaussian import NoiseSchedule
from score_jax.samplers import steps
from score_jax.samplers.sample import FixedSteps
from score_jax.typing import Batch, KeyBatch

Grid = Float[Array, "_"]


@dataclasses.dataclass(frozen=True)
class EditOptions:
    """The section; defaults are those of the published code.

    Attributes:
      skip: steps left out at the noisy end: the edit begins with the image at the noise level that follows.
      views: copies of an image that CLIP looks at, all but one of them warped at random.
      text_scale: factor of the distance between image and text.
      range_scale: factor of how far the belief leaves [-1, 1].
      perceptual_scale: factor of LPIPS outside the mask; 0: off, 1000 as published where it is on.
      square_scale: factor of the mean square there; 0: off, 10000 as published.
    """

    skip: int = 25
    views: int = 8
    text_scale: float = 1000.0
    range_scale: float = 50.0
    perceptual_scale: float = 0.0
    square_scale: float = 0.0

    def __post_init__(self):
        check_counts("edit", vars(self), ("views",))
        for key, value in dataclasses.asdict(self).items():
            if value < 0:
                raise InputError(f"edit.{key}={value}: give 0 (off) or more.")


def edit_options(config: ConfigDict) -> EditOptions:
    """The section as values.

    Raises:
      InputError: a value is out of range.
    """
    return EditOptions(**config.edit)


@dataclasses.dataclass(frozen=True)
class Edit:
    """An edit of images.

    Attributes:
      images: (b, ...), in the model's range.
      kept: what is kept of them.
      skip: steps left out at the noisy end.
      loss: what the edit is to make small.
    """

    images: Batch
    kept: Measurement
    skip: int
    loss: Loss


def begun(grid: Grid, skip: int) -> Grid:
    """The grid without its first steps.

    Raises:
      InputError: none is left.
    """
    count = len(grid) - 1
    if not 0 <= skip < count:
        raise InputError(f"edit.skip={skip} of {count} steps: give 0 to {count - 1}.")
    return grid[skip:]


def noised(process: NoiseSchedule, grid: Grid, images: Batch) -> Callable[[KeyBatch, Batch], Batch]:
    """What sampling begins with: the images at the first time of the grid."""

    def initial(keys: KeyBatch, like: Batch) -> Batch:
        return process.perturb(images, jnp.full(len(images), grid[0], images.dtype), normal_per_example(keys, images))

    return initial


def blending(config: ConfigDict, process: NoiseSchedule, grid: Grid, edit: Edit) -> FixedSteps:
    """The sampler, with what is kept blended in after every step; it ends in the model's belief.

    Raises:
      InputError: it is another than ancestral or ddim.
    """
    c = config.sampler
    rules: dict[str, Callable[[], steps.Step]] = {
        "ancestral": lambda: steps.pulled_ancestral(
            process, edit.loss, choose("sampler.variance", VARIANCES, c.variance)
        ),
        "ddim": lambda: believing(steps.ddim(process, c.eta)),
    }
    if c.name not in rules:
        raise InputError(f"A blend needs a sampler of one evaluation a step: --solver={' or '.join(rules)}.")
    y = edit.kept.operator(edit.images)
    return FixedSteps(blended_after(rules[c.name](), process, edit.kept, y, draws=1), grid, len(grid) - 1)


def guided(config: ConfigDict, model: Predictor, process: NoiseSchedule, edit: Edit) -> Predictor:
    """What the sampler sees of the model; an ancestral step shifts its mean by the gradient itself."""
    return model if config.sampler.name == "ancestral" else pulled(edit.loss, model, process)
