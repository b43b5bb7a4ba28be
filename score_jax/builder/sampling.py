"""The `sampler` section of a config: a step rule, its grid, and the coordinates it walks."""

import dataclasses
import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from score_jax.builder.edit import Edit, begun, blending, guided, noised
from score_jax.builder.grid import check_half_score, say_where_it_begins, time_grid
from score_jax.builder.naming import check_counts, choose
from score_jax.errors import InputError, unknown_name
from score_jax.guidance import classifier, classifier_free
from score_jax.guidance.measurements import Measurement, held_after
from score_jax.prediction import coordinates, predictor
from score_jax.prediction.coordinates import View, log_prob_seen, seen
from score_jax.prediction.predictor import Predictor
from score_jax.prediction.reverse import VARIANCES
from score_jax.processes.chain import DATA, Chain
from score_jax.processes.gaussian import VE, VP, GaussianProcess, LinearVE, NoiseSchedule
from score_jax.processes.respacing import kept_levels, respace
from score_jax.samplers import dpm_solver, grids, langevin, steps
from score_jax.samplers.discretised import Discretised, discretised
from score_jax.samplers.heun import Churn, first_order, second_order
from score_jax.samplers.ode import AdaptiveODE
from score_jax.samplers.sample import FixedSteps, Sampler
from score_jax.samplers.steps import Step
from score_jax.typing import Batch, KeyBatch, Time

LogProb = Callable[[Batch, Time], Float[Array, "b"]]


@dataclasses.dataclass(frozen=True)
class Known:
    """What is known of the images: y (b, ...) of a measurement."""

    measurement: Measurement
    y: Batch


@dataclasses.dataclass(frozen=True)
class Guide:
    """A classifier: its log-probability of a condition, of the model's (x_t, t), and the scale of its gradient."""

    log_prob: LogProb
    scale: float | Float[Array, ""]


@dataclasses.dataclass(frozen=True, eq=False)
class Sampling:
    """How to sample a model.

    Attributes:
      process: whose times the sampler walks.
      sampler: the method.
      see: the model's predictor as the sampler sees it: in its coordinates, bounded and guided.
    """

    process: NoiseSchedule
    sampler: Sampler
    see: Callable[[Predictor], Predictor]


@dataclasses.dataclass(frozen=True)
class _Walk:
    """Where a sampler walks: the process and its times, how the model is asked, and score_sde's steps if it is its."""

    process: NoiseSchedule
    view: View
    grid: Float[Array, "n"]
    original: Discretised | None = None

    @property
    def num_steps(self) -> int:
        return len(self.grid) - 1


def _original(process: NoiseSchedule, values: ConfigDict) -> tuple[GaussianProcess, bool]:
    """The SDE that score_sde samples a process by, and whether its model is of discrete levels."""
    if isinstance(process, GaussianProcess):
        return process, False
    if values.name == "ve_chain":
        return VE(values.sigma_min, values.sigma_max), True
    return VP(values.get("beta_min", 0.1), values.get("beta_max", 20.0)), True


def _walk(config: ConfigDict, process: NoiseSchedule) -> _Walk:
    c = config.sampler
    if c.discretisation == "score_sde":
        sde, discrete = _original(process, config.process)
        t_min = 1e-3 if discrete and not isinstance(sde, VE) else 1e-5 if discrete else c.t_min
        original = discretised(sde, c.num_steps, t_min)
        grid = grids.levels(np.arange(c.num_steps))
        return _Walk(original.marginals, original.view(discrete=discrete), grid, original)
    if c.discretisation != "exact":
        choose("sampler.discretisation", {"exact": None, "score_sde": None}, c.discretisation)
    if c.name in ("heun", "euler"):
        ratio = functools.partial(_number, process.noise_to_signal)
        t_min = max(c.t_min, 0.0)
        sigma_min, sigma_max = c.sigma_min or ratio(t_min), c.sigma_max or ratio(process.t_max)
        grid = grids.karras(c.num_steps, sigma_min, sigma_max, c.rho)
        edm = LinearVE(sigma_max)
        if isinstance(process, Chain):
            edm = LinearVE(sigma_max, process.noise_to_signal(jnp.arange(float(process.num_levels))))
            grid = jnp.append(edm.time_at(grid[:-1]), 0.0)
        return _Walk(edm, coordinates.between(process, edm), grid)
    if isinstance(process, Chain):
        count = process.num_levels
        if c.name == "langevin":
            grid = grids.levels(np.arange(count), c.steps_per_level, end=None)
            return _Walk(process, coordinates.itself(), grid)
        kept = kept_levels(count, c.respacing) if c.respacing else grids.even_levels(count, c.num_steps)
        if len(kept) == 1:  # published code keeps the level of least noise, where no sampler can begin
            kept = grids.even_levels(count, 1)
        if c.respacing:
            say_where_it_begins(config, process, int(kept[-1]))
        if c.name == "dpm_solver_2s":  # asks between the levels of its grid
            return _Walk(process, coordinates.itself(), grids.levels(kept))
        spaced = respace(process, kept)
        return _Walk(spaced.chain, coordinates.of_levels(kept), grids.levels(np.arange(len(kept))))
    if c.respacing:
        raise InputError("sampler.respacing is of chains of levels; in continuous time give sampler.num_steps.")
    assert isinstance(process, GaussianProcess)
    return _Walk(process, coordinates.itself(), time_grid(config, process))


