"""The `sampler` section: from the options of a method and a model to what draws samples."""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from score_jax.builder import edit as edits
from score_jax.builder.codes import CodeSampling, build_code_sampling
from score_jax.builder.edit import Edit, Start
from score_jax.builder.grid import check_half_score
from score_jax.builder.guidance_options import ClassifierFree
from score_jax.builder.kernels import KernelSampling, build_kernel_sampling
from score_jax.builder.model_facts import ModelFacts
from score_jax.builder.multistep import MULTISTEP
from score_jax.builder.options import Options
from score_jax.builder.possible_samplers import check_possible
from score_jax.builder.sampler_options import (
    ADAPTIVE,
    DDIM,
    PLMS,
    Ancestral,
    DPMSolver2S,
    Euler,
    EulerMaruyama,
    Heun,
    Karras,
    Langevin,
    OneByOne,
    PredictorCorrector,
    ProbabilityFlow,
    ReverseDiffusion,
    ReverseKernels,
    ReverseSDE,
    SamplerOptions,
)
from score_jax.builder.walk import Walk, number, walk_of
from score_jax.codecs.embedding_codes import EmbeddingCodes
from score_jax.codecs.latents import Latents
from score_jax.errors import InputError, unknown_name
from score_jax.guidance import classifier, classifier_free
from score_jax.guidance.measurements import Measurement, held_after, held_before, noised, replace
from score_jax.prediction import coordinates, predictor
from score_jax.prediction.analytic_variance import Moments, variance_of
from score_jax.prediction.coordinates import log_prob_seen
from score_jax.prediction.predictor import ConditionalPredictor, Predictor
from score_jax.processes.chain import Chain
from score_jax.processes.gaussian import VP, GaussianProcess, NoiseSchedule
from score_jax.processes.noise import Noise, later
from score_jax.samplers import dpm_solver, langevin, plms, steps
from score_jax.samplers import sample as samplers
from score_jax.samplers.chain import RememberingStep
from score_jax.samplers.heun import Churn, first_order, second_order
from score_jax.samplers.ode import AdaptiveODE
from score_jax.samplers.reverse_sde import AdaptiveSDE
from score_jax.samplers.sample import FixedSteps
from score_jax.samplers.sampled_model import Guidance, sampled_model, unchanged
from score_jax.samplers.steps import Step
from score_jax.typing import Batch, KeyBatch, Time

LogProb = Callable[[Batch, Time, Array], Float[Array, "b"]]


@dataclasses.dataclass(frozen=True)
class Known:
    """What is known of the images: y (b, ...) of a measurement.

    Attributes:
      measurement: how they are seen.
      y: what was seen.
      noise: in y: its standard deviation, of bits the share that is wrong; 0: none.
    """

    measurement: Measurement
    y: Batch
    noise: float = 0.0


@dataclasses.dataclass(frozen=True)
class Guide:
    """A classifier that guides.

    Attributes:
      log_prob: `log_prob(x_t, t, target)`, in the model's x_t and t.
      target: the class of each sample (b,).
      scale: factor on its gradient.
    """

    log_prob: LogProb
    target: Array
    scale: float | Float[Array, ""]


@dataclasses.dataclass(frozen=True, eq=False)
class Sampling:
    """How to sample a model.

    Attributes:
      process: whose times the sampler walks.
      sampler: the method.
      see: from the model, `model(x, t, conditions)`, to what the sampler asks, `predictor(x, t, conditions)`, in its
        coordinates, bounded and guided. Its conditions have those of the model as "model", and a guide's targets as
        "target"; without any, the model is `model(x, t)`.
    """

    process: NoiseSchedule
    sampler: samplers.Sampler
    see: Callable[[ConditionalPredictor], ConditionalPredictor]

    @property
    def draw(self) -> Callable[..., samplers.Samples]:
        """`draw(predictor, key=..., indices=..., shape=..., ...)`, the predictor as `see` makes it."""
        return functools.partial(samplers.sample, process=self.process, sampler=self.sampler)


Gradient = Callable[[Batch, Time, Array], Batch]
Rule = tuple[Step, int, int]
"""A step, the evaluations of the model in it, and its draws."""


