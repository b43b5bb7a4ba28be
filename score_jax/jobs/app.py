"""`app`: what a page asks of one trained model, as functions of the model and of what a person chose.

Everything is done by the functions behind the verbs `sample`, `likelihood`, `encode` and `edit`.
"""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Shaped, UInt8
from ml_collections import ConfigDict

from score_jax import builder
from score_jax.builder import Experiment, Known, Sampling, Start
from score_jax.builder.options import make
from score_jax.builder.possible_samplers import possible_samplers
from score_jax.builder.run_options import SECTIONS
from score_jax.builder.sampler_options import SAMPLERS
from score_jax.builder.workdirs import with_settings
from score_jax.codecs.latents import Latents
from score_jax.data.images import decode
from score_jax.data.sources import Source, in_memory
from score_jax.errors import InputError
from score_jax.guidance import measurements
from score_jax.jobs import encode, likelihood
from score_jax.jobs.edit import Task, fitted, task_of
from score_jax.jobs.guide import load_classifier
from score_jax.jobs.likelihood import Likelihood
from score_jax.jobs.prompts import Prompts, conditioned
from score_jax.jobs.sample import RANDOM_LABEL, Drawn, Given, draw
from score_jax.jobs.trained import Trained, measured
from score_jax.jobs.trajectory import from_noise_to_image
from score_jax.models.conditions import TOKENS
from score_jax.processes.chain import Chain
from score_jax.runtime.parts import Columns
from score_jax.samplers.sample import FixedSteps
from score_jax.training.data_facts import load_facts

Settings = dict[str, dict[str, Any]]
LARGEST = 64
"""Images of one draw, at most."""
DRAWS = 8
"""Of noise and probes for the likelihood of one image, at least."""
_SAVED, _SAVED_LATENTS = 25, 9
"""States of trajectories: of latents each is decoded."""


@dataclasses.dataclass(frozen=True)
class Draw:
    """Which images are to be drawn, and how.

    Attributes:
      solver: a sampler, of `solvers`.
      steps: of it; None where it takes none, or as the model's config says.
      scale: of guidance; None: as the config says.
      label: a class, or as `jobs.sample` names several.
      prompt: of a model of texts.
      seed: of all images; image i depends on it and on i alone.
      count: how many.
    """

    solver: str
    steps: int | None = None
    scale: float | None = None
    label: int = RANDOM_LABEL
    prompt: str = ""
    seed: int = 0
    count: int = 8

    def __post_init__(self):
        make(SECTIONS["sampling"], {"seed": self.seed, "label": self.label, "num_samples": self.count})
        if self.count > LARGEST:
            raise InputError(f"The page draws at most {LARGEST} images at once, not {self.count}: use `sample`.")


@dataclasses.dataclass(frozen=True)
class Abilities:
    """What a model can do, of which a page has tabs.

    Attributes:
      solvers: samplers that go with its process, the config's first.
      editors: those of them that can hold a part of an image, or begin with one.
      compared: those that take any number of steps, for comparisons at equal evaluations.
      tasks: of `edit`.
      method: by which its likelihood is measured; None: by none.
      encodes: whether it has a latent of an image, by the ODE.
      guided: whether it has a guidance scale.
      texts: whether it draws what a text says.
      classes: names of its classes; () without any.
    """

    solvers: tuple[str, ...]
    editors: tuple[str, ...]
    compared: tuple[str, ...]
    tasks: tuple[str, ...]
    method: str | None
    encodes: bool
    guided: bool
    texts: bool
    classes: tuple[str, ...]


