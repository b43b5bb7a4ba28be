"""One function for all samplers: noise in, images out."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree

from score_jax.arrays import fold_in_each, keys_per_example
from score_jax.errors import InputError
from score_jax.prediction.predictor import ConditionalPredictor, Conditions, with_conditions
from score_jax.processes.gaussian import GaussianProcess, NoiseSchedule
from score_jax.processes.noise import brownian
from score_jax.samplers.chain import RememberingStep, run_chain
from score_jax.samplers.ode import AdaptiveODE, integrate_drift
from score_jax.samplers.reverse_sde import AdaptiveSDE, integrate_reverse_sde
from score_jax.samplers.steps import Step
from score_jax.typing import Batch, KeyArray, KeyBatch


@dataclasses.dataclass(frozen=True, eq=False)
class FixedSteps:
    """A step rule on a grid.

    Attributes:
      step: the rule.
      grid: decreasing times (N + 1,).
      nfe: evaluations of the model in all.
      memory: for a multistep rule, what it begins with, made from x.
    """

    step: Step | RememberingStep
    grid: Float[Array, "n"]
    nfe: int
    memory: Callable[[Batch], PyTree] | None = None


@dataclasses.dataclass(frozen=True)
class Sampler:
    """How to turn noise into data.

    Attributes:
      method: a step rule on a grid, or an adaptive solve of the probability-flow ODE or of the reverse SDE.
      t_min: where to stop: 1e-3 for VP and sub-VP, 1e-5 for VE (Song et al. 2021, appendix C), -1 for a chain.
      denoise: end with the model's x0 at t_min (Tweedie's mean), one evaluation more.
      initial: `initial(keys, like)` draws the state to begin with; None: from the process's prior.
      temperature: factor on the initial state (Song et al. 2021, appendix D.4); below 1: fewer, cleaner modes.
    """

    method: FixedSteps | AdaptiveODE | AdaptiveSDE
    t_min: float
    denoise: bool
    initial: Callable[[KeyBatch, Batch], Batch] | None = None
    temperature: float = 1.0


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
    predictor: ConditionalPredictor,
    process: NoiseSchedule,
    sampler: Sampler,
    key: KeyArray,
    indices: Int[Array, "b"],
    shape: tuple[int, ...],
    *,
    num_saved: int = 0,
    initial: Batch | None = None,
    conditions: Conditions = None,
) -> Samples:
    """Draws samples; sample i depends on `key` and on the global index i alone.

    Args:
      predictor: the model, guided or not; with `conditions`, `predictor(x, t, conditions)`.
      process: the process whose times the sampler walks.
      sampler: the method.
      key: one key for the whole set.
      indices: global indices (b,) of the samples to draw.
      shape: shape of one sample, e.g. (h, w, c).
      num_saved: how many states of the trajectory to keep, evenly spaced (0 or at least 2).
      initial: the state (b, *shape) to begin with, where it is not the sampler's to draw.
      conditions: what the model is with_conditions of each sample, arrays (b, ...).

    Raises:
      InputError: an adaptive sampler for a chain of levels; a reverse SDE that is to end in the data.

    >>> import jax
    >>> from score_jax.prediction.predictor import score_predictor
    >>> from score_jax.processes.gaussian import VP
    >>> model = score_predictor(lambda x, t: -x, VP())
    >>> method = Sampler(AdaptiveODE(rtol=1e-3, atol=1e-3), t_min=1e-3, denoise=False)
    >>> samples = sample(model, VP(), method, jax.random.key(0), jax.numpy.arange(4), (2,))
    >>> samples.x.shape, bool(samples.ok.all())
    ((4, 2), True)
    """
    keys = keys_per_example(key, indices)
    like = jnp.zeros((indices.shape[0], *shape), jnp.result_type(float))
    if initial is None:
        begin = process.prior_sample if sampler.initial is None else sampler.initial
        initial = sampler.temperature * begin(fold_in_each(keys, 0), like)
    keys = fold_in_each(keys, 1)
    if isinstance(sampler.method, AdaptiveODE):
        solved = _along_the_flow(predictor, process, sampler, sampler.method, initial, num_saved, conditions)
    elif isinstance(sampler.method, AdaptiveSDE):
        solved = _in_reverse(predictor, process, sampler, sampler.method, keys, initial, num_saved, conditions)
    else:
        method, model = sampler.method, with_conditions(predictor, conditions)
        num_steps = method.grid.shape[0] - 1
        saved = tuple(round(i * num_steps / (num_saved - 1)) for i in range(num_saved))
        memory = None if method.memory is None else method.memory(initial)
        walk = run_chain(method.step, model, brownian(keys, initial), initial, method.grid, saved, memory)
        count, times = initial.shape[:1], method.grid[jnp.asarray(saved, int)]
        solved = Samples(walk.mean, jnp.full(count, method.nfe), jnp.ones(count, bool), walk.kept, times)
    x, nfe, trajectory = solved.x, solved.nfe, solved.trajectory
    if sampler.denoise:
        x, nfe = with_conditions(predictor, conditions)(x, jnp.full(indices.shape, sampler.t_min, x.dtype)).x0, nfe + 1
    if num_saved:
        trajectory = trajectory.at[-1].set(x)
    return dataclasses.replace(solved, x=x, nfe=nfe, trajectory=trajectory)


_OF_CHAINS = "A chain of levels has no {}: choose a process in continuous time, or another sampler."


def _along_the_flow(
    predictor: ConditionalPredictor,
    process: NoiseSchedule,
    sampler: Sampler,
    ode: AdaptiveODE,
    x: Batch,
    num_saved: int,
    conditions: Conditions,
) -> Samples:
    """From the initial state to t_min by the ODE, before any denoising."""
    if not isinstance(process, GaussianProcess):
        raise InputError(_OF_CHAINS.format("ODE"))
    times = jnp.linspace(process.t_max, sampler.t_min, num_saved)
    ts = times if num_saved else None
    solved = integrate_drift(predictor, process, x, process.t_max, sampler.t_min, ode, ts, conditions)
    trajectory = jnp.moveaxis(solved.kept, 1, 0) if num_saved else jnp.zeros((0, *x.shape), x.dtype)
    return Samples(solved.y, solved.nfe, solved.ok, trajectory, times)


def _in_reverse(
    predictor: ConditionalPredictor,
    process: NoiseSchedule,
    sampler: Sampler,
    sde: AdaptiveSDE,
    keys: KeyBatch,
    x: Batch,
    num_saved: int,
    conditions: Conditions,
) -> Samples:
    """From the initial state to t_min by the SDE, before any denoising."""
    if not isinstance(process, GaussianProcess):
        raise InputError(_OF_CHAINS.format("SDE"))
    times = tuple(np.linspace(process.t_max, sampler.t_min, num_saved).tolist())
    solved = integrate_reverse_sde(predictor, process, keys, x, sampler.t_min, sde, times, conditions)
    return Samples(solved.x, solved.nfe, solved.ok, jnp.moveaxis(solved.kept, 1, 0), jnp.asarray(times))
