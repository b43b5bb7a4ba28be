"""Command-line flags of a verb, with `--config` from a file or from the workdir's saved config."""

import importlib.util
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from absl import flags
from ml_collections import ConfigDict, config_flags

from score_jax.builder.cascade import with_stated
from score_jax.builder.migration import MOVED, hint_of_moved
from score_jax.builder.run_options import SECTIONS
from score_jax.builder.sections import CONSTRUCTED, METHODS, OPTIONAL, check_keys, completed, is_cascade
from score_jax.builder.unread import with_methods
from score_jax.builder.workdirs import load_config
from score_jax.errors import InputError, unknown_name


def argument(argv: list[str], name: str) -> str | None:
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


def shipped_config(name: str) -> str:
    """Returns the file of a shipped config by its name below configs/, in the current folder or beside the package."""
    file = f"configs/{name}.py"
    return file if Path(file).is_file() else str(Path(__file__).resolve().parents[2] / file)


def config_of_file(file: str) -> ConfigDict:
    """What `get_config` of a file returns; of FILE.py:VARIANT it is handed the variant.

    Raises:
      InputError: there is no such file, or it sets a key that no config has.
    """
    path, _, variant = file.partition(":")
    if not Path(path).is_file():
        raise InputError(f"No config file {path}: expected one like configs/demo/mnist.py.")
    _import_root(Path(path))
    spec = importlib.util.spec_from_file_location("score_jax_config", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        if not hasattr(module, "get_config"):
            raise InputError(f"{path} has no function get_config: expected a config file like configs/demo/mnist.py.")
        return module.get_config(variant) if variant else module.get_config()
    except (AttributeError, KeyError) as error:
        raise _unknown_key(error) or error from error


def _unknown_key(error: AttributeError | KeyError) -> InputError | None:
    """What ml_collections says of a key that a locked config has not, as one line; None for other errors."""
    text = str(error)
    if "does not exist" not in text and "Did you mean" not in text and "locked" not in text:
        return None
    found = re.search(r'Key "(\w+)"', text) or re.search(r"(\w+)", text)
    wrong, near = found[1] if found else text, re.search(r'Did you mean "(\w+)"', text)
    for moved in MOVED:
        if moved.partition(".")[0] in SECTIONS and moved.partition(".")[2] == wrong:
            return hint_of_moved(moved)
    hint = f" Did you mean {near[1]!r}?" if near else ""
    return InputError(f"The config has no key {wrong!r}.{hint}")


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
        text = "Path of a config file. --config.section.key=value overrides one key; `help SECTION` lists the keys."
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
      InputError: it is not given.
    """
    if not values.workdir:
        raise InputError(
            "--workdir is missing: give the folder where the run keeps its config, checkpoints and results."
        )
    return Path(values.workdir)
