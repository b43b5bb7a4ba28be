"""Trained models that draw one after another: a base, then models that enlarge what the one before drew.

A prior draws embeddings, of which the next stage draws images (unCLIP).

One model is the shortest cascade: `sample` and `evaluate` see nothing else. Each stage draws the same global indices by
a seed of its own, and takes the images of the stage before as a file of samples would hold them, with their classes. So
a cascade gives what `sample` of its base gives and `sample --base` of the others makes of it, byte for byte.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Int
from ml_collections import ConfigDict

from score_jax.builder.cascade import errors_of_stage, stage_experiments
from score_jax.builder.experiment import Experiment
from score_jax.builder.sections import is_cascade, stage_names
from score_jax.builder.workdirs import load_config
from score_jax.codecs.embeddings import CLIP
from score_jax.conditioning.image_embedding import IMAGE_EMBEDDING
from score_jax.data.sources import Source
from score_jax.errors import InputError, quoted
from score_jax.jobs.analytic_variance import with_measured
from score_jax.jobs.guide import classifier_of, load_classifier
from score_jax.jobs.open_split import open_labelled, open_split
from score_jax.jobs.prompts import Prompts, conditioned
from score_jax.jobs.sample import RANDOM_LABEL, BatchSampler, Given, batch_sampler, check_finite
from score_jax.jobs.train import restore_params
from score_jax.models.conditions import TOKENS
from score_jax.runtime.parts import gathered
from score_jax.training import data_facts
from score_jax.training.run_config import save_config
from score_jax.training.weights import parameters_name
from score_jax.typing import Params, Rounding

_NO_TEXTS = Prompts()


@dataclasses.dataclass(frozen=True, eq=False)
class Stage:
    """A trained model that draws.

    Attributes:
      experiment: the model and its sampler.
      params: its parameters.
      workdir: of its run.
      step: of its parameters.
      given: what its samples are conditioned on, but for what the stage before hands on.
    """

    experiment: Experiment
    params: Params
    workdir: Path
    step: int
    given: Given = dataclasses.field(default_factory=Given)

    @property
    def num_classes(self) -> int:
        """Classes that a label of a sample may name; 0: there are no labels."""
        return self.given.num_classes(self.experiment)

    def facts(self) -> dict[str, Any]:
        """How it draws, for a result's file."""
        config = self.experiment.config
        return {
            "parameters": parameters_name(self.workdir),
            "step": self.step,
            "sampler": config.sampler.to_dict(),
            "guidance": config.guidance.to_dict(),
        }


@dataclasses.dataclass(frozen=True, eq=False)
class Cascade:
    """What draws samples: one model, or several one after another.

    Attributes:
      config: of the model or of the cascade, whose sections `data`, `sampling` and `evaluation` say what is drawn, and
        what it is compared with.
      stages: the first draws from noise, or enlarges images that it is given.
      mesh: all devices.
    """

    config: ConfigDict
    stages: tuple[Stage, ...]
    mesh: Mesh

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Of what the last stage draws."""
        return self.stages[-1].experiment.image_shape

    @property
    def num_classes(self) -> int:
        """Classes that the first stage was trained with, numbered as those of its data; 0: none."""
        return self.stages[0].experiment.num_classes

    @property
    def dtype(self) -> str:
        """What the networks compute in; of several, in their order."""
        dtypes = [stage.experiment.network_dtype for stage in self.stages]
        return ", ".join(dict.fromkeys(dtypes))

    @property
    def named(self) -> str:
        """For a title."""
        steps = " and ".join(str(stage.step) for stage in self.stages)
        return f"step {steps}" if len(self.stages) == 1 else f"a cascade at steps {steps}"

    def facts(self, seed: int) -> dict[str, Any]:
        """How samples of this seed are drawn, for a result's file: of several stages in a list "stages"."""
        if len(self.stages) == 1:
            return self.stages[0].facts()
        return {
            "stages": [
                {"workdir": str(stage.workdir), "seed": stage_seed(seed, place)} | stage.facts()
                for place, stage in enumerate(self.stages)
            ]
        }

    def identity(self, count: int) -> dict[str, Any]:
        """What tells its first `count` samples from others, JSON-able, beside how they are asked for."""
        first, what = self.stages[0], {"config": self.config.to_dict(), "devices": self.mesh.size}
        if len(self.stages) == 1:
            what |= {"step": first.step}
        else:
            what |= {"stages": [[stage.experiment.config.to_dict(), stage.step] for stage in self.stages]}
        given = [stage.given.digests(count) for stage in self.stages]
        return what | {"given": given if len(given) > 1 else given[0]}


