"""Command-line flags of a verb, with `--config` from a file or from the workdir's saved config."""

from collections.abc import Mapping
from pathlib import Path

from absl import flags
from ml_collections import ConfigDict, config_flags

from score_jax.builder.cascade import with_stated
from score_jax.builder.sections import CONSTRUCTED, METHODS, OPTIONAL, check_keys, completed, is_cascade
from score_jax.builder.unread import with_methods
from score_jax.builder.workdirs import load_config
from score_jax.cli.config_files import config_of_file
from score_jax.errors import InputError, quoted, unknown_name


def argument(argv: list[str], name: str) -> str | None:
    """Value of the last `--name=value` or `--name value` in argv, None where there is none."""
    found = None
    for i, word in enumerate(argv):
        if word == f"--{name}" and i + 1 < len(argv):
            found = argv[i + 1]
        elif word.startswith(f"--{name}="):
            found = word.split("=", 1)[1]
    return found


def overrides_of(argv: list[str]) -> dict[str, str | None]:
    """The values of `--config.section.key=value` and `--config.section.key value`, by section.key."""
    found: dict[str, str | None] = {}
    for word, after in zip(argv, [*argv[1:], None], strict=True):
        name, equals, value = word.partition("=")
        if name.startswith("--config."):
            found[name.removeprefix("--config.")] = value if equals else after
    return found


def _with_methods(config: ConfigDict, overrides: Mapping[str, str | None]) -> ConfigDict:
    """The config with every key of the methods that the command line names.

    Raises:
      InputError: a key that it sets is unknown, or not read by its section's method.
    """
    if is_cascade(config):
        return with_stated(config, overrides)
    config = with_methods(completed(config), overrides)
    for key in overrides:
        section, _, name = key.partition(".")
        if section not in config:
            raise unknown_name("section of the config", section, config)
        if section in (*CONSTRUCTED, *OPTIONAL) and name and name not in config[section]:
            raise unknown_name(f"key of {section}:", name, config[section])
        if section not in (*CONSTRUCTED, *OPTIONAL) and name:
            check_keys(section, config[section].name if section in METHODS else None, {name: None})
    return config


def define(values: flags.FlagValues, argv: list[str], default_config: str | None = None) -> list[str]:
    """Adds `--workdir` and `--config[.section.key]` to a verb's flags.

    Without `--config`, the config is `default_config`, or else the one saved in the workdir.

    Returns:
      The arguments that are left to parse.

    Raises:
      InputError: no workdir is given, or one in a bucket; there is no config, or a key that is set is unknown.
    """
    flags.DEFINE_string(
        "workdir", None, "Folder of the run, with its config, checkpoints, logs and results.", flag_values=values
    )
    if "--help" in argv:
        text = (
            "Name of a config, as `help configs` lists them, or path of a config file. --config.section.key=value "
            "overrides one key; `help SECTION` lists the keys."
        )
        flags.DEFINE_string("config", default_config, text, flag_values=values)
        return argv
    workdir, config_file = argument(argv, "workdir"), argument(argv, "config") or default_config
    if workdir is not None and "://" in workdir:
        raise InputError(
            f"--workdir={workdir}: a workdir is a folder of this machine. Give one, and keep the checkpoints there by "
            f"--config.training.checkpoints={workdir}."
        )
    if config_file is not None:
        config = config_of_file(config_file)
    elif workdir is not None:
        config = load_config(Path(workdir))
    else:
        raise InputError("Neither --config nor --workdir is given: give a config file, or the folder of a run.")
    rest = without(argv, "config")
    config = _with_methods(config, overrides_of(rest))
    config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=rest)
    return rest


def without(argv: list[str], name: str) -> list[str]:
    """Arguments without `--name=value` and `--name value`."""
    rest: list[str] = []
    words = iter(argv)
    for word in words:
        if word == f"--{name}":
            next(words, None)
        elif not word.startswith(f"--{name}="):
            rest.append(word)
    return rest


def parse(values: flags.FlagValues, argv: list[str], positional: tuple[str, ...] = ()) -> None:
    """Parses argv; every mistake in it becomes one line.

    Args:
      values: the flags.
      argv: the verb and its arguments.
      positional: string flags that words without a name are the values of, in this order.

    Raises:
      InputError: an unknown flag, a value of another type, or one word too many.
    """
    try:
        rest = values(argv)
    except (flags.Error, TypeError, ValueError, AttributeError, KeyError, OSError) as error:
        raise InputError("Bad argument: " + " ".join(str(error).split())) from error
    words = rest[1:]
    for name, word in zip(positional, words, strict=False):
        values[name].value = word
    if words[len(positional) :]:
        raise InputError(f"Unexpected arguments {words[len(positional) :]}: write options as --name=value.")


def required_workdir(values: flags.FlagValues) -> Path:
    """The workdir.

    Raises:
      InputError: it is not given, or as of `checked_folder`.
    """
    if not values.workdir:
        raise InputError(
            "--workdir is missing: give the folder where the run keeps its config, checkpoints and results."
        )
    return checked_folder(values.workdir)


def results_folder(values: flags.FlagValues) -> Path:
    """Where a verb with the flag --out writes: the folder that it names, or else the workdir.

    Raises:
      InputError: neither is given, or as of `checked_folder`.
    """
    return checked_folder(values.out, "out") if values.out else required_workdir(values)


def checked_folder(name: str, flag: str = "workdir") -> Path:
    """The folder that a flag names, which may be new.

    Raises:
      InputError: it cannot be a folder, as it or one above it is a file, or its path is no text, which those that write
        checkpoints want.
    """
    folder = Path(name)
    try:
        str(folder.absolute()).encode()
    except UnicodeEncodeError:
        raise InputError(
            f"--{flag}={quoted(str(folder))}: the path is no text in UTF-8, and no checkpoint can be written there: "
            f"give another folder by --{flag}."
        ) from None
    there = next((path for path in (folder, *folder.parents) if path.exists()), folder)
    if there.is_file():
        raise InputError(f"--{flag}={folder}: {there} is a file; give a folder, which may be new.")
    return folder
