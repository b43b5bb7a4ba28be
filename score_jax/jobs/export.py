"""`export`: the parameters of a trained model alone, in a folder that the other verbs take."""

from pathlib import Path

import jax

from score_jax import builder
from score_jax.builder.workdirs import load_config
from score_jax.errors import InputError, unknown_name
from score_jax.jobs.analytic_variance import copy_moments
from score_jax.jobs.frozen import copy_into_export
from score_jax.jobs.train import restore_trained
from score_jax.runtime.results import provenance, write_json
from score_jax.runtime.sharding import make_mesh
from score_jax.training.data_facts import load_facts, save_facts
from score_jax.training.run_config import save_config
from score_jax.training.weights import parameters_name, save_params, save_params_orbax

FORMATS = {"safetensors": save_params, "orbax": save_params_orbax}


def export(workdir: Path, out: Path, form: str, *, step: int | None = None, averaged: bool = True) -> int:
    """Writes config.json, the parameters and export.json into `out`; returns the number of parameters.

    Args:
      workdir: of a `train` run.
      out: another folder, new or of an earlier export.
      form: a key of `FORMATS`.
      step: of the checkpoint; None: the newest.
      averaged: the moving average of the parameters, which samples are drawn from; or the parameters themselves.

    Raises:
      InputError: there is no such checkpoint, `out` holds a training run, or it is the workdir itself.
    """
    if form not in FORMATS:
        raise unknown_name("format", form, FORMATS)
    if (out / "checkpoints").exists():
        raise InputError(f"{out} holds a training run: export into another folder.")
    if out.resolve() == workdir.resolve():
        raise InputError(f"{out} is what is exported: export into another folder.")
    config = load_config(workdir)
    experiment = builder.experiment(config)
    params, found = restore_trained(config, experiment, workdir, make_mesh(), step, averaged=averaged)
    config = config.copy_and_resolve_references()
    with config.unlocked():
        config.training.checkpoints = ""  # of the run, not of this folder
    copy_into_export(experiment, workdir, out)
    save_config(out, config)
    FORMATS[form](out, params)
    if (known := load_facts(workdir)) is not None:  # the names of the classes among them
        save_facts(out, known)
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    kept = parameters_name(workdir)  # "ema" of a training run, whose raw parameters are there too
    name = "raw" if kept == "ema" and not averaged else kept
    facts = provenance(step=found, parameters=name, format=form, count=count)
    write_json(out / "export.json", facts)
    copy_moments(workdir, out, found, name)
    return count