@dataclasses.dataclass(frozen=True, eq=False)
class _Setting:
    """What a rule is made for.

    Attributes:
      model: facts of the model.
      walk: where it walks.
      gradient: of a guide, at its targets; None without one.
      known: a measurement to hold.
      moments: what an analytic variance needs.
    """

    model: ModelFacts
    walk: Walk
    gradient: classifier.Gradient | None
    known: Known | None
    moments: Moments | None

    def held(self, rule: Rule) -> Rule:
        """The rule, with what is known held after each step, or as the walk's original holds it."""
        step, evaluations, draws = rule
        if self.walk.of_latent_diffusion:
            step = steps.keeping_its_noise(step)
        if self.known is None:
            return step, evaluations, draws
        if self.walk.of_latent_diffusion:
            return held_before(step, self.known.measurement, self.noised_known(draws)), evaluations, draws + 1
        measurement, y, process = self.known.measurement, self.known.y, self.walk.process
        wrapped = held_after(step, process, measurement, y, draws, at_start=self.walk.original is not None)
        return wrapped, evaluations, draws + 1

    def noised_known(self, draws: int) -> Callable[[Noise, Time], Batch]:
        """What is known at the noise of a time, drawn after the `draws` of a step."""
        assert self.known is not None
        measurement, y = self.known.measurement, self.known.y
        return lambda noise, t: noised(self.walk.process, measurement, y, t, later(noise, draws)(0))

    def fixed(self, rule: Rule, saved: int = 0) -> FixedSteps:
        """The rule on the grid; `saved`: evaluations that the last step does without."""
        step, evaluations, _ = self.held(rule)
        return FixedSteps(step, self.walk.grid, self.walk.num_steps * evaluations - saved)

    @property
    def ends_in_data(self) -> bool:
        """Whether the last time of the grid has no noise."""
        return number(self.walk.process.sigma, float(np.asarray(self.walk.grid)[-1])) == 0.0


def _euler_maruyama(s: _Setting, *, probability_flow: bool) -> Rule:
    if s.walk.original is not None:
        return s.walk.original.euler_maruyama(probability_flow=probability_flow), 1, 1
    assert isinstance(s.walk.process, GaussianProcess)
    return steps.euler_maruyama(s.walk.process, probability_flow=probability_flow), 1, 1


def _reverse_diffusion(s: _Setting, *, probability_flow: bool) -> Rule:
    if s.walk.original is not None:
        return s.walk.original.reverse_diffusion(probability_flow=probability_flow), 1, 1
    if probability_flow:
        check_half_score(s.model, s.walk.process, s.walk.grid)
    return steps.reverse_diffusion(s.walk.process, probability_flow=probability_flow), 1, 1


def _ancestral(s: _Setting, *, variance: str, temperature: float = 1.0) -> Rule:
    original = s.walk.original
    if original is not None:
        return steps.ancestral_of_score(original.kernels, large=isinstance(original.process, VP)), 1, 1
    return steps.ancestral(s.walk.process, variance_of(variance, s.moments), s.gradient, temperature), 1, 1


def _ddim(s: _Setting, *, eta: float, temperature: float = 1.0) -> Rule:
    if eta == 0.0 and temperature != 1.0:
        raise InputError(
            f"sampler.step_temperature={temperature:g} is not read here: with sampler.eta=0 steps have no noise. Leave "
            "it out, or give sampler.eta more than 0."
        )
    return steps.ddim(s.walk.process, eta, temperature), 1, 1


def _predictor(c: PredictorCorrector, s: _Setting) -> Rule:
    rules: dict[str, Callable[[], Rule]] = {
        "none": lambda: (steps.stay, 0, 0),
        "ddim": lambda: _ddim(s, eta=c.eta),
        "reverse_diffusion": lambda: _reverse_diffusion(s, probability_flow=c.probability_flow),
        "ancestral": lambda: _ancestral(s, variance=c.variance),
    }
    if s.walk.original is not None or isinstance(s.walk.process, GaussianProcess):
        rules["euler_maruyama"] = lambda: _euler_maruyama(s, probability_flow=c.probability_flow)
    if c.predictor not in rules:
        raise unknown_name(f"sampler.predictor for process {s.model.process_name!r}:", c.predictor, rules)
    return rules[c.predictor]()


