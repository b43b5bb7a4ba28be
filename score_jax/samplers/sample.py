"""One function for all samplers: noise in, images out."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from score_jax.arrays import fold_in_each, keys_per_example
from score_jax.errors import InputError
from score_jax.predictor import Predictor
from score_jax.processes.chain import Chain
from score_jax.processes.gaussian import GaussianProcess, NoiseSchedule
from score_jax.samplers import grids
from score_jax.samplers.chain import run_chain
from score_jax.samplers.ode import AdaptiveODE, integrate_drift
from score_jax.samplers.steps import Step
from score_jax.typing import Batch, KeyArray


@dataclasses.dataclass(frozen=True)
class FixedSteps:
    """A step rule on an even grid from the process's t_max to the sampler's t_min.

    Attributes:
      step: the rule.
      num_steps: how often it is applied.
      nfe_per_step: evaluations of the model in one application.
    """

    step: Step
    num_steps: int
    nfe_per_step: int


@dataclasses.dataclass(frozen=True)
class Sampler:
    """How to turn noise into data.

    Attributes:
      method: a step rule on a grid, or the adaptive probability-flow ODE.
      t_min: where to stop: 1e-3 for VP and sub-VP, 1e-5 for VE (Song et al. 2021, appendix C), 0 for a chain.
      denoise: end with the model's x0 at t_min (Tweedie's mean), one evaluation more.
    """

    method: FixedSteps | AdaptiveODE
    t_min: float
    denoise: bool


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Samples:
    """What a sampler returns.

    Attributes:
      x: samples (b, ...).
      nfe: evaluations of the model per example (b,).
      ok: False where an adaptive solve gave up (b,).
      trajectory: states (k, b, ...) at decreasing times `times` (k,), from noise to `x`; k = 0 unless asked for.
    """

    x: Batch
    nfe: Int[Array, "b"]
    ok: Bool[Array, "b"]
    trajectory: Float[Array, "k b ..."]
    times: Float[Array, "k"]


def sample(
    predictor: Predictor,
    process: NoiseSchedule,
    sampler: Sampler,
    key: KeyArray,
    indices: Int[Array, "b"],
    shape: tuple[int, ...],
    *,
    num_saved: int = 0,
) -> Samples:
    """Draws samples; sample i depends on `key` and on the global index i alone.

    Args:
      predictor: the model, guided or not.
      process: the process it was trained on.
      sampler: the method.
      key: one key for the whole set.
      indices: global indices (b,) of the samples to draw.
      shape: shape of one sample, e.g. (h, w, c).
      num_saved: how many states of the trajectory to keep, evenly spaced (0 or at least 2).

    Raises:
      InputError: an ODE sampler for a chain of levels.
    """
    keys = keys_per_example(key, indices)
    like = jnp.zeros((indices.shape[0], *shape), jnp.result_type(float))
    x = process.prior_sample(fold_in_each(keys, 0), like)
    method, t_min = sampler.method, sampler.t_min
    if isinstance(method, AdaptiveODE):
        if not isinstance(process, GaussianProcess):
            raise InputError("A chain of levels has no ODE: choose a process in continuous time, or another sampler.")
        times = jnp.linspace(process.t_max, t_min, num_saved)
        solved = integrate_drift(predictor, process, x, process.t_max, t_min, method, times if num_saved else None)
        x, nfe, ok = solved.y, solved.nfe, solved.ok
        trajectory = jnp.moveaxis(solved.kept, 1, 0) if num_saved else jnp.zeros((0, *x.shape), x.dtype)
    else:
        spaced = grids.uniform_indices if isinstance(process, Chain) else grids.uniform
        grid = spaced(method.num_steps, t_min, process.t_max)
        saved = tuple(round(i * method.num_steps / (num_saved - 1)) for i in range(num_saved))
        times = grid[jnp.asarray(saved, int)]
        x, trajectory = run_chain(method.step, predictor, fold_in_each(keys, 1), x, grid, saved)
        nfe = jnp.full(indices.shape, method.num_steps * method.nfe_per_step)
        ok = jnp.ones(indices.shape, bool)
    if sampler.denoise:
        x, nfe = predictor(x, jnp.full(indices.shape, t_min, x.dtype)).x0, nfe + 1
    if num_saved:
        trajectory = trajectory.at[-1].set(x)
    return Samples(x, nfe, ok, trajectory, times)
