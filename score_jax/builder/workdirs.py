"""The config of a workdir, in today's form whichever version wrote it, and with other settings than those."""

from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from score_jax.builder.sections import completed, refuse_cascade
from score_jax.builder.unread import with_methods
from score_jax.training.run_config import stored_config


def load_config(workdir: Path) -> ConfigDict:
    """Returns the config that a workdir was trained with, with every key; locked.

    Raises:
      InputError: there is none, it is not JSON or no config, or of a later version than this one.
    """
    return completed(stored_config(workdir))


def respace(config: ConfigDict, stated: Container[str]) -> None:
    """Makes a number of steps that is stated the respacing of a config that has one, which would else win unsaid.

    Args:
      config: completed; it is changed.
      stated: the keys that are, as section.key.
    """
    steps_alone = "sampler.num_steps" in stated and "sampler.respacing" not in stated
    if steps_alone and config.sampler.get("respacing"):
        config.sampler.respacing = str(config.sampler.num_steps)


def with_settings(config: ConfigDict, settings: Mapping[str, Mapping[str, Any]]) -> ConfigDict:
    """Returns the config of a run with other settings of some sections, as the command line would state them.

    Args:
      config: of the run, completed.
      settings: by section and key.

    Raises:
      InputError: the run is a cascade itself, a method is unknown, or it does not read a key.
    """
    refuse_cascade(config)
    stated = {f"{section}.{key}": str(value) for section, keys in settings.items() for key, value in keys.items()}
    values = with_methods(completed(config), stated).to_dict()
    for section, keys in settings.items():
        values[section] |= keys
    changed = completed(ConfigDict(values))
    respace(changed, stated)
    return changed