def _corrector(c: PredictorCorrector, s: _Setting) -> Rule:
    count, original, process = c.corrector_steps, s.walk.original, s.walk.process
    if c.corrector == "none":
        return steps.stay, 0, 0
    kernels = process if original is None else original.kernels
    if c.corrector == "ald":
        size = langevin.by_std(kernels, c.snr, process.sigma)
    else:
        size = langevin.by_snr(kernels, c.snr) if original is None else langevin.by_batch_snr(kernels, c.snr)
    return langevin.langevin(size, count), count, count


def _predictor_corrector(c: PredictorCorrector, s: _Setting) -> FixedSteps:
    predict, correct = s.held(_predictor(c, s)), s.held(_corrector(c, s))
    step = steps.predictor_corrector(predict[0], correct[0], correct[2])
    return FixedSteps(step, s.walk.grid, s.walk.num_steps * (predict[1] + correct[1]))


def _multistep(c: SamplerOptions, s: _Setting) -> FixedSteps:
    if s.known is not None:
        raise InputError("A multistep solver cannot condition on a measurement: choose another --solver, e.g. ddim.")
    step, memory = MULTISTEP[type(c)](c, s.walk.process)
    return FixedSteps(step, s.walk.grid, s.walk.num_steps, memory)


def _plms(c: PLMS, s: _Setting) -> FixedSteps:
    step = plms.plms(s.walk.process, s.walk.grid[-1])
    if s.known is not None:
        if not s.walk.of_latent_diffusion:
            raise InputError(
                "plms conditions on a measurement with sampler.discretisation=latent_diffusion alone: give that, or "
                "choose another --solver, e.g. ddim."
            )
        step = _begun_with(step, s.known.measurement, s.noised_known(0))
    return FixedSteps(step, s.walk.grid, s.walk.num_steps + 1, plms.no_history)


def _begun_with(step: RememberingStep, measurement: Measurement, known: Callable[[Noise, Time], Batch]):
    """`held_before` of a step that remembers."""

    def wrapped(noise: Noise, x: Batch, t: Time, s: Time, predictor: Predictor, memory: Any):
        return step(noise, replace(measurement, x, known(noise, t)), t, s, predictor, memory)

    return wrapped


def _churn(c: Karras) -> Churn | None:
    return Churn(c.churn / c.num_steps, c.churn_min, c.churn_max or math.inf, c.churn_noise) if c.churn else None


def _heun(c: Karras, s: _Setting) -> FixedSteps:
    assert isinstance(s.walk.process, GaussianProcess)
    return s.fixed((second_order(s.walk.process, churn=_churn(c)), 2, 1), int(s.ends_in_data))


def _euler(c: Karras, s: _Setting) -> FixedSteps:
    assert isinstance(s.walk.process, GaussianProcess)
    return s.fixed((first_order(s.walk.process, _churn(c)), 1, 1))


def _langevin(c: Langevin, s: _Setting) -> FixedSteps:
    chain = s.walk.process
    assert isinstance(chain, Chain)
    size = langevin.by_level(chain, c.step_lr, float(np.asarray(chain.sigmas)[0]))
    return s.fixed((langevin.langevin(size), 1, 1))


STEPPING: dict[type[SamplerOptions], Callable[[Any, _Setting], FixedSteps]] = {
    EulerMaruyama: lambda c, s: s.fixed(_euler_maruyama(s, probability_flow=c.probability_flow)),
    ReverseDiffusion: lambda c, s: s.fixed(_reverse_diffusion(s, probability_flow=c.probability_flow)),
    Ancestral: lambda c, s: s.fixed(_ancestral(s, variance=c.variance, temperature=c.step_temperature)),
    DDIM: lambda c, s: s.fixed(_ddim(s, eta=c.eta, temperature=c.step_temperature)),
    PLMS: _plms,
    DPMSolver2S: lambda c, s: s.fixed((dpm_solver.singlestep(s.walk.process), 2, 0), int(s.ends_in_data)),
    PredictorCorrector: _predictor_corrector,
    Heun: _heun,
    Euler: _euler,
    Langevin: _langevin,
    **dict.fromkeys(MULTISTEP, _multistep),
}
"""From the options of a method of fixed steps to the method. The others are `ADAPTIVE`."""