def _number(function: Callable[[Time], Time], t: float) -> float:
    with jax.ensure_compile_time_eval():
        return float(function(jnp.asarray(t)))


Rule = tuple[Step, int, int]
"""A step, the evaluations of the model in it, and its draws."""


def _predictors(config: ConfigDict, walk: _Walk, gradient: classifier.Gradient | None) -> dict[str, Callable[[], Rule]]:
    """The rules that lead from one time to the next."""
    c, process, original = config.sampler, walk.process, walk.original
    flow = c.probability_flow

    def reverse_diffusion() -> Rule:
        if flow:
            check_half_score(config, process, walk.grid)
        return steps.reverse_diffusion(process, probability_flow=flow), 1, 1

    rules: dict[str, Callable[[], Rule]] = {
        "none": lambda: (steps.stay, 0, 0),
        "ddim": lambda: (steps.ddim(process, c.eta), 1, 1),
        "reverse_diffusion": reverse_diffusion,
        "ancestral": lambda: (
            steps.ancestral(process, choose("sampler.variance", VARIANCES, c.variance), gradient),
            1,
            1,
        ),
    }
    if original is not None:
        large = isinstance(original.process, VP)
        rules["reverse_diffusion"] = lambda: (original.reverse_diffusion(probability_flow=flow), 1, 1)
        rules["ancestral"] = lambda: (steps.ancestral_of_score(original.kernels, large=large), 1, 1)
        rules["euler_maruyama"] = lambda: (original.euler_maruyama(probability_flow=flow), 1, 1)
    elif isinstance(process, GaussianProcess):
        rules["euler_maruyama"] = lambda: (steps.euler_maruyama(process, probability_flow=flow), 1, 1)
    return rules


def _correctors(config: ConfigDict, walk: _Walk) -> dict[str, Callable[[], Rule]]:
    """The rules that stay at a time."""
    c, count = config.sampler, config.sampler.corrector_steps
    kernels = walk.process if walk.original is None else walk.original.kernels
    by_snr = langevin.by_snr(kernels, c.snr) if walk.original is None else langevin.by_batch_snr(kernels, c.snr)
    return {
        "none": lambda: (steps.stay, 0, 0),
        "langevin": lambda: (langevin.langevin(by_snr, count), count, count),
        "ald": lambda: (langevin.langevin(langevin.by_std(kernels, c.snr, walk.process.sigma), count), count, count),
    }


def _method(config: ConfigDict, walk: _Walk, gradient, known: Known | None) -> FixedSteps:
    """The step rule and its cost."""
    c, process = config.sampler, walk.process
    churn = Churn(c.churn / c.num_steps, c.churn_min, c.churn_max or math.inf, c.churn_noise) if c.churn else None
    into_data = _number(process.sigma, float(np.asarray(walk.grid)[-1])) == 0.0

    def held(rule: Rule) -> Rule:
        step, evaluations, draws = rule
        if known is None:
            return rule
        marginals = process
        wrapped = held_after(step, marginals, known.measurement, known.y, draws, at_start=walk.original is not None)
        return wrapped, evaluations, draws + 1

    def fixed(rule: Rule, saved: int = 0) -> FixedSteps:
        step, evaluations, _ = held(rule)
        return FixedSteps(step, walk.grid, walk.num_steps * evaluations - saved)

    def predictor_corrector() -> FixedSteps:
        predict = held(choose("sampler.predictor", _predictors(config, walk, gradient), c.predictor)())
        correct = held(choose("sampler.corrector", _correctors(config, walk), c.corrector)())
        step = steps.predictor_corrector(predict[0], correct[0], correct[2])
        return FixedSteps(step, walk.grid, walk.num_steps * (predict[1] + correct[1]))

    def multistep() -> FixedSteps:
        if known is not None:
            raise InputError("A multistep solver cannot hold a measurement: choose another --solver, e.g. ddim.")
        return FixedSteps(dpm_solver.multistep(process), walk.grid, walk.num_steps, dpm_solver.no_memory)

    methods: dict[str, Callable[[], FixedSteps]] = {
        "predictor_corrector": predictor_corrector,
        "dpm_solver_2m": multistep,
        "dpm_solver_2s": lambda: fixed((dpm_solver.singlestep(process), 2, 0), int(into_data)),
    }
    methods |= {
        name: functools.partial(lambda make: fixed(make()), make)
        for name, make in _predictors(config, walk, gradient).items()
        if name != "none"
    }
    if isinstance(process, GaussianProcess):
        methods["heun"] = lambda: fixed((second_order(process, churn=churn), 2, 1), int(into_data))
        methods["euler"] = lambda: fixed((first_order(process, churn), 1, 1))
    if isinstance(process, Chain) and c.name == "langevin":
        size = langevin.by_level(process, c.step_lr, float(np.asarray(process.sigmas)[0]))
        methods["langevin"] = lambda: fixed((langevin.langevin(size), 1, 1))
    if c.name not in methods:
        adaptive = ["ode"] if isinstance(process, GaussianProcess) else []
        raise unknown_name(f"sampler.name for process {config.process.name!r}:", c.name, [*methods, *adaptive])
    return methods[c.name]()


