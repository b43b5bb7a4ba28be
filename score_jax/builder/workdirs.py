"""The config of a workdir, in today's form whichever version wrote it."""

from pathlib import Path

from ml_collections import ConfigDict

from score_jax.builder.sections import completed
from score_jax.training.run_config import stored_config


def load_config(workdir: Path) -> ConfigDict:
    """The config that a workdir was trained with, with every key; locked.

    Raises:
      InputError: there is none, it is not JSON or no config, or of a later version than this one.
    """
    return completed(stored_config(workdir))
