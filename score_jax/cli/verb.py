"""What the verbs share: their flags, and the model of a workdir."""

import os
import re
from collections.abc import Callable
from pathlib import Path

from absl import flags

from score_jax.builder.sections import is_cascade
from score_jax.builder.workdirs import respace
from score_jax.cli import config_flags
from score_jax.cli.config_flags import argument, without
from score_jax.errors import InputError
from score_jax.jobs.cascades import Cascade, Stage, claim_folder, load_cascade
from score_jax.jobs.enlarge import enlarging
from score_jax.jobs.guide import load_classifier
from score_jax.jobs.prompts import Prompts, conditioned, read_prompts
from score_jax.jobs.sample import BALANCED_LABELS, RANDOM_LABEL
from score_jax.jobs.trained import Trained, measured, trained
from score_jax.runtime.cluster import is_joined
from score_jax.runtime.compile_cache import compile_cache, keep_compiled
from score_jax.runtime.multihost import on_first_process
from score_jax.runtime.sharding import make_mesh
from score_jax.training.checkpoint import directory_of


def parse_flags(
    argv: list[str],
    description: str,
    define: Callable[[flags.FlagValues], None] = lambda values: None,
    default_config: str | None = None,
    positional: tuple[str, ...] = (),
) -> flags.FlagValues | None:
    """Flags of a verb; None where `--help` was asked for and has been printed.

    Args:
      argv: the verb and its arguments.
      description: what the verb does, for `--help`.
      define: adds the verb's own flags.
      default_config: path of the config where `--config` is not given.
      positional: string flags that may be given as bare words, in this order.
    """
    values = flags.FlagValues()
    define(values)
    rest = config_flags.define(values, argv, default_config)
    if "--help" in argv:
        print(f"{description}\n\nOptions:\n{values.get_help('  ')}")
        return None
    config_flags.parse(values, rest, positional)
    if not is_cascade(values.config):
        respace(values.config, {word.partition("=")[0].removeprefix("--config.") for word in argv})
    if is_joined() and values.workdir:
        elsewhere = "" if is_cascade(values.config) else values.config.training.checkpoints
        keep_compiled(compile_cache(os.environ, directory_of(Path(values.workdir), elsewhere)))
    return values


ALIASES = {
    "--solver": "--config.sampler.name",
    "--steps": "--config.sampler.num_steps",
    "--method": "--config.likelihood.name",
}
"""Short flags, and the keys that they stand for."""


_LABELS = {"random": str(RANDOM_LABEL), "balanced": str(BALANCED_LABELS)}
"""Words for numbers that stand for no class."""


def _label(text: str) -> str:
    """The number that --labels means.

    Raises:
      InputError: it is neither a word of `_LABELS` nor a whole number.
    """
    if text not in _LABELS and re.fullmatch(r"-?[0-9]+", text) is None:
        raise InputError(f"--labels={text}: give random, balanced, or the number of a class.")
    return _LABELS.get(text, text)


def with_aliases(argv: list[str]) -> list[str]:
    """The short flags of the verbs as the config keys they stand for.

    Raises:
      InputError: the value of --labels is none.
    """
    section = "evaluation" if argv[0] == "evaluate" else "sampling"
    aliases = ALIASES | {"--num_samples": f"--config.{section}.num_samples"}
    words = []
    joined = without(argv, "labels") if argv[0] in ("sample", "evaluate") else argv
    if joined != argv:
        joined = [*joined, f"--labels={argument(argv, 'labels') or ''}"]
    for word in joined:
        name, equals, value = word.partition("=")
        name = aliases.get(name, name).replace("--guidance.", "--config.guidance.", 1)
        if name == "--labels" and argv[0] in ("sample", "evaluate"):
            name, value = "--config.sampling.label", _label(value)
        if name == "--config.guidance.classifier":
            words.append("--config.guidance.name=classifier")
            name = "--config.guidance.workdir"
        words.append(name + equals + value)
    return words


PROMPTS = ("prompt", "prompts", "negative_prompt")
"""Flags of texts that samples are drawn by."""


def define_prompts(values: flags.FlagValues) -> None:
    """The flags of texts."""
    flags.DEFINE_string("prompt", None, "Text that the samples of a text model are to show.", flag_values=values)
    flags.DEFINE_string("prompts", None, "File with a text a line, for one sample each in turn.", flag_values=values)
    flags.DEFINE_string(
        "negative_prompt",
        None,
        "Text that guidance leads away from, in the place of the empty one.",
        flag_values=values,
    )


def define_step(values: flags.FlagValues) -> None:
    """The flag that picks a checkpoint."""
    flags.DEFINE_integer(
        "step", None, "Step of the checkpoint that is read; by default the newest.", flag_values=values
    )


def load_trained(values: flags.FlagValues) -> Trained:
    """The model that the flags name.

    Raises:
      InputError: the config or the checkpoint is missing or does not fit.
    """
    return trained(values.config, config_flags.required_workdir(values), values.step)


def _prompts(values: flags.FlagValues) -> Prompts:
    """The texts that the flags name, if the verb has any."""
    return read_prompts(*(values[name].value if name in values else None for name in PROMPTS))


def load_drawing(values: flags.FlagValues, count: int) -> tuple[Cascade, int]:
    """What draws, a model or a cascade, as the flags name it with `--base`; and how many samples, at most `count`.

    Raises:
      InputError: a config or a checkpoint is missing or does not fit, or `--base` or `--step` are not of it.
    """
    if is_cascade(values.config):
        config, workdir = values.config, config_flags.required_workdir(values)
        if values.base:
            raise InputError("--base is only for super-resolution models; a cascade begins with noise: leave it out.")
        if values.step is not None:
            raise InputError(
                "--step is only for a single run: give the step of a stage, as in --config.cascade.stage1.step=STEP."
            )
        models = load_cascade(config, make_mesh(), count, _prompts(values))
        on_first_process(lambda: claim_folder(config, workdir))
        return models, count
    return drawing_of(load_trained(values), values, count)


def drawing_of(model: Trained, values: flags.FlagValues, count: int) -> tuple[Cascade, int]:
    """The same of a model that is loaded already.

    Raises:
      InputError: it draws nothing, or `--base` or texts are not of it.
    """
    model.experiment.part("sampler")
    prompts = _prompts(values)
    given, count = enlarging(load_classifier(model.experiment, model.mesh), model.experiment, values.base, count)
    given = conditioned(given, model.experiment, model.workdir, count, prompts)
    stage = Stage(measured(model).experiment, model.params, model.workdir, model.step, given)
    return Cascade(model.config, (stage,), model.mesh), count