def _uniform_start(keys: KeyBatch, like: Batch) -> Batch:
    return jax.vmap(lambda key: jax.random.uniform(key, like.shape[1:], like.dtype))(keys)


INITIAL = {"prior": None, "uniform": _uniform_start}


def build_sampling(
    config: ConfigDict,
    process: NoiseSchedule,
    *,
    guide: Guide | None = None,
    known: Known | None = None,
    edit: Edit | None = None,
) -> Sampling:
    """The `sampler` section for a model of this process.

    Args:
      config: the experiment.
      process: what the model was trained on.
      guide: a classifier that guides.
      known: a measurement to hold.
      edit: images to begin with, and what guides them; without `guide` and `known`.

    Raises:
      InputError: a name is unknown, or the sampler does not go with the process.
    """
    c = config.sampler
    check_counts("sampler", c, ("num_steps", "steps_per_level"))
    check_counts("sampler", c, ("corrector_steps",), least=0)
    initial = choose("sampler.initial", INITIAL, c.initial)
    if c.name == "ode":
        if known is not None:
            raise InputError("The ODE cannot hold a measurement: choose another --solver, e.g. ddim.")
        walk = _Walk(process, coordinates.itself(), jnp.zeros(1))
        method: FixedSteps | AdaptiveODE = AdaptiveODE(c.solver, c.rtol, c.atol)
    else:
        with jax.ensure_compile_time_eval():  # grids are values, also where this is called in a traced function
            walk = _walk(config, process)
            walk = walk if edit is None else dataclasses.replace(walk, grid=begun(walk.grid, edit.skip))
    gradient = None
    if guide is not None:
        gradient = classifier.log_prob_gradient(log_prob_seen(guide.log_prob, walk.view), guide.scale)
    if edit is not None:
        method, initial = blending(config, walk.process, walk.grid, edit), noised(walk.process, walk.grid, edit.images)
    elif c.name != "ode":
        method = _method(config, walk, gradient, known)
    low, high = config.data.value_range
    bounds: dict[str, Callable[[Predictor], Predictor]] = {
        "none": lambda model: model,
        "clip": lambda model: predictor.clipped(model, walk.process, low, high),
        "dynamic": lambda model: predictor.dynamically_thresholded(model, walk.process),
    }
    # A network that outputs the mean is not clipped, as in the original: its mean would be another.
    threshold = "none" if config.prediction.get("output") == "mean" else c.threshold
    bound = choose("sampler.threshold", bounds, threshold)
    by_mean = c.name == "ancestral"  # whose step shifts its mean by the gradient itself

    def see(model: Predictor) -> Predictor:
        model = bound(seen(model, walk.view))
        if edit is not None:
            return guided(config, model, walk.process, edit)
        return model if gradient is None or by_mean else classifier.by_gradient(model, walk.process, gradient)

    t_min, denoise = _end(config, process, walk)
    denoise = denoise and edit is None  # which ends in the model's belief already
    return Sampling(walk.process, Sampler(method, t_min, denoise, initial, c.temperature), see)


def _end(config: ConfigDict, process: NoiseSchedule, walk: _Walk) -> tuple[float, bool]:
    """The time at which a sampler ends, and whether the model's x0 is asked for there."""
    c = config.sampler
    if c.name == "langevin":
        return 0.0, c.denoise  # the level of least noise
    if walk.process is process and isinstance(process, GaussianProcess):
        return c.t_min, c.denoise
    return DATA, False  # chains, EDM's grid and score_sde's steps end in the data


def scale_of(config: ConfigDict, process: NoiseSchedule) -> classifier_free.Scale:
    """Classifier-free guidance's scale, at the model's times.

    Raises:
      InputError: the interval is empty.
    """
    g = config.guidance
    high = g.sigma_high or math.inf
    if not g.sigma_low < high:
        raise InputError(f"guidance.sigma_low={g.sigma_low} is not below guidance.sigma_high={high}.")
    if g.sigma_low <= 0 and math.isinf(high):
        return classifier_free.constant(g.scale)
    return classifier_free.in_interval(g.scale, process, g.sigma_low, high)