def _uniform_start(keys: KeyBatch, like: Batch) -> Batch:
    return jax.vmap(lambda key: jax.random.uniform(key, like.shape[1:], like.dtype))(keys)


_INITIAL = {"prior": None, "uniform": _uniform_start}


def _bounded(c: SamplerOptions, model: ModelFacts, process: NoiseSchedule) -> Callable[[Predictor], Predictor]:
    """The model with its x0 held as `threshold` says.

    A network that outputs the mean is not clipped, as in the original: its mean would be another.
    """
    if c.threshold == "none" or model.outputs_mean:
        return unchanged
    if isinstance(model.codec, Latents):
        raise InputError(f"sampler.threshold={c.threshold} is for pixels, and this model draws latents: leave it out.")
    if c.threshold == "clip":
        return lambda asked: predictor.clipped(asked, process, *model.codec.bounds)
    return lambda asked: predictor.dynamically_thresholded(asked, process)


def _gradient_of(guide: Guide, walk: Walk) -> Gradient:
    """Of a guide, in the coordinates of the sampler."""

    def gradient(x: Batch, t: Time, target: Array) -> Batch:
        log_prob = log_prob_seen(lambda x, t: guide.log_prob(x, t, target), walk.view)
        return classifier.log_prob_gradient(log_prob, guide.scale)(x, t)

    return gradient


def _at(gradient: Gradient, target: Array) -> classifier.Gradient:
    return lambda x, t: gradient(x, t, target)


def _check_fits(c: SamplerOptions, known: Known | None, edit: Edit | None, start: Start | None) -> None:
    """Raises InputError where the method cannot hold a measurement, or begin with an image."""
    if known is not None and known.noise:
        raise InputError(
            "Samplers need a measurement without noise: only a model of a learned_chain can use a noisy one."
        )
    if edit is not None:
        edits.check_blends(c)
    if isinstance(c, ADAPTIVE):
        solver = "ODE" if isinstance(c, ProbabilityFlow) else "SDE"
        if known is not None:
            raise InputError(
                f"The {solver} sampler cannot condition on a measurement: choose another --solver, e.g. ddim."
            )
        if start is not None:
            raise InputError(f"The {solver} sampler begins at its own time: choose another --solver, e.g. ddim.")


def _adaptive(c: ProbabilityFlow | ReverseSDE) -> AdaptiveODE | AdaptiveSDE:
    if isinstance(c, ProbabilityFlow):
        return AdaptiveODE(c.solver, c.rtol, c.atol)
    return AdaptiveSDE(c.rtol, c.atol)


def _walk(c: SamplerOptions, model: ModelFacts) -> Walk:
    """Where the method walks; an adaptive one chooses its times itself."""
    if isinstance(c, ADAPTIVE):
        return Walk(model.process, coordinates.itself(), jnp.zeros(1), t_min=c.t_min, denoise=c.denoise)
    with jax.ensure_compile_time_eval():  # grids are values, also where this is called in a traced function
        return walk_of(c, model)


def _check_moments(moments: Moments, walk: Walk) -> None:
    """Raises InputError where moments were not measured at the times from which the walk steps."""
    times = np.asarray(walk.grid)[:-1]
    if times.shape != moments.times.shape or not np.allclose(times, moments.times, rtol=1e-6):
        raise InputError(
            f"Moments for sampler.variance=analytic were measured at {len(moments.times)} other times than the "
            f"{len(times)} of this walk: measure them anew."
        )


