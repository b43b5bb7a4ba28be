"""The workdir of a training run: whose it is, and what it goes on with."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from etils import epath
from ml_collections import ConfigDict

from score_jax.builder.sections import completed, is_cascade
from score_jax.builder.workdirs import load_config
from score_jax.data.sources import Source
from score_jax.errors import InputError
from score_jax.training import data_facts
from score_jax.training.checkpoint import said_of_run, saved_steps
from score_jax.training.goodput import versions
from score_jax.training.run_config import check_same_config, config_of, save_config

_PLACES = ("data.name", "data.train_split", "data.labels", "data.damaged")
"""Keys that say where images and labels lie, which may have moved where they are known to be the same."""


def claim_workdir(config: ConfigDict, workdir: Path, directory: epath.Path, source: Source) -> None:
    """Writes config.json and data.json into a workdir, and says the numbers of the classes.

    Args:
      config: what is to be trained.
      workdir: of the run.
      directory: of its checkpoints.
      source: the images that it is to be trained on.

    Raises:
      InputError: the workdir or the checkpoints are those of another run, or of one that was trained on other images.
    """
    config, kept = completed(config), data_facts.load_facts(workdir)
    if (workdir / "config.json").exists():
        old = load_config(workdir)
        if is_cascade(old):
            raise InputError(f"{workdir} is the folder of a cascade: use a new --workdir.")
        check_same_config(workdir, old, config, _free_data_keys(old, config, kept))
    elif (workdir / "checkpoints").exists():
        raise InputError(f"{workdir} has checkpoints but no config.json: use a new --workdir.")
    trained = saved_steps(directory)
    now, said = data_facts.facts_of(source), said_of_run(directory, trained)
    if trained and kept is not None:
        data_facts.check_same_data(workdir, kept, now)
    elif trained and "data" not in said:
        _check_old_numbers(config, workdir, now)
        print(
            f"{workdir} does not say which images it was trained on. It is assumed that they are those of {now.data}.",
            flush=True,
        )
    _check_checkpoints(config, directory, said, now)
    _say_other_versions(said.get("versions", {}))
    save_config(workdir, config)
    data_facts.save_facts(workdir, now)
    if now.classes:
        print(f"Classes: {data_facts.describe_classes(now.classes)}.", flush=True)
    print(f"Checkpoints in {directory}, every {config.training.checkpoint_every} steps.", flush=True)


def _check_checkpoints(
    config: ConfigDict, directory: epath.Path, said: Mapping[str, Any], now: data_facts.DataFacts
) -> None:
    """Refuses checkpoints that say that they are of another run; a workdir need not know of them.

    Those from before they said what they were trained on are taken for ones of the same data.

    Raises:
      InputError: another config, or other images.
    """
    if "config" in said:
        check_same_config(directory, completed(config_of(said["config"])), config, _PLACES)
    if "data" in said:
        data_facts.check_same_data(directory, data_facts.facts_from(said["data"]), now)


def _say_other_versions(then: Mapping[str, str]) -> None:
    """Says where a run goes on with other versions of what computes it than its newest checkpoint was written with."""
    now = versions()
    other = [f"{name} {old} -> {now[name]}" for name, old in then.items() if now.get(name, old) != old]
    if other:
        print(
            f"Other versions than this run had: {', '.join(other)}. Its numbers may differ in the last digits.",
            flush=True,
        )


def _free_data_keys(old: ConfigDict, new: ConfigDict, kept: data_facts.DataFacts | None) -> tuple[str, ...]:
    """Keys that may say otherwise where the same images lie: images that are known are compared themselves.

    Runs from before they were known could call the whole of a folder or an array file "train".
    """
    if kept is not None:
        return _PLACES
    name, split = old.data.name, old.data.train_split
    part = split.partition("[")[0]
    folder = Path(name.removeprefix("folder:")).expanduser()
    whole = name.endswith((".npz", ".npy")) or (name.startswith("folder:") and not (folder / part).is_dir())
    return ("data.train_split",) if whole and new.data.train_split == "all" + split.removeprefix(part) else ()


def _check_old_numbers(config: ConfigDict, workdir: Path, now: data_facts.DataFacts) -> None:
    """Refuses a run from before classes were numbered in natural order, where that gives them other numbers.

    Raises:
      InputError: it does.
    """
    names = now.classes or ()
    moved = [names.index(name) for name in sorted(names)] != list(range(len(names)))
    if moved and config.network.get("num_classes", 0) and config.data.name.startswith("folder:"):
        raise InputError(
            f"{workdir} was trained with class folders in alphabetical order ({', '.join(sorted(names)[:3])}, "
            "...), but "
            f"now their order is numerical ({', '.join(names[:3])}, ...): use a new --workdir, or rename the folders "
            "so that both orders are the same (02, 10)."
        )