def abilities(model: Trained) -> Abilities:
    """Returns what a page can ask of a model.

    Raises:
      InputError: the run draws no images.
    """
    experiment = model.experiment
    experiment.part("sampler")
    if "images" not in experiment.parts:
        raise InputError("The page shows images, and this run draws none: use `sample` and `likelihood`.")
    if experiment.config.data.low_resolution:
        raise InputError("The page has no images to enlarge for a super-resolution model: use `sample --base=FILE`.")
    fills_holes, conditions = bool(experiment.config.data.holes), set(experiment.network.conditions)
    own, of_score_sde = experiment.config.sampler, experiment.config.sampler.get("discretisation") == "score_sde"
    possible = possible_samplers(experiment.facts, of_score_sde=of_score_sde)
    ordered = sorted(possible, key=lambda name: name != own.name)
    solvers = tuple(name for name in ordered if _succeeds(functools.partial(_built, model, name)))
    holding = functools.partial(_built, model, holding=True)
    editors = tuple(name for name in solvers if fills_holes or _succeeds(functools.partial(holding, name)))
    method = _method(experiment) if conditions <= {"label"} else None
    facts = load_facts(model.workdir)
    named = facts.classes if facts is not None and facts.classes else ()
    count = max(experiment.num_classes, _guide(model).num_classes(experiment))
    guided = bool(conditions) and getattr(experiment.sections["loss"], "condition_dropout", 0.0) > 0
    return Abilities(
        solvers=() if fills_holes else solvers,
        editors=editors,
        compared=() if fills_holes else tuple(name for name in solvers if takes_steps(name)),
        tasks=_tasks(_under(model, editors[0]), fills_holes=fills_holes) if editors else (),
        method=method,
        encodes=method == "ode",
        guided=guided or bool(experiment.config.guidance.get("workdir", "")),
        texts=TOKENS in conditions,
        classes=named if len(named) == count else tuple(map(str, range(count))),
    )


def takes_steps(solver: str) -> bool:
    """Returns whether a sampler has a number of steps to choose."""
    return "num_steps" in SAMPLERS[solver].__dataclass_fields__


def most_steps(model: Trained) -> int:
    """Returns the most steps that make sense: all levels of a chain, else 1000 or what the config says."""
    process = model.experiment.process
    return process.num_levels if isinstance(process, Chain) else max(1000, own_steps(model))


def own_steps(model: Trained) -> int:
    """Returns the steps of the config's sampler, or 50 where it has none."""
    method = _method_of(model.experiment)
    return len(method.grid) - 1 if isinstance(method, FixedSteps) and takes_steps(model.config.sampler.name) else 50


def read_image(model: Trained, file: str) -> UInt8[np.ndarray, "h w c"]:
    """Returns an image of a person at the model's size and with its channels, by the rules of `edit`.

    Raises:
      InputError: the file is no image.
    """
    name = Path(file).name
    return fitted(decode(Path(file), name), model.config.data, name)


def sampled(model: Trained, asked: Draw) -> Drawn:
    """Draws images, with a few states of their trajectories; models that learn reverse kernels keep none.

    Raises:
      InputError: as `jobs.sample.draw`, or a condition is missing.
    """
    asked_of = prepared(model, asked.solver, asked.steps, asked.scale)
    given = _given(asked_of, asked.prompt, asked.count)
    sampling = asked_of.experiment.sampling()
    if not isinstance(sampling, Sampling):
        return _drawn(asked_of, asked, given)
    drawn = _drawn(asked_of, asked, given, num_saved=_states(asked_of.experiment))
    return from_noise_to_image(drawn, sampling.process)


def compared(model: Trained, solvers: tuple[str, ...], evaluations: int, asked: Draw) -> list[tuple[str, Drawn]]:
    """Draws the same images by several samplers at about as many evaluations of the network, at most those given.

    Raises:
      InputError: there are fewer than two samplers, or too few evaluations; or as `sampled`.
    """
    if len(set(solvers)) < 2:
        raise InputError("Choose two or three samplers to compare.")
    steps = [steps_within(model, solver, evaluations) for solver in solvers]
    asked_of = [dataclasses.replace(asked, solver=s, steps=n) for s, n in zip(solvers, steps, strict=True)]
    return [(each.solver, sampled(model, each)) for each in asked_of]


def steps_within(model: Trained, solver: str, evaluations: int) -> int:
    """Returns the largest number of steps of a sampler with at most so many evaluations of the network.

    Raises:
      InputError: not even one step is.
    """
    two, three = (_evaluations(prepared(model, solver, steps, None).experiment) for steps in (2, 3))
    each = three - two
    steps = 2 + (evaluations - two) // each
    if steps < 1:
        raise InputError(f"{solver} needs at least {two - each} evaluations, not {evaluations}: give more.")
    return min(steps, most_steps(model))