def stage_seed(seed: int, place: int) -> int:
    """The seed of a stage: the first has the cascade's; each of the others another, or their noise would be alike."""
    return seed if place == 0 else int(np.random.SeedSequence((seed, place)).generate_state(1)[0])


def cascade_sampler(
    models: Cascade, *, seed: int, label: int = RANDOM_LABEL, roundings: tuple[Rounding, ...] = ("truncated",)
) -> BatchSampler:
    """Draws batches through all stages; "nfe" is the sum of their evaluations, "label" the class of the first.

    Args:
      models: what draws.
      seed: of the whole set.
      label: class of all samples, `RANDOM_LABEL` or `BALANCED_LABELS`.
      roundings: to uint8, of the last stage, see `image_name`; between stages images are truncated.

    Raises:
      InputError: there is no such class; and when it draws, a stage's images are not finite.
    """
    last = len(models.stages) - 1
    samplers: list[BatchSampler] = [
        batch_sampler(
            stage.experiment,
            stage.params,
            models.mesh,
            seed=stage_seed(seed, place),
            label=label if place == 0 else RANDOM_LABEL,
            given=stage.given,
            roundings=roundings if place == last else ("truncated",),
        )
        for place, stage in enumerate(models.stages)
    ]
    if last == 0:
        return samplers[0]

    def sampler(indices: np.ndarray, rows: np.ndarray) -> tuple[dict[str, Array], Array]:
        columns, times = samplers[0](indices, rows)
        nfe, labels = columns["nfe"], columns["label"]
        for place in range(1, len(samplers)):
            finite = gathered({"finite": columns["finite"]}, len(indices))["finite"]
            numbers, firsts = np.unique(indices, return_index=True)
            _check_finite(models, place - 1, finite[firsts], numbers)
            classes = {"label": labels} if models.stages[place].num_classes else {}
            takes_embedding = IMAGE_EMBEDDING in models.stages[place].experiment.network.conditions
            what = IMAGE_EMBEDDING if takes_embedding else "low_res"
            columns, times = samplers[place](indices, rows, {what: columns["image"]} | classes)
            nfe = nfe + columns["nfe"]
        return columns | {"label": labels, "nfe": nfe}, times

    return sampler


def _check_finite(models: Cascade, place: int, finite: Bool[np.ndarray, "n"], numbers: Int[np.ndarray, "n"]) -> None:
    config = models.stages[place].experiment.config
    if len(models.stages) == 1:
        check_finite(finite, numbers, config)
        return
    with errors_of_stage(stage_names(models.config)[place]):
        check_finite(finite, numbers, config)


def check_last_finite(models: Cascade, finite: Bool[np.ndarray, "n"], numbers: Int[np.ndarray, "n"]) -> None:
    """Raises InputError where images of the last stage, of samples of these numbers (n,), are not finite."""
    _check_finite(models, len(models.stages) - 1, finite, numbers)


def fitting_experiments(config: ConfigDict) -> dict[str, Experiment]:
    """The models of a cascade by the names of their stages, in their order; no parameters are read.

    Raises:
      InputError: a run is not to be read, draws no images, or does not fit the others.
    """
    experiments, classes = stage_experiments(config), {}
    for name, experiment in experiments.items():
        with errors_of_stage(name):
            classes[name] = Given(classifier=classifier_of(experiment)).num_classes(experiment)
    first = experiments["stage1"]
    drawn_by = config.cascade.stage1.workdir if first.num_classes else first.config.guidance.get("workdir", "")
    for name in experiments:
        if classes[name]:
            with errors_of_stage(name):
                _check_classes(config.cascade[name].workdir, classes[name], drawn_by, classes["stage1"])
    return experiments


