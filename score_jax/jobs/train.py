"""`train`: from a config to a workdir with a trained model; the same call again resumes."""

import contextlib
import dataclasses
import functools
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from etils import epath
from jax.sharding import Mesh
from jaxtyping import Array, PyTree
from ml_collections import ConfigDict

import score_jax
from score_jax import builder
from score_jax.arrays import keys_per_example
from score_jax.builder.workdirs import load_config
from score_jax.codecs.embeddings import CLIP
from score_jax.codecs.latents import Latents
from score_jax.codecs.scale import scale_by_std
from score_jax.convert.lpips import load_lpips
from score_jax.data.degradations import RANDOM_DEGRADATIONS
from score_jax.data.latent_records import load_facts, open_latents
from score_jax.data.loader import TrainingBatches, make_loader, prefetch_to_device
from score_jax.data.sources import Source
from score_jax.data.text_tokenizers import text_tokenizer
from score_jax.errors import InputError
from score_jax.evaluation.image_grid import save_png
from score_jax.evaluation.pictures import picture
from score_jax.jobs.claim import claim_workdir
from score_jax.jobs.embedding_statistics import bring_statistics
from score_jax.jobs.encode_latents import hash_of
from score_jax.jobs.frozen import copy_frozen, load_frozen, needs_lpips
from score_jax.jobs.open_split import open_split
from score_jax.jobs.prompts import Prompts, conditioned
from score_jax.jobs.sample import Given, draw
from score_jax.models.autoencoders.first_stage import FIRST_STAGE
from score_jax.models.network import ENCODER
from score_jax.planning.chips import peak_flops
from score_jax.runtime.cluster import leave_hung
from score_jax.runtime.multihost import agree, first_says, on_first_process, on_first_then_all, print_once
from score_jax.runtime.sharding import (
    check_divisible,
    gathered,
    make_mesh,
    over_batch,
    replicated,
    sharded_by_size,
)
from score_jax.runtime.stop import Stop, any_process_asks
from score_jax.training import data_facts, weights
from score_jax.training.checkpoint import (
    Checkpoints,
    abstract_state,
    directory_of,
    said_of_run,
    saved_steps,
)
from score_jax.training.goodput import RunsFile, versions
from score_jax.training.grace import Grace
from score_jax.training.lease import Lease
from score_jax.training.log import TrainingLog
from score_jax.training.loggers import Run, check_loggers, open_loggers
from score_jax.training.loop import Schedule, run_training
from score_jax.training.mirror import Mirror
from score_jax.training.optimizer import described_schedule
from score_jax.training.profile import tracer
from score_jax.training.state import TrainState
from score_jax.training.step import TrainStep, in_sequence
from score_jax.training.step_clock import StepClock
from score_jax.training.throughput import Meter, passes_of_a_step
from score_jax.training.watchdog import watchdog
from score_jax.typing import Params

_PREVIEWS = 64