def likelihood_of(model: Trained, image: UInt8[np.ndarray, "h w c"], label: int) -> Likelihood:
    """Measures one image several times, with other noise and probes each time: their spread is the error of the mean.

    Raises:
      InputError: the model has no likelihood, or no value is finite.
    """
    method = _method(model.experiment)
    if method is None:
        raise InputError("This model has no likelihood of an image.")
    batch, count = _repeats(model)
    asked_of = _with_likelihood(model, method, batch)
    found = likelihood.measure(
        asked_of.experiment, asked_of.params, asked_of.mesh, _repeated(asked_of.experiment, image, label, count)
    )
    found.check("")
    return found


def encoded(model: Trained, image: UInt8[np.ndarray, "h w c"], label: int) -> Columns:
    """Returns the latent of one image by the ODE, decoded again: the columns of `encode.encode`.

    Raises:
      InputError: the model has no ODE, or its solve gave up.
    """
    asked_of = _with_likelihood(model, "ode", model.mesh.size)
    coder = encode.coder(asked_of.experiment, asked_of.params)
    columns = encode.encode(coder, asked_of.mesh, _repeated(asked_of.experiment, image, label, 1), 1)
    if len(encode.failed(columns)):
        raise InputError(
            "The image does not come back from its latent: check that the weights are finite, or start the page with "
            "larger --config.likelihood.rtol and --config.likelihood.atol."
        )
    return columns


def edited(
    model: Trained,
    asked: Draw,
    task: str,
    image: UInt8[np.ndarray, "h w c"],
    painted: Float[np.ndarray, "h w 1"] | None = None,
    strength: float | None = None,
) -> tuple[Task, Shaped[np.ndarray, "n h w c"]]:
    """Edits an image at the model's size; returns what is known of it, and the results.

    Args:
      model: the model.
      asked: how many results, and how they are drawn.
      task: of `Abilities.tasks`.
      image: as `read_image` returns it.
      painted: of inpaint, 1 where the image is painted anew.
      strength: of sdedit.

    Raises:
      InputError: as `jobs.edit.task_of` and `sampled`.
    """
    asked_of = prepared(model, asked.solver, asked.steps, asked.scale)
    what = task_of(asked_of.config, task, image, painted, strength=strength)
    given = _given(asked_of, asked.prompt, asked.count)
    given = what.given(given, asked.count, fills_holes=bool(asked_of.config.data.holes))
    return what, what.held(_drawn(asked_of, asked, given, rounding="rounded").images)


def mask_of(layer: UInt8[np.ndarray, "H W 4"], size: int) -> Float[np.ndarray, "s s 1"]:
    """Returns 1 at each of the model's pixels of which a brush covers at least half of a layer, RGBA."""
    across = [np.linspace(0, side, size + 1).round().astype(int) for side in layer.shape[:2]]
    covered = (layer[..., 3] >= 128).astype(float)
    sums = np.add.reduceat(np.add.reduceat(covered, across[0][:-1], axis=0), across[1][:-1], axis=1)
    areas = np.diff(across[0])[:, None] * np.diff(across[1])[None]
    return (sums >= areas / 2).astype(np.float32)[..., None]


@functools.lru_cache(maxsize=16)
def prepared(model: Trained, solver: str, steps: int | None, scale: float | None) -> Trained:
    """Returns the model under other settings; the same object for the same ones, so that its programs are kept.

    Raises:
      InputError: a setting is not possible.
    """
    sampler: dict[str, Any] = {"name": solver} | ({} if steps is None else {"num_steps": steps})
    guidance = {} if scale is None else {"guidance": {"scale": float(scale)}}
    return measured(_with(model, {"sampler": sampler, **guidance}))


def _with(model: Trained, settings: Settings) -> Trained:
    config: ConfigDict = with_settings(model.config, settings)
    return dataclasses.replace(model, config=config, experiment=builder.experiment(config))


@functools.lru_cache(maxsize=4)
def _with_likelihood(model: Trained, method: str, batch_size: int) -> Trained:
    """The model with a likelihood of few images; noise is uniform, as no other is fitted here."""
    options: dict[str, Any] = {"name": method, "batch_size": batch_size, "num_examples": 0, "dtype": "float32"}
    if method == "ode":
        options |= {"dequantization": "uniform", "sensitivity_batches": 0}
    return _with(model, {"likelihood": options})


