"""A sampler that blends what it paints into images (Avrahami et al. 2022)."""

import dataclasses
from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float

from score_jax.arrays import normal_per_example
from score_jax.builder.sampler_options import DDIM, Ancestral, SamplerOptions
from score_jax.errors import InputError
from score_jax.guidance.measurements import Measurement, blended_after, ending_in_x0
from score_jax.guidance.text import Loss, pulled
from score_jax.prediction.analytic_variance import Moments, variance_of
from score_jax.prediction.predictor import Predictor
from score_jax.processes.gaussian import NoiseSchedule
from score_jax.samplers import steps
from score_jax.samplers.sample import FixedSteps
from score_jax.typing import Batch, KeyBatch

Grid = Float[Array, "_"]


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


@dataclasses.dataclass(frozen=True)
class Start:
    """Images to begin with, noised, in the place of noise alone (Meng et al. 2022, SDEdit).

    Attributes:
      images: (b, ...), in the model's range.
      strength: share of the steps that are taken, above 0; 1: all, from the largest noise.
    """

    images: Batch
    strength: float


def steps_left_out(strength: float, count: int) -> int:
    """Returns how many of so many steps are left out for a strength; one at least is taken.

    Raises:
      InputError: the strength is not between 0 and 1.
    """
    if not 0 < strength <= 1:
        raise InputError(f"--strength={strength:g}: give a number above 0 and at most 1.")
    return min(count - 1, count - round(strength * count))


def check_blends(c: SamplerOptions) -> None:
    """Raises InputError where no edit can be made by this sampler: one of several evaluations a step."""
    if not isinstance(c, Ancestral | DDIM):
        raise InputError(
            "A blend needs a sampler with one network evaluation per step: give --solver=ancestral or ddim."
        )


def sdedit_start(grid: Grid, skip: int) -> Grid:
    """Returns the grid without its first steps (Meng et al. 2022, SDEdit).

    Raises:
      InputError: none is left.
    """
    count = len(grid) - 1
    if not 0 <= skip < count:
        raise InputError(f"edit.skip={skip} of {count} steps: give 0 to {count - 1}.")
    return grid[skip:]


def noised(process: NoiseSchedule, grid: Grid, images: Batch) -> Callable[[KeyBatch, Batch], Batch]:
    """Returns the initial state: the images at the noise of the grid's first time."""

    def initial(keys: KeyBatch, like: Batch) -> Batch:
        return process.perturb(images, jnp.full(len(images), grid[0], images.dtype), normal_per_example(keys, images))

    return initial


def blending(
    c: Ancestral | DDIM, process: NoiseSchedule, grid: Grid, edit: Edit, moments: Moments | None = None
) -> FixedSteps:
    """Returns the sampler, with what is kept blended in after every step; it ends in the predicted x0.

    `moments` are what an analytic variance needs.
    """
    if isinstance(c, Ancestral):
        rule = steps.pulled_ancestral(process, edit.loss, variance_of(c.variance, moments))
    else:
        rule = ending_in_x0(steps.ddim(process, c.eta))
    y = edit.kept.operator(edit.images)
    return FixedSteps(blended_after(rule, process, edit.kept, y, draws=1), grid, len(grid) - 1)


def guided(c: SamplerOptions, model: Predictor, process: NoiseSchedule, edit: Edit) -> Predictor:
    """Returns the predictor that the sampler uses; an ancestral step shifts its mean by the gradient itself."""
    return model if isinstance(c, Ancestral) else pulled(edit.loss, model, process)