def train(config: ConfigDict, workdir: Path, stop: Stop | None = None, *, profile: bool = False) -> TrainState:
    """Trains to `config.training.steps` in `workdir`, from its newest whole checkpoint if there is one.

    Args:
      config: the experiment; the same on all processes.
      workdir: where config, checkpoints and logs are kept; with converted weights in it, training starts from them.
      stop: ends training early, with a checkpoint.
      profile: write a trace of a few steps into the workdir.

    Raises:
      InputError: the config, the data or the workdir is not usable, or training diverged.
    """
    stop = Stop() if stop is None else stop
    experiment = builder.experiment(config)
    config = experiment.config
    agree("config", _identity(config))
    c = config.training
    mesh = make_mesh(c.fsdp)
    check_divisible(c.batch_size, mesh, "training.batch_size", c.accumulate)
    check_loggers(c.loggers)
    source = on_first_then_all(lambda: open_training(experiment))
    agree("data", {"images": len(source), "classes": source.classes})
    directory = directory_of(workdir, c.checkpoints)
    _bring_frozen(experiment, workdir)
    open_batches = functools.partial(training_batches, config, source, c.batch_size)
    bring_statistics(experiment, workdir, open_batches, mesh)
    read = load_frozen(experiment, workdir, mesh)
    _check_latents(experiment, read)
    experiment = with_scale(experiment, workdir, source, mesh, read)
    config = experiment.config
    on_first_process(lambda: claim_workdir(config, workdir, directory, source))
    batches, frozen = training_batches(config, source, c.batch_size), _frozen(experiment, read, mesh)
    train_steps = compiled_steps(experiment, mesh)
    if c.sample_every and _draws_pictures(experiment):
        _refuse_moments(experiment)
        _given_of_pictures(experiment, workdir, _num_pictures(mesh))  # so that what it lacks is said before training
    lease, mirror, clock = Lease(directory), Mirror(workdir, directory), StepClock()

    def before_save() -> None:
        lease.check()
        mirror.copy()

    about, saved = _about(config, workdir), Grace(os.environ, clock).judge
    with (
        contextlib.closing(batches),
        lease,
        mirror,
        Checkpoints(directory, c.keep, c.keep_every, about=about, before_save=before_save, saved=saved) as checkpoints,
    ):
        if checkpoints.latest is None:
            state = _initial_state(experiment, workdir, mesh)
        else:
            state, data_state, damaged = checkpoints.restore(abstract_state(experiment.create_state, mesh))
            checkpoints.set_aside(damaged)
            batches.set_state(data_state)
            o = config.optimizer
            course = described_schedule(o.learning_rate, o.decay, o.decay_steps or c.steps, o.last)
            print_once(f"Resuming at step {int(state.step)} of {c.steps}; {course}.")
        runs = RunsFile(workdir, int(state.step))
        loggers = open_loggers(c.loggers, Run(workdir, int(state.step), config.to_dict()))
        with (
            TrainingLog(workdir, c.steps, int(state.step), _meter(experiment), loggers) as log,
            watchdog(clock, c.step_timeout, leave_hung),
        ):
            if int(state.step) < c.steps:
                log.compiling(int(state.step))
            return run_training(
                state,
                lambda state, taken: train_steps(state, taken, frozen),
                prefetch_to_device(batches, over_batch(mesh)),
                workdir=workdir,
                checkpoints=checkpoints,
                log=log,
                schedule=Schedule(c.steps, c.log_every, c.checkpoint_every, c.sample_every, c.steps_per_dispatch),
                draw_samples=lambda state: _draw_samples(experiment, state, frozen, mesh, workdir, log),
                post_stop=any_process_asks(stop, mesh),
                clock=clock,
                reached=lambda step: runs.reached(step, clock.seconds),
                trace=tracer(workdir / "profile", int(state.step)) if profile else lambda step: None,
            )


def open_training(experiment: builder.Experiment) -> Source:
    """Returns what a run is trained on: the train split of its data, or latents of it on disk.

    Raises:
      InputError: there is no such data, or latents are not what the model needs.
    """
    config = experiment.config
    folder, data = config.training.latents, config.data
    if not folder:
        return open_split(config, "train_split")
    of_images = data.flip or data.low_resolution or data.holes or data.segmentations or data.embeddings
    if not isinstance(experiment.codec, Latents) or of_images:
        raise InputError(
            "training.latents is only for models with codec.name=latents that need no image in training: leave it out, "
            "or data.flip=True, data.low_resolution, data.holes, data.segmentations and data.embeddings."
        )
    latents = open_latents(Path(folder), text_tokenizer(data.tokenizer, data.max_tokens))
    return dataclasses.replace(latents.with_labels_of(experiment.label_classes), threads=data.threads)


def _check_latents(experiment: builder.Experiment, frozen: Mapping[str, PyTree]) -> None:
    """Raises InputError where the latents on disk are of another autoencoder than the run's, or of another size."""
    folder = experiment.config.training.latents
    if not folder:
        return
    facts, expected = load_facts(Path(folder)), experiment.codec.shape(experiment.image_shape)
    if facts.shape[:2] != expected[:2]:
        raise InputError(
            f"training.latents={folder} are {facts.shape[0]} x {facts.shape[1]}, but images of "
            f"data.image_size={experiment.config.data.image_size} have latents of {expected[0]} x {expected[1]}: "
            "give the data.image_size that they were encoded at."
        )
    if facts.first_stage != hash_of(frozen[FIRST_STAGE]):
        raise InputError(
            f"training.latents={folder} are of another autoencoder than training.first_stage: encode the data anew by "
            "`encode --workdir` of that one."
        )


