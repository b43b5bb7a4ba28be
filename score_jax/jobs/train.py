"""`train`: from a config to a workdir with a trained model; the same call again resumes."""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from ml_collections import ConfigDict

from score_jax import builder
from score_jax.builder.likelihood import completed
from score_jax.data.loader import make_loader, prefetch_to_device
from score_jax.data.sources import Source, open_source
from score_jax.errors import InputError
from score_jax.evaluation.image_grid import grid, save_png
from score_jax.jobs.sample import draw
from score_jax.training import weights
from score_jax.training.checkpoint import Checkpoints, abstract_state, check_same_config, load_config, save_config
from score_jax.training.log import TrainingLog
from score_jax.training.loop import Stop, run_training
from score_jax.training.sharding import check_divisible, make_mesh, over_batch, replicated
from score_jax.training.state import TrainState

_PREVIEWS = 64


def open_split(config: ConfigDict, split: str) -> Source:
    """The `train_split` or `eval_split` of a config's data set."""
    data = config.data
    return open_source(
        data.name,
        data[split],
        image_size=data.image_size,
        channels=data.channels,
        resize_filter=data.resize_filter,
        crop=data.crop,
        data_dir=data.data_dir,
    )


def train(config: ConfigDict, workdir: Path, stop: Stop | None = None) -> TrainState:
    """Trains to `config.training.steps` in `workdir`, from its newest checkpoint if there is one.

    Args:
      config: the experiment.
      workdir: where config, checkpoints and logs are kept; with converted weights in it, training starts from them.
      stop: ends training early, with a checkpoint.

    Raises:
      InputError: the config, the data or the workdir is not usable, or training diverged.
    """
    stop = Stop() if stop is None else stop
    experiment, mesh, c = builder.experiment(config), make_mesh(), config.training
    check_divisible(c.batch_size, mesh, "training.batch_size")
    source = open_split(config, "train_split")
    if (workdir / "config.json").exists():
        check_same_config(workdir, config)
    elif workdir.exists() and (workdir / "checkpoints").exists():
        raise InputError(f"{workdir} has checkpoints but no config.json: use a new --workdir.")
    save_config(workdir, config)
    print(
        f"Checkpoints in {(workdir / 'checkpoints').absolute()}, every {c.checkpoint_every} steps.",
        flush=True,
    )

    batches = make_loader(
        source,
        batch_size=c.batch_size,
        seed=config.seed,
        flip=config.data.flip,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )
    with Checkpoints(workdir, c.keep) as checkpoints:
        if checkpoints.latest is None:
            state = _initial_state(experiment, workdir, mesh)
        else:
            state, data_state = checkpoints.restore(abstract_state(experiment.create_state, replicated(mesh)))
            batches.set_state(data_state)
            print(f"Resuming at step {int(state.step)}.", flush=True)

        def draw_samples(state: TrainState, log: TrainingLog) -> None:
            if experiment.is_classifier or config.data.low_resolution:
                return  # draws nothing, or nothing without images to enlarge
            count = mesh.size * -(-_PREVIEWS // mesh.size)
            samples = draw(experiment, state.ema_params, mesh, range(count), batch_size=count, seed=config.seed)
            picture = grid(samples.images, columns=8)
            log.image(int(state.step), "samples", picture)
            save_png(workdir / "samples" / f"step_{int(state.step):08d}.png", picture)

        return run_training(
            state,
            jax.jit(experiment.train_step, donate_argnums=0),
            prefetch_to_device(batches, over_batch(mesh)),
            workdir=workdir,
            checkpoints=checkpoints,
            total_steps=c.steps,
            log_every=c.log_every,
            checkpoint_every=c.checkpoint_every,
            sample_every=c.sample_every,
            draw_samples=draw_samples,
            stop=stop,
        )


def _initial_state(experiment: builder.Experiment, workdir: Path, mesh: Mesh) -> TrainState:
    """Fresh, except that training starts from the run that the config names, or from converted weights in its folder.

    Raises:
      InputError: the other run has no checkpoint, or another network.
    """
    state = jax.jit(experiment.create_state, out_shardings=replicated(mesh))()
    other = experiment.config.training.start_from
    if other:
        config = completed(load_config(Path(other)))
        params, step = restore_params(config, builder.experiment(config), Path(other), mesh)
        if jax.tree.map(jnp.shape, params) != jax.tree.map(jnp.shape, state.params):
            raise InputError(f"training.start_from={other} has another network: give both the same network section.")
        print(f"Starting from step {step} of {other}.", flush=True)
    elif (workdir / weights.FILE_NAME).is_file():
        print(f"Starting from {workdir / weights.FILE_NAME}.", flush=True)
        params = weights.load_params(workdir, experiment.network.shapes(), replicated(mesh))
    else:
        return state
    return dataclasses.replace(state, params=params, ema_params=jax.tree.map(jnp.copy, params))


def restore_params(config: ConfigDict, experiment: builder.Experiment, workdir: Path, mesh, step: int | None = None):
    """The averaged parameters of a workdir, replicated over `mesh`, and their step (0 for converted weights).

    Raises:
      InputError: the workdir has no such checkpoint, or one of another network.
    """
    if not (workdir / "checkpoints").is_dir():
        if (workdir / weights.FILE_NAME).is_file():
            return weights.load_params(workdir, experiment.network.shapes(), replicated(mesh)), 0
        raise InputError(f"No checkpoint in {workdir}: expected the --workdir of a `train` run, or converted weights.")
    with Checkpoints(workdir, config.training.keep) as checkpoints:
        state, _ = checkpoints.restore(abstract_state(experiment.create_state, replicated(mesh)), step)
    return state.ema_params, int(state.step)
