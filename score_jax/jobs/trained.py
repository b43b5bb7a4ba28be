"""A trained model, ready to use: what every verb that draws or measures begins with."""

import dataclasses
from pathlib import Path

from jax.sharding import Mesh
from ml_collections import ConfigDict

from score_jax import builder
from score_jax.builder.workdirs import load_config
from score_jax.jobs.analytic_variance import with_measured
from score_jax.jobs.train import restore_params
from score_jax.runtime.sharding import make_mesh
from score_jax.typing import Params


@dataclasses.dataclass(frozen=True, eq=False)
class Trained:
    """A trained model: averaged parameters on a mesh.

    Attributes:
      config: with every key.
      workdir: of its run.
      experiment: the config as objects.
      mesh: all devices.
      params: as `experiment.with_frozen` returns them.
      step: of the checkpoint.
    """

    config: ConfigDict
    workdir: Path
    experiment: builder.Experiment
    mesh: Mesh
    params: Params
    step: int


def trained(config: ConfigDict, workdir: Path, step: int | None = None) -> Trained:
    """Returns the model of a workdir under a config, at this step or the newest.

    Raises:
      InputError: the config or the checkpoint is missing or does not fit.
    """
    experiment, mesh = builder.experiment(config), make_mesh()
    params, found = restore_params(config, experiment, workdir, mesh, step)
    return Trained(experiment.config, workdir, experiment, mesh, params, found)


def trained_of(workdir: Path) -> Trained:
    """Returns the model of a workdir, as it was trained, at its newest checkpoint.

    Raises:
      InputError: config or checkpoint are missing or do not fit.
    """
    return trained(load_config(workdir), workdir)


def measured(model: Trained) -> Trained:
    """Returns the model with what its sampler must know of it, measured on training data where its workdir has it not.

    Raises:
      InputError: the training data is not there.
    """
    experiment = with_measured(model.experiment, model.params, model.workdir, model.step, model.mesh)
    return dataclasses.replace(model, experiment=experiment)