def training_batches(config: ConfigDict, source: Source, batch_size: int) -> TrainingBatches:
    """Returns the batches of a run from the first on, of `batch_size` examples over all processes."""
    degrade, size = RANDOM_DEGRADATIONS.get(config.data.degradation), config.data.low_resolution
    return make_loader(
        source,
        batch_size=batch_size,
        seed=config.seed,
        flip=config.data.flip,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        holes=bool(config.data.holes),
        degrade=functools.partial(degrade, size=size) if degrade and size else None,
    )


def _bring_frozen(experiment: builder.Experiment, workdir: Path) -> None:
    """Copies into a new workdir the networks that the run does not train; on all processes."""
    whole = make_mesh()  # on which each process has all of an array

    def of_run(folder: Path, shapes: PyTree) -> Params:
        config = load_config(folder)
        return restore_trained(config, builder.experiment(config), folder, whole)[0]

    def weights_alone(folder: Path, shapes: PyTree) -> Params:
        inner = folder / ENCODER  # of a workdir that `train` or `convert` wrote
        return weights.load_params(inner if inner.is_dir() else folder, shapes, replicated(whole))

    copy_frozen(experiment, workdir, {FIRST_STAGE: of_run, CLIP: of_run, ENCODER: weights_alone})


def _frozen(experiment: builder.Experiment, read: Mapping[str, PyTree], mesh: Mesh) -> PyTree:
    """The networks that training asks and does not train, those that were read among them; None where there are
    none."""
    found, loss = dict(read), experiment.config.loss
    if needs_lpips(experiment):
        if not (loss.lpips_vgg and loss.lpips_heads):
            raise InputError(
                "loss.perceptual_weight needs the files loss.lpips_vgg and loss.lpips_heads, or 0 to do without."
            )
        found[builder.LPIPS_NAME] = load_lpips(Path(loss.lpips_vgg), Path(loss.lpips_heads)).params
    places = sharded_by_size(found, mesh)
    return jax.tree.map(jax.device_put, found, places) if found else None


def with_scale(
    experiment: builder.Experiment, workdir: Path, source: Source, mesh: Mesh, frozen: Mapping[str, PyTree]
) -> builder.Experiment:
    """Returns a model of latents with their scale: that of its workdir, or else measured, where the config says none.

    It is one over the standard deviation of the first batch's latents, over all devices and processes.
    """
    codec, config = experiment.codec, experiment.config
    if not isinstance(codec, Latents) or config.codec.scale:
        return experiment
    scale = _known_scale(workdir, directory_of(workdir, config.training.checkpoints))
    if not scale:
        batches = training_batches(config, source, config.training.batch_size)
        batch, _ = next(prefetch_to_device(batches, over_batch(mesh), depth=1))

        def measured(frozen: PyTree, images: Array) -> Array:
            keys = keys_per_example(jax.random.key(config.seed), jnp.arange(len(images)))
            return scale_by_std(codec.at(frozen).dequantize(keys, images))

        scale = float(jax.jit(measured, out_shardings=replicated(mesh))(frozen, batch["image"]))
        if not (math.isfinite(scale) and scale > 0):
            raise InputError(
                f"1 / (standard deviation of the first batch's latents) is {scale}: check the autoencoder by "
                "`reconstruct`, or give codec.scale."
            )
        print_once(f"Latents of the first batch have a standard deviation of {1 / scale:.4g}: codec.scale={scale:.6g}.")
    config = config.copy_and_resolve_references()
    config.codec.scale = scale
    return builder.experiment(config)


def _known_scale(workdir: Path, directory: epath.Path) -> float:
    """The scale of a run's latents, which its workdir or else its checkpoints say; 0 for a run that begins."""
    if first_says((workdir / "config.json").exists()):
        return load_config(workdir).codec.get("scale", 0.0)
    said = said_of_run(directory, saved_steps(directory))
    return said.get("config", {}).get("codec", {}).get("scale", 0.0)


