"""A cascade: the runs that its config names, each sampled as it says, checked to fit one another."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from score_jax.builder.cascade_options import SETTINGS, StageOptions
from score_jax.builder.experiment import Experiment, experiment
from score_jax.builder.options import keys_of
from score_jax.builder.sections import (
    METHODS,
    check_keys,
    check_settings,
    completed,
    refuse_in_cascade,
    stage_names,
)
from score_jax.builder.unread import with_methods
from score_jax.builder.workdirs import load_config, with_settings
from score_jax.conditioning.image_embedding import IMAGE_EMBEDDING
from score_jax.errors import InputError, unknown_name


@contextlib.contextmanager
def errors_of_stage(name: str) -> Iterator[None]:
    """Within it an InputError says which stage it is of."""
    try:
        yield
    except InputError as error:
        raise InputError(f"cascade.{name}: {error}") from error


def _settings(stage: ConfigDict) -> dict[str, dict[str, Any]]:
    return {section: stage[section].to_dict() for section in SETTINGS}


def with_stated(config: ConfigDict, stated: Mapping[str, str | None]) -> ConfigDict:
    """Returns a cascade with every key of the command line; those of a stage's settings beside the run's values.

    Args:
      config: of a cascade.
      stated: texts by key, as "cascade.stage1.sampler.num_steps".

    Raises:
      InputError: a key is unknown, or its stage's method does not read it; or a run is not to be read.
    """
    config = completed(config)
    of_stages: dict[str, dict[str, str | None]] = {}
    for key, text in stated.items():
        section, _, rest = key.partition(".")
        refuse_in_cascade(section)
        name, _, of_stage = rest.partition(".")
        if section == "cascade" and name not in config.cascade:
            raise unknown_name("stage of the cascade", name, config.cascade)
        if section == "cascade":
            of_stages.setdefault(name, {})[of_stage] = text
        elif section != "version":
            check_keys(section, None, {rest: None})
    for name, texts in of_stages.items():
        with errors_of_stage(name):
            _state(name, config.cascade[name], texts)
    return config


def _state(name: str, stage: ConfigDict, texts: Mapping[str, str | None]) -> None:
    """Gives a stage the keys that are stated of it."""
    for key in texts:
        section, dot, rest = key.partition(".")
        if not (rest if section in SETTINGS else section in keys_of(StageOptions) and not dot):
            raise unknown_name(
                f"key of cascade.{name}:", key, (*keys_of(StageOptions), *(f"{s}.KEY" for s in SETTINGS))
            )
    of_settings = {key: text for key, text in texts.items() if "." in key}
    if not of_settings:
        return
    run = with_settings(load_config(Path(texts.get("workdir") or stage.workdir)), _settings(stage))
    for section in SETTINGS:
        given = {key.partition(".")[2]: text for key, text in of_settings.items() if key.startswith(f"{section}.")}
        check_settings(f"cascade.{name}.{section}", section, {"name": given.get("name") or run[section].name} | given)
        if "name" in given:
            read = ("name", *keys_of(METHODS[section][str(given["name"])]))
            for key in [key for key in stage[section] if key not in read]:
                del stage[section][key]
        full = with_methods(completed(run), {f"{section}.{key}": text for key, text in given.items()})[section]
        for key in given:
            stage[section][key] = full[key]
    if "sampler.num_steps" in texts and "sampler.respacing" not in texts and "respacing" in stage.sampler:
        del stage.sampler["respacing"]  # it would win without a word


def stage_experiments(config: ConfigDict) -> dict[str, Experiment]:
    """Returns the models of a cascade by the names of their stages, in order; workdirs need no parameters yet.

    Raises:
      InputError: a run is not to be read or draws no images, or its images do not fit the next one.
    """
    config, found = completed(config), {}
    for name in stage_names(config):
        stage = config.cascade[name]
        with errors_of_stage(name):
            run = with_settings(load_config(Path(stage.workdir)), _settings(stage))
            found[name] = experiment(ConfigDict(run.to_dict() | {"sampling": config.sampling.to_dict()}))
            found[name].part("sampler")
            if "embeddings" not in found[name].parts:  # what stages hand on, or else 8 bits
                found[name].part("images")
    _check_fit(config, found)
    return found


def _check_fit(config: ConfigDict, stages: Mapping[str, Experiment]) -> None:
    """Raises InputError where a stage takes something else than what the stage before draws."""
    before: tuple[int, ...] = ()
    for name, found in stages.items():
        run, takes = config.cascade[name].workdir, _takes(found)
        if takes != before:
            verb = "enlarges" if found.config.data.low_resolution else "takes"
            what = f"{verb} {_words(takes)}" if takes else "draws from noise"
            comes = f"the stage before draws {_words(before)}" if before else "no stage is before it"
            raise InputError(
                f"cascade.{name}: {run} {what}, but {comes}: give another run, or the stages in another order."
            )
        before = _hands_on(found)
    if before != (config.data.image_size, config.data.image_size, config.data.channels):
        raise InputError(
            f"The cascade draws {_words(before)}: give data.image_size={before[0]} and "
            f"data.channels={before[2]}, because `evaluate` reads real images of this size."
        )


def _takes(stage: Experiment) -> tuple[int, ...]:
    """The shape of what a stage needs of the one before; of an embedding (1, 1, d); () where it needs nothing."""
    size, embedding = stage.config.data.low_resolution, stage.network.conditions.get(IMAGE_EMBEDDING)
    if embedding is not None:
        return 1, 1, *embedding.shape
    return (size, size, stage.image_shape[2]) if size else ()


def _hands_on(stage: Experiment) -> tuple[int, int, int]:
    """The shape of what a stage gives the next one."""
    codec = stage.parts.get("embeddings")
    return stage.image_shape if codec is None else (1, 1, codec.clip.features)


def _words(shape: tuple[int, ...]) -> str:
    height, width, channels = shape
    if (height, width) == (1, 1):
        return f"embeddings of {channels} numbers"
    return f"images of {height} x {width} with {channels} channel{'s' if channels > 1 else ''}"