def build_sampling(
    c: Options,
    model: ModelFacts,
    *,
    guide: Guide | None = None,
    known: Known | None = None,
    edit: Edit | None = None,
    start: Start | None = None,
    moments: Moments | None = None,
) -> Sampling | KernelSampling | CodeSampling:
    """Builds how a model is sampled.

    Args:
      c: the options of the method.
      model: facts of the model.
      guide: a classifier that guides.
      known: a measurement to hold.
      edit: images to begin with, and what guides them; without `guide`, `known` and `start`.
      start: images to begin with.
      moments: what `sampler.variance=analytic` needs at the times of the whole walk. Without them such a sampler is
        built, and says at its first step that they are missing.

    Raises:
      InputError: the method does not go with the process, an option with another, or the moments with the walk.
    """
    check_possible(c, model)
    if isinstance(c, ReverseKernels):
        if guide is not None or edit is not None or start is not None:
            raise InputError(
                "A model that learns its reverse kernels cannot be guided or begin with an image: leave out the "
                "classifier, the text or the image."
            )
        return build_kernel_sampling(
            c, model.process, None if known is None else (known.measurement, known.y, known.noise)
        )
    if isinstance(c, OneByOne):
        if any(given is not None for given in (guide, known, edit, start)):
            raise InputError(
                "A model of codes cannot be guided by a classifier, hold a measurement or begin with an image: leave "
                "them out."
            )
        assert isinstance(model.codec, EmbeddingCodes)
        return build_code_sampling(c, model.codec)
    assert isinstance(c, SamplerOptions) and isinstance(model.process, NoiseSchedule)
    _check_fits(c, known, edit, start)
    walk = _walk(c, model)
    if moments is not None:
        _check_moments(moments, walk)
    gradient: Gradient | None = None if guide is None else _gradient_of(guide, walk)
    initial: Callable[[KeyBatch, Batch], Batch] | None = _INITIAL[c.initial]
    denoise = walk.denoise
    method: FixedSteps | AdaptiveODE | AdaptiveSDE
    if edit is not None:
        assert isinstance(c, Ancestral | DDIM)
        if c.step_temperature != 1.0:
            raise InputError(f"sampler.step_temperature={c.step_temperature:g}: a blend takes 1 alone. Leave it out.")
        walk = dataclasses.replace(walk, grid=edits.sdedit_start(walk.grid, edit.skip))
        method = edits.blending(c, walk.process, walk.grid, edit, moments)
        # A blend ends in the predicted x0 already.
        initial = edits.noised(walk.process, walk.grid, edit.images)
        denoise = False
    elif isinstance(c, ADAPTIVE):
        method = _adaptive(c)
    else:
        if start is not None:
            skip = edits.steps_left_out(start.strength, walk.num_steps)
            walk = dataclasses.replace(walk, grid=edits.sdedit_start(walk.grid, skip))
            initial = edits.noised(walk.process, walk.grid, start.images)
        at_target = None if guide is None or gradient is None else _at(gradient, guide.target)
        method = STEPPING[type(c)](c, _Setting(model, walk, at_target, known, moments))
    bounded = _bounded(c, model, walk.process)
    guided: Guidance = unchanged
    if edit is not None:
        guided = functools.partial(_edited, c, walk.process, edit)
    elif gradient is not None and not isinstance(c, Ancestral):  # which shifts its mean by the gradient itself
        guided = functools.partial(_by_gradient, walk.process, gradient)
    see = functools.partial(sampled_model, view=walk.view, bounded=bounded, guided=guided)
    return Sampling(walk.process, samplers.Sampler(method, walk.t_min, denoise, initial, c.temperature), see)


def _edited(c: SamplerOptions, process: NoiseSchedule, edit: Edit, shown: Predictor, target: Array | None) -> Predictor:
    return edits.guided(c, shown, process, edit)


def _by_gradient(process: NoiseSchedule, gradient: Gradient, shown: Predictor, target: Array) -> Predictor:
    return classifier.by_gradient(shown, process, _at(gradient, target))


def scale_of(c: ClassifierFree, process: NoiseSchedule) -> classifier_free.Scale:
    """Returns the scale of classifier-free guidance, at the model's times.

    Raises:
      InputError: the interval is empty.
    """
    high = c.sigma_high or math.inf
    if not c.sigma_low < high:
        raise InputError(
            f"guidance.sigma_low={c.sigma_low} is not below guidance.sigma_high={high}: give the smaller one first."
        )
    if c.sigma_low <= 0 and math.isinf(high):
        return classifier_free.constant(c.scale)
    return classifier_free.in_interval(c.scale, process, c.sigma_low, high)
