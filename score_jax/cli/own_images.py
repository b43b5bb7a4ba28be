"""`train --data=FOLDER`: the words of the command line that it stands for."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
from absl import flags
from ml_collections import ConfigDict

from score_jax.cli import config_flags
from score_jax.cli.config_flags import argument, checked_folder, overrides_of, without
from score_jax.data.image_check import LEAVE_OUT
from score_jax.errors import InputError
from score_jax.jobs.own_images import describe, look_at, name_of, recipe_for, splits_of
from score_jax.runtime.multihost import on_first_then_all, print_once

_COMMAND = "python -m score_jax"


def define(values: flags.FlagValues) -> None:
    """The flags of a person's own images."""
    flags.DEFINE_string(
        "data",
        None,
        "Folder, .zip, .tar, .parquet, LMDB, ... of images to train on; without --config it chooses one, and "
        "without --workdir runs/NAME.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "labels", None, "With --data: a .csv or .json file with the class of each image.", flag_values=values
    )


def expanded(argv: list[str]) -> list[str]:
    """Replaces `--data` and `--labels` by `--config`, `--workdir` and keys of the config; says what was found.

    What the command line states itself stays as it is.

    Raises:
      InputError: there are no images, `--data` has no value, `--labels` is given without `--data`, or the config or the
        workdir that is given is none.
    """
    data, labels = argument(argv, "data"), argument(argv, "labels") or ""
    if "--help" in argv:
        return argv
    if data == "" or (data is None and "--data" in argv):
        raise InputError("--data has no value: give --data=FOLDER, or an archive or an array file of images.")
    if not data and not labels:
        return argv
    if not data:
        raise InputError("--labels is the classes of the images of --data: give --data=FOLDER too.")
    labels = str(Path(labels).expanduser().absolute()) if labels else ""
    rest = without(without(argv, "data"), "labels")
    name = Path(name_of(data).removeprefix("folder:"))
    workdir = argument(rest, "workdir") or f"runs/{name.name if name.is_dir() else name.stem}"
    if name.is_dir() and Path(workdir).absolute().resolve().is_relative_to(name.resolve()):
        raise InputError(
            f"The workdir {workdir} lies in the folder of the images, which would then hold samples too: give a "
            "--workdir elsewhere."
        )
    checked_folder(workdir)
    rest = [rest[0], f"--workdir={workdir}", *without(rest[1:], "workdir")]
    config = argument(rest, "config")
    if config is not None:
        config_flags.define(flags.FlagValues(), rest)  # what is wrong with it is said before images are read
    if config is None and (Path(workdir) / "config.json").is_file():
        print_once(f"Goes on with the config of {workdir}.")
        stated = {"data.name": name_of(data)} | ({"data.labels": labels} if labels else {})
        return _with(rest, stated)
    found = on_first_then_all(lambda: look_at(data, labels))
    print_once("\n".join(describe(found)))
    stated = {"data.labels": labels} if labels else {}
    if config is not None:
        train, held_out, line = splits_of(found)
        print_once(line)
        stated |= {"data.name": found.name, "data.train_split": train, "data.eval_split": held_out}
        return _with(rest, stated | ({"data.damaged": LEAVE_OUT} if found.damaged else {}))
    recipe = recipe_for(found, on_cpu=jax.default_backend() == "cpu", image_size=_chosen_size(rest))
    print_once("\n".join(recipe.lines))
    words = _with(rest, {**recipe.values, **stated})
    shown = shlex.join([words[0], f"--config={recipe.config}", *words[1:]])
    print_once(f"The same as: {_COMMAND} {shown}")
    return [words[0], f"--config={recipe.config}", *words[1:]]


def _with(argv: list[str], values: Mapping[str, Any]) -> list[str]:
    """Keys of the config before those that the command line states itself, which therefore stand."""
    stated = overrides_of(argv)
    words = [f"--config.{key}={value}" for key, value in values.items() if key not in stated]
    return [*argv[:2], *words, *argv[2:]]


def _chosen_size(argv: list[str]) -> int:
    size = overrides_of(argv).get("data.image_size") or "0"
    return int(size) if size.isascii() and size.isdigit() else 0


def next_commands(workdir: Path, config: ConfigDict) -> str:
    """Returns what to do with a model that has been trained."""
    classes, guided = config.network.get("num_classes", 0), config.loss.get("condition_dropout", 0.0) > 0
    sample = f"  {_COMMAND} sample --workdir={workdir}{' --guidance.scale=2' if classes and guided else ''}"
    lines = ["Next:", sample]
    if classes:
        lines.append(f"{sample} --config.sampling.label=0 --out={workdir}/class_0")
    features = "" if classes else " --protocol=clean_fid"
    lines.append(f"  {_COMMAND} evaluate --workdir={workdir}{features}")
    return "\n".join(lines)
