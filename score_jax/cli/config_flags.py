"""Command-line flags of a verb, with `--config` from a file or from the workdir's saved config."""

import contextlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from score_jax.builder.completion import completed
from score_jax.errors import InputError
from score_jax.training.run_config import load_config


def _argument(argv: list[str], name: str) -> str | None:
    """Value of `--name=value` or `--name value` in argv, None where it is absent."""
    for i, word in enumerate(argv):
        if word == f"--{name}" and i + 1 < len(argv):
            return argv[i + 1]
        if word.startswith(f"--{name}="):
            return word.split("=", 1)[1]
    return None


def _import_root(config_file: Path) -> None:
    """Lets a config file import its neighbours as `configs.…` from whichever folder the command runs in."""
    for folder in config_file.absolute().parents:
        if folder.name == "configs" and str(folder.parent) not in sys.path:
            sys.path.insert(0, str(folder.parent))


@contextlib.contextmanager
def _unknown_key_refused() -> Iterator[None]:
    try:
        yield
    except (AttributeError, KeyError) as error:
        wrong, *near = re.findall(r"\w+", re.sub(r"\\+n|Did you mean|instead of", " ", str(error)))
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise InputError(f"The config has no key {wrong!r}.{hint}") from error


def define(values: flags.FlagValues, argv: list[str], default_config: str | None = None) -> None:
    """Adds `--workdir` and `--config[.section.key]` to a verb's flags.

    Without `--config`, the config is `default_config`, or else the one saved in the workdir.

    Raises:
      InputError: no workdir is given, or there is no config to be had.
    """
    flags.DEFINE_string("workdir", None, "Folder of the run: config, checkpoints, logs, results.", flag_values=values)
    if "--help" in argv:
        config_flags.DEFINE_config_file("config", default_config, "Path of a config file.", flag_values=values)
        return
    workdir, config_file = _argument(argv, "workdir"), _argument(argv, "config") or default_config
    if config_file is None:
        if workdir is None:
            raise InputError("Neither --config nor --workdir is given: name a config file, or the folder of a run.")
        saved = completed(load_config(Path(workdir)))
        with _unknown_key_refused():
            config_flags.DEFINE_config_dict("config", saved, flag_values=values, sys_argv=argv)
        return
    file = config_file.partition(":")[0]  # FILE.py:VARIANT hands the variant to get_config
    if not Path(file).is_file():
        raise InputError(f"No config file {file}: expected one like configs/demo/mnist.py.")
    _import_root(Path(file))
    help_text = "Path of a config file; --config.section.key=value overrides one key."
    config_flags.DEFINE_config_file("config", default_config, help_text, flag_values=values, sys_argv=argv)


def parse(values: flags.FlagValues, argv: list[str], positional: tuple[str, ...] = ()) -> None:
    """Parses argv; every mistake in it becomes one line.

    Args:
      values: the flags.
      argv: the verb and its arguments.
      positional: string flags that words without a name are the values of, in this order.

    Raises:
      InputError: an unknown flag or config key (with the nearest name), a value of another type, or one word too many.
    """
    try:
        with _unknown_key_refused():
            rest = values(argv)
    except (flags.Error, TypeError, OSError) as error:
        raise InputError("Bad argument: " + " ".join(str(error).split())) from error
    words = rest[1:]
    for name, word in zip(positional, words, strict=False):
        values[name].value = word
    if words[len(positional) :]:
        raise InputError(f"Unexpected arguments {words[len(positional) :]}: options are written --name=value.")


def required_workdir(values: flags.FlagValues) -> Path:
    """The workdir.

    Raises:
      InputError: it is not given.
    """
    if not values.workdir:
        raise InputError("--workdir is missing: a run keeps config, checkpoints and results there.")
    return Path(values.workdir)