def _identity(config: ConfigDict) -> dict[str, Any]:
    """What is trained, and by which code."""
    return {"config": config.to_dict(), "score_jax": score_jax.__version__, "jax": jax.__version__}


def _about(config: ConfigDict, workdir: Path) -> dict[str, Any]:
    """What a checkpoint, which the first process writes, says of its run."""
    facts = data_facts.load_facts(workdir) if jax.process_index() == 0 else None
    data = {} if facts is None else {"data": dataclasses.asdict(facts)}
    return _identity(config) | data | {"versions": versions()}


def compiled_step(experiment: builder.Experiment, mesh: Mesh) -> Any:
    """Jits the `TrainStep` over a mesh: the state stays where it is, and its old memory is reused."""
    return _compiled(_step_over(mesh, experiment), experiment, mesh)


def compiled_steps(experiment: builder.Experiment, mesh: Mesh) -> Any:
    """Returns the `TrainSteps` over a mesh, jitted likewise; a program for each number of batches."""
    return _compiled(in_sequence(_step_over(mesh, experiment)), experiment, mesh)


def _step_over(mesh: Mesh, experiment: builder.Experiment) -> TrainStep:
    return lambda state, batch, frozen=None: experiment.train_step(
        state, batch, frozen, lambda params: gathered(params, mesh)
    )


def _compiled(of_state: Callable, experiment: builder.Experiment, mesh: Mesh) -> Any:
    places = sharded_by_size(jax.eval_shape(experiment.create_state), mesh)
    return jax.jit(of_state, donate_argnums=0, out_shardings=(places, replicated(mesh)))


def fresh_state(experiment: builder.Experiment, mesh: Mesh) -> TrainState:
    """Returns the state that training begins with, made where `compiled_step` keeps it."""
    places = sharded_by_size(jax.eval_shape(experiment.create_state), mesh)
    return jax.jit(experiment.create_state, out_shardings=places)()


def starting_from(params: Params, state: TrainState) -> TrainState:
    """A state with other parameters, as raw and as averaged ones, where its own are; `params` keep their memory."""
    places = jax.tree.map(lambda leaf: leaf.sharding, (state.params, state.ema_params))
    copies = jax.device_put((params, params), places, may_alias=False)
    return dataclasses.replace(state, params=copies[0], ema_params=copies[1])


def _meter(experiment: builder.Experiment) -> Meter:
    b, peak = experiment.config.training.batch_size, peak_flops(jax.devices()[0].device_kind)
    if peak is None:
        return Meter(b)
    passes = passes_of_a_step(experiment.config.optimizer.sam_rho)
    return Meter(b, passes * b * experiment.network.flops(), peak * jax.device_count())


@functools.lru_cache(maxsize=1)
def _given_of_pictures(experiment: builder.Experiment, workdir: Path, count: int) -> Given:
    """Conditions of a run's pictures, the same object each time: the compiled sampler is found again by it."""
    return conditioned(Given(), experiment, workdir, count, Prompts())


def _draws_pictures(experiment: builder.Experiment) -> bool:
    """Whether samples can be drawn while it trains: not without images to enlarge or to fill."""
    data = experiment.config.data
    return "sampler" in experiment.parts and not data.low_resolution and not data.holes


def _refuse_moments(experiment: builder.Experiment) -> None:
    """Raises InputError where pictures would be drawn of a model that is not measured yet."""
    if experiment.needs_moments:
        raise InputError(
            f"training.sample_every={experiment.config.training.sample_every} draws pictures while the model trains, "
            "and sampler.variance=analytic is measured of a trained one: give training.sample_every=0, or the variance "
            "to `sample` alone."
        )


