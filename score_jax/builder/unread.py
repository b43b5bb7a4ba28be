"""Options of a method that nothing reads: beside the process of the model, or beside what the command line states."""

import dataclasses
from collections.abc import Mapping

from ml_collections import ConfigDict

from score_jax.builder.model_facts import ModelFacts
from score_jax.builder.options import CHAIN, Options, defaults_of, keys_of, unread
from score_jax.builder.processes import kind_of
from score_jax.builder.sampler_options import SAMPLERS, Stepping
from score_jax.builder.sections import METHODS, completed


def refuse_unread(sections: Mapping[str, Options], model: ModelFacts) -> None:
    """Refuses options that are not at their default, and that nothing reads of a model with this process.

    Raises:
      InputError: naming the first of them.
    """
    for options in sections.values():
        options.check_read(kind_of(model.process_name))


def with_methods(config: ConfigDict, stated: Mapping[str, str | None]) -> ConfigDict:
    """Returns a completed config with the methods that the command line states.

    What was read until then, and is no more, is put back to its default: its author did not foresee it, and who states
    a method need not know of it.

    Args:
      config: completed.
      stated: texts by section.key.

    Raises:
      InputError: a method is unknown.
    """
    before = {section: _unread(config, section, {}) for section in METHODS}
    for section in METHODS:
        name = stated.get(f"{section}.name")
        if name is not None and name != config[section].name:
            config[section].name, before[section] = name, {}
    config = completed(config)
    for section, table in METHODS.items():
        for key in _unread(config, section, stated).keys() - before[section].keys():
            if f"{section}.{key}" not in stated:
                config[section][key] = defaults_of(table[config[section].name])[key]
    if "sampler.name" in stated and "sampler.num_steps" not in stated:
        _take_no_more_steps_than_levels(config)
    return config


def _take_no_more_steps_than_levels(config: ConfigDict) -> None:
    """The default number of steps is that of the longest chains: a shorter chain is walked over all of its levels."""
    over_levels = issubclass(SAMPLERS[config.sampler.name], Stepping)
    if over_levels and kind_of(config.process.get("name")) == CHAIN:
        num_levels = config.process.get("num_levels", config.sampler.num_steps)
        config.sampler.num_steps = min(config.sampler.num_steps, num_levels)


def _unread(config: ConfigDict, section: str, stated: Mapping[str, str | None]) -> dict[str, str]:
    """The keys that the section's method does not read beside its values, or whose value it cannot have."""
    options, values = METHODS[section][config[section].name], config[section].to_dict()
    for key in keys_of(options):
        if isinstance(values[key], str):
            values[key] = stated.get(f"{section}.{key}", values[key])
    choices = {field.name: field.metadata["values"].one_of for field in dataclasses.fields(options)}
    impossible = {key for key, one_of in choices.items() if one_of is not None and values[key] not in one_of}
    return unread(options, values, kind_of(config.process.get("name"))) | dict.fromkeys(impossible, "it is no choice")
