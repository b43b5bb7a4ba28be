"""Networks that take part in a run and are not trained in it: kept in folders of its workdir, beside its own.

WORKDIR/first_stage/           config.json and params.safetensors of the autoencoder
WORKDIR/condition_encoder/     params.safetensors of the network that makes a condition
WORKDIR/clip/                  config.json and params.safetensors of the CLIP of the section clip
WORKDIR/embedding_statistics/  params.safetensors: the mean and the deviation of its embeddings
"""

import functools
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh
from jaxtyping import PyTree

from score_jax.builder import Experiment
from score_jax.errors import InputError
from score_jax.runtime.multihost import first_says, on_first_process
from score_jax.runtime.sharding import replicated
from score_jax.training import weights


def frozen_shapes(experiment: Experiment) -> dict[str, PyTree]:
    """Returns shapes and dtypes of the parameters that are not trained, by name."""
    return {name: network.shapes() for name, network in experiment.frozen.items()}


def needs_lpips(experiment: Experiment) -> bool:
    """Returns whether training asks LPIPS too, which is in no run's folder: the config names its files."""
    return "autoencoder" in experiment.parts and experiment.config.loss.perceptual_weight > 0


def load_frozen(experiment: Experiment, workdir: Path, mesh: Mesh) -> dict[str, PyTree]:
    """Returns the parameters that a run does not train, by name, whole on each device.

    Raises:
      InputError: a folder is missing or damaged, or of another network.
    """
    found = {}
    for name, shapes in frozen_shapes(experiment).items():
        folder = workdir / name
        if not weights.has_params(folder):
            raise _missing(folder)
        found[name] = weights.load_params(folder, shapes, replicated(mesh))
    return found


def _missing(folder: Path) -> InputError:
    return InputError(
        f"{folder} is missing: the run needs it as `train` or `convert` wrote it. Copy the whole workdir."
    )


def copy_frozen(experiment: Experiment, workdir: Path, read: Mapping[str, Any]) -> None:
    """Copies into a new workdir what training.first_stage, training.condition_encoder and training.clip name; on all
    processes.

    What is there already is kept, but for what a run that never began has left behind.

    Args:
      experiment: the run.
      workdir: of the run.
      read: how each is read, by name: `read[name](folder, shapes)`, whole on each process; others are not copied.

    Raises:
      InputError: one is not named, or is none or of another network.
    """
    for name, shapes in frozen_shapes(experiment).items():
        if name not in read:
            continue
        source, begun = experiment.config.training[name], (workdir / "config.json").is_file()
        if first_says(weights.has_params(workdir / name) and (begun or not source)):
            continue
        if not source:
            raise InputError(f"training.{name} is missing: give the workdir of the section {name}'s weights.")
        params = read[name](Path(source), shapes)
        if jax.tree.map(lambda leaf: leaf.shape, params) != jax.tree.map(lambda leaf: leaf.shape, shapes):
            raise InputError(
                f"training.{name}={source} has another network: give the section {name} what its config.json says."
            )
        on_first_process(functools.partial(_save, workdir / name, params, Path(source)))


def _save(folder: Path, params: PyTree, source: Path) -> None:
    """Writes parameters, and the config of the run that they are of if it has one."""
    weights.save_params(folder, params)
    if (source / "config.json").is_file():
        shutil.copyfile(source / "config.json", folder / "config.json")


def copy_into_export(experiment: Experiment, workdir: Path, out: Path) -> None:
    """Copies the networks that a run does not train from its workdir into another folder."""
    for name in experiment.frozen:
        if not (workdir / name).is_dir():
            raise _missing(workdir / name)
        shutil.copytree(workdir / name, out / name, dirs_exist_ok=True)