def _repeats(model: Trained) -> tuple[int, int]:
    """How many at a time, and how many in all, of one image."""
    devices = model.mesh.size
    batch = devices * max(1, min(DRAWS, model.experiment.likelihood.batch_size) // devices)
    return batch, batch * -(-DRAWS // batch)


def _repeated(experiment: Experiment, image: np.ndarray, label: int, count: int) -> Source:
    """An image as so many examples of a data set.

    Raises:
      InputError: the label names no class.
    """
    labels = np.full(count, max(label, 0), np.int32)
    source = in_memory(np.repeat(image[None], count, axis=0), labels, "the image")
    return source.with_labels_of(experiment.num_classes)


def _guide(model: Trained) -> Given:
    """The classifier that guides, if the config names one."""
    return load_classifier(model.experiment, model.mesh)


@functools.lru_cache(maxsize=16)
def _given(model: Trained, prompt: str, count: int) -> Given:
    """What samples are conditioned on beside a class; kept, as programs are compiled for it."""
    prompts = Prompts((prompt,) if prompt or TOKENS in model.experiment.network.conditions else ())
    return conditioned(_guide(model), model.experiment, model.workdir, count, prompts)


def _drawn(model: Trained, asked: Draw, given: Given, **how: Any) -> Drawn:
    devices = model.mesh.size
    batch_size = devices * -(-min(asked.count, model.config.sampling.batch_size) // devices)
    return draw(
        model.experiment,
        model.params,
        model.mesh,
        range(asked.count),
        batch_size=batch_size,
        seed=asked.seed,
        label=asked.label,
        given=given,
        **how,
    )


def _states(experiment: Experiment) -> int:
    """How many states of a trajectory are kept: not more than there are."""
    method, most = _method_of(experiment), _SAVED_LATENTS if isinstance(experiment.codec, Latents) else _SAVED
    return min(most, len(method.grid)) if isinstance(method, FixedSteps) else most


def _method_of(experiment: Experiment) -> Any:
    sampling = experiment.sampling()
    return sampling.sampler.method if isinstance(sampling, Sampling) else None


def _evaluations(experiment: Experiment) -> int:
    """Of the network for one sample, by a method of fixed steps."""
    sampling = experiment.sampling()
    assert isinstance(sampling, Sampling) and isinstance(sampling.sampler.method, FixedSteps)
    return sampling.sampler.method.nfe + sampling.sampler.denoise


def _succeeds(build: Callable[[], Any]) -> bool:
    try:
        build()
    except InputError:
        return False
    return True


def _under(model: Trained, solver: str) -> Experiment:
    """The model's experiment with this sampler, to look at."""
    own = solver == model.config.sampler.name
    return model.experiment if own else _with(model, {"sampler": {"name": solver}}).experiment


def _built(model: Trained, solver: str, *, holding: bool = False) -> Any:
    """How the model is sampled by this sampler; if asked, with a part of an image held."""
    experiment = _under(model, solver)
    image = jnp.zeros((1, *experiment.codec.shape(experiment.image_shape)))
    return experiment.sampling(known=Known(measurements.mask(jnp.ones_like(image)), image) if holding else None)


def _tasks(experiment: Experiment, *, fills_holes: bool) -> tuple[str, ...]:
    if fills_holes:
        return ("inpaint",)
    starts = _succeeds(lambda: experiment.sampling(start=Start(jnp.zeros((1, 1, 1, 1)), 1.0)))
    coloured = experiment.config.data.channels == 3 and {"pixels", "predictor"} <= experiment.parts.keys()
    return ("inpaint", *(["colorize"] if coloured else []), *(["sdedit"] if starts else []))


def _method(experiment: Experiment) -> str | None:
    """The exact likelihood where a model has one, else the bound that it has."""
    if "likelihood" not in experiment.parts:
        return None
    if "predictor" not in experiment.parts:
        return "bound"
    if _succeeds(experiment.in_continuous_time):
        return "ode"
    return None if isinstance(experiment.codec, Latents) else "vlb"