def _check_classes(run: str, count: int, first: str, drawn: int) -> None:
    """Raises InputError where a run of a cascade knows other classes than those that the first stage draws.

    Args:
      run: its workdir.
      count: of its classes.
      first: the workdir of whatever the classes of the first stage are: its run, or the classifier that guides it.
      drawn: how many these are.
    """
    if count != drawn:
        raise InputError(
            f"{run} knows {count} classes, and the first stage draws {drawn or 'none'}: name runs that fit."
        )
    facts = [data_facts.load_facts(Path(workdir)) for workdir in (run, first)]
    names = [(found and found.classes) or () for found in facts]
    for place, (own, other) in enumerate(zip(*names, strict=False)):
        if own != other:
            raise InputError(
                f"{run} calls class {place} {quoted(own)}, and {first}, whose classes are drawn, {quoted(other)}: name "
                "runs that fit."
            )


def load_cascade(config: ConfigDict, mesh: Mesh, count: int = 0, prompts: Prompts = _NO_TEXTS) -> Cascade:
    """The models of a cascade, with the parameters of all of them on the devices.

    Args:
      config: of the cascade.
      mesh: the devices.
      count: of samples that are to be drawn.
      prompts: what these are to show; every stage that takes texts is given the same.

    Raises:
      InputError: as `fitting_experiments`, or a run has no parameters; stages were trained with different CLIPs; or
        there are texts and no stage takes any.
    """
    stages: list[Stage] = []
    for name, experiment in fitting_experiments(config).items():
        stage = config.cascade[name]
        workdir, step = Path(stage.workdir), None if stage.step < 0 else stage.step
        with errors_of_stage(name):
            params, found = restore_params(experiment.config, experiment, workdir, mesh, step)
            experiment = with_measured(experiment, params, workdir, found, mesh)
            given = load_classifier(experiment, mesh)
            if TOKENS in experiment.network.conditions:
                handed = {IMAGE_EMBEDDING} if stages else set()
                given = conditioned(given, experiment, workdir, count, prompts, handed)
            stages.append(Stage(experiment, params, workdir, found, given))
    _check_one_clip(stages)
    if prompts != _NO_TEXTS and all(TOKENS not in stage.experiment.network.conditions for stage in stages):
        raise InputError("No stage of this cascade takes text: leave out --prompt, --prompts and --negative_prompt.")
    return Cascade(config, tuple(stages), mesh)


@jax.jit
def _equal(some: Params, others: Params) -> Bool[Array, ""]:
    return jnp.stack(jax.tree.leaves(jax.tree.map(jnp.array_equal, some, others))).all()


def _check_one_clip(stages: Sequence[Stage]) -> None:
    """Raises InputError where a stage was trained with another CLIP than the first that has one."""
    clips = [(stage.workdir, stage.params["frozen"][CLIP]) for stage in stages if CLIP in stage.experiment.frozen]
    for workdir, params in clips[1:]:
        first, expected = clips[0]
        shapes, others = (jax.tree.map(lambda leaf: leaf.shape, tree) for tree in (expected, params))
        same = shapes == others and bool(_equal(expected, params))
        if not same:
            raise InputError(
                f"{workdir} was trained with another CLIP than {first}, whose embeddings mean something else: name "
                "runs of one CLIP."
            )


def claim_folder(config: ConfigDict, workdir: Path) -> None:
    """Writes the config of a cascade into the folder of its results, where there is none.

    Raises:
      InputError: the folder is that of a training run, or of a cascade of other runs.
    """
    if not (workdir / "config.json").exists():
        save_config(workdir, config)
        return
    old = load_config(workdir)
    if not is_cascade(old):
        raise InputError(f"{workdir} is the folder of one run: give the cascade a --workdir of its own.")
    runs, before = ([(c.cascade[n].workdir, c.cascade[n].step) for n in stage_names(c)] for c in (config, old))
    if runs != before:
        named = ", ".join(run for run, _ in before)
        raise InputError(f"{workdir} is the folder of another cascade, of {named}: use a new --workdir.")


def open_images(models: Cascade, split: str, *, as_trained: bool = False) -> Source:
    """The `train_split` or `eval_split` of the data that samples are compared with.

    Args:
      models: what draws.
      split: the key.
      as_trained: its classes must be those that the first stage was trained on.

    Raises:
      InputError: there is no such data, or its labels stand for other classes.
    """
    trained = models.stages[0].workdir if as_trained else None
    if len(models.stages) == 1:
        return open_split(models.config, split, trained)
    return open_labelled(models.config.data, split, models.num_classes, trained)