def _num_pictures(mesh: Mesh) -> int:
    return mesh.size * -(-_PREVIEWS // mesh.size)


def _draw_samples(
    experiment: builder.Experiment, state: TrainState, frozen: PyTree, mesh: Mesh, workdir: Path, log: TrainingLog
) -> None:
    """A grid of samples to TensorBoard and into the workdir."""
    if not _draws_pictures(experiment):
        return
    config, count, step = experiment.config, _num_pictures(mesh), int(state.step)
    params = experiment.with_frozen(state.ema_params, frozen)
    given = _given_of_pictures(experiment, workdir, count)
    samples = draw(experiment, params, mesh, range(count), batch_size=count, seed=config.seed, given=given)
    shown = picture(samples.images)
    log.image(step, "samples", shown)
    if jax.process_index() == 0:
        save_png(workdir / "samples" / f"step_{step:08d}.png", shown)


def _initial_state(experiment: builder.Experiment, workdir: Path, mesh: Mesh) -> TrainState:
    """Fresh, except that training starts from the run that the config names, or from converted weights in its folder.

    Raises:
      InputError: the other run has no checkpoint, or another network.
    """
    state = fresh_state(experiment, mesh)
    other = experiment.config.training.start_from
    if other:
        config = load_config(Path(other))
        params, step = restore_trained(config, builder.experiment(config), Path(other), mesh)
        if jax.tree.map(jnp.shape, params) != jax.tree.map(jnp.shape, _of_model(experiment, state.params)):
            raise InputError(
                f"training.start_from={other} has another network: give both configs the same section `network`."
            )
        scales = [c.codec.get("scale", 1.0) for c in (config, experiment.config)]
        if scales[0] != scales[1]:
            raise InputError(
                f"training.start_from={other} has codec.scale={scales[0]}, but this run {scales[1]}: give "
                f"--config.codec.scale={scales[0]}, and the same autoencoder."
            )
        print_once(f"Starting from step {step} of {other}.")
    elif weights.has_params(workdir):
        print_once(f"Starting from the parameters in {workdir}.")
        params = weights.load_params(workdir, experiment.network.shapes(), replicated(mesh))
    else:
        return state
    if len(experiment.groups) > 1:  # an autoencoder's discriminator starts afresh
        params = state.params | {builder.MODEL: params}
    return starting_from(params, state)


def _of_model(experiment: builder.Experiment, params: Params) -> Params:
    """Of the parameters of all groups those of the model."""
    return params[builder.MODEL] if len(experiment.groups) > 1 else params


def restore_trained(
    config: ConfigDict,
    experiment: builder.Experiment,
    workdir: Path,
    mesh: Mesh,
    step: int | None = None,
    *,
    averaged: bool = True,
) -> tuple[Params, int]:
    """Returns the averaged parameters of a workdir's model, or the raw ones, and their step (0 for weights without a
    training); without those of networks that are not trained.

    Raises:
      InputError: the workdir has no such checkpoint or parameters, or those of another network.
    """
    directory = directory_of(workdir, config.training.checkpoints)
    if not directory.is_dir():
        if weights.has_params(workdir):
            if step is not None:
                raise InputError(f"{workdir} has only parameters and no step {step}: leave --step out.")
            if not averaged and weights.parameters_name(workdir) == "ema":
                raise InputError(f"{workdir} has only averaged parameters: leave --parameters=raw out.")
            return weights.load_params(workdir, experiment.network.shapes(), replicated(mesh)), 0
        raise InputError(f"No checkpoint in {directory}: expected checkpoints of `train`, or converted weights.")
    with Checkpoints(directory, config.training.keep, config.training.keep_every) as checkpoints:
        like = abstract_state(experiment.create_state, mesh)
        params, found = checkpoints.restore_part(like, "ema_params" if averaged else "params", step)
    return _of_model(experiment, params), found


def restore_params(
    config: ConfigDict,
    experiment: builder.Experiment,
    workdir: Path,
    mesh: Mesh,
    step: int | None = None,
) -> tuple[Params, int]:
    """Returns what the experiment's methods take: the averaged parameters, beside them those that are not trained.

    Raises:
      InputError: as of `restore_trained`, or the workdir lacks a network that is not trained.
    """
    params, found = restore_trained(config, experiment, workdir, mesh, step)
    return experiment.with_frozen(params, load_frozen(experiment, workdir, mesh)), found
