"""`plan`: what training, sampling and likelihood need on a TPU slice, from the real compiler, without a TPU."""

import dataclasses
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import PyTree
from ml_collections import ConfigDict

from score_jax import builder
from score_jax.errors import InputError, counted, unknown_name
from score_jax.jobs.analytic_variance import supposed
from score_jax.jobs.frozen import frozen_shapes, needs_lpips
from score_jax.jobs.guide import classifier_of
from score_jax.jobs.likelihood import by_ode, likelihood_program, precision
from score_jax.jobs.sample import Given, sampling_program
from score_jax.jobs.train import compiled_step
from score_jax.models.scorers.lpips import LPIPS, parameter_shapes
from score_jax.planning.chips import Chip
from score_jax.planning.program import Program, compiled_program, compiler_effort
from score_jax.planning.topology import slice_devices
from score_jax.runtime.results import write_json
from score_jax.runtime.sharding import check_divisible, make_mesh, over_batch, replicated, sharded_by_size
from score_jax.training.checkpoint import abstract_state
from score_jax.training.throughput import passes_of_a_step


@dataclasses.dataclass(frozen=True)
class Setting:
    """What trades memory for time in training."""

    fsdp: int
    remat: tuple[str, ...]
    accumulate: int

    def __str__(self) -> str:
        return f"fsdp={self.fsdp} remat={'+'.join(self.remat) or 'none'} accumulate={self.accumulate}"


@dataclasses.dataclass(frozen=True)
class Planned:
    """One program on one slice.

    Attributes:
      name: train, sample or likelihood.
      setting: under which it was compiled.
      batch_size: images at a time, over all devices.
      program: what the compiler says of it.
      flops: of the model, over all devices: of a training step (three forward passes, nothing recomputed), or of one
        evaluation of the network.
      state_bytes: per device: parameters, average and optimizer state; of the others the parameters.
    """

    name: str
    setting: Setting
    batch_size: int
    program: Program
    flops: float
    state_bytes: int

    def as_dict(self, chip: Chip, devices: int) -> dict[str, Any]:
        """For JSON: bytes per device, and the floor of one step (or one evaluation) with its rate."""
        # A loop's body is counted once: that of a parted batch, nearly all of its step, runs once for each part.
        floors = {name: seconds * self.setting.accumulate for name, seconds in self.program.floor_seconds(chip).items()}
        # The other loops are samplers' and solvers'; the model's own operations bound them where they are more.
        floors["matrix units"] = max(floors["matrix units"], self.flops / devices / chip.flops)
        seconds = max(floors.values())
        return {
            "program": self.name,
            "setting": str(self.setting),
            "batch_size": self.batch_size,
            "model_flops": self.flops,
            "state_bytes": self.state_bytes,
            **dataclasses.asdict(self.program),
            "floor_seconds": floors,
            "bound_by": max(floors, key=lambda name: floors[name]) if self.program.fits else "memory size",
            "images_per_s_at_most": self.batch_size / seconds if self.program.fits else 0.0,
        }


def _placed(shape: tuple[int, ...], dtype: Any, sharding: jax.sharding.Sharding) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)


def _images(experiment: builder.Experiment, mesh: Mesh, b: int) -> dict[str, jax.ShapeDtypeStruct]:
    split = over_batch(mesh)
    size = experiment.config.data.low_resolution
    made = {"low_res": _placed((b, size, size, experiment.image_shape[2]), jnp.uint8, split)} if size else {}
    if experiment.config.data.holes:
        made["mask"] = _placed((b, *experiment.image_shape[:2], 1), jnp.uint8, split)
    declared = {
        name: _placed((b, *condition.shape), condition.dtype, split)
        for name, condition in experiment.network.conditions.items()
    }
    return {
        **declared,
        **made,
        "image": _placed((b, *experiment.image_shape), jnp.uint8, split),
        "label": _placed((b,), jnp.int32, split),
        "index": _placed((b,), jnp.int32, split),
    }


def _params(experiment: builder.Experiment, mesh: Mesh) -> PyTree:
    place = replicated(mesh)
    shapes = experiment.with_frozen(experiment.network.shapes(), frozen_shapes(experiment))
    return jax.tree.map(lambda leaf: _placed(leaf.shape, leaf.dtype, place), shapes)


def _key(mesh: Mesh) -> jax.ShapeDtypeStruct:
    key = jax.eval_shape(lambda: jax.random.key(0))
    return _placed(key.shape, key.dtype, replicated(mesh))


def _bytes(tree: PyTree) -> int:
    """Per device, of abstract arrays with shardings."""
    return sum(math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _frozen_in_training(experiment: builder.Experiment) -> dict[str, PyTree]:
    """Shapes of what training asks and does not train, with the perceptual distance of an autoencoder."""
    found = frozen_shapes(experiment)
    if needs_lpips(experiment):
        found[builder.LPIPS_NAME] = parameter_shapes(LPIPS())
    return found


def lower_training(experiment: builder.Experiment, mesh: Mesh) -> tuple[Any, int, int]:
    """The train step that `train` runs, lowered for a mesh; its batch size, and the bytes of its state per device."""
    state, b = abstract_state(experiment.create_state, mesh), experiment.config.training.batch_size
    shapes = _frozen_in_training(experiment)
    places = sharded_by_size(shapes, mesh)
    frozen = jax.tree.map(lambda leaf, place: _placed(leaf.shape, leaf.dtype, place), shapes, places)
    lowered = compiled_step(experiment, mesh).lower(state, _images(experiment, mesh, b), frozen)
    return lowered, b, _bytes(state) + _bytes(frozen)


def lower_sampling(experiment: builder.Experiment, mesh: Mesh) -> tuple[Any, int, int]:
    """Returns the same of the sampler that `sample` runs, with the classifier that guides it, if one does."""
    params, b = _params(experiment, mesh), experiment.config.sampling.batch_size
    experiment = supposed(experiment)
    classifier = classifier_of(experiment)
    guide = None if classifier is None else _params(classifier, mesh)
    program: Any = sampling_program(experiment, mesh, 0, Given(classifier=classifier), ("truncated",))
    label, images = jax.ShapeDtypeStruct((), jnp.int32), _images(experiment, mesh, b)
    drawn = {"label", "index"} | (set() if experiment.config.data.holes else {"image"})
    given = {name: array for name, array in images.items() if name not in drawn}
    lowered = program.lower(params, guide, _key(mesh), images["index"], label, given)
    return lowered, b, _bytes(params) + _bytes(guide)


def lower_likelihood(experiment: builder.Experiment, mesh: Mesh) -> tuple[Any, int, int]:
    """Returns the same of the solve that `likelihood` runs."""
    params, c = _params(experiment, mesh), experiment.likelihood
    batch = _images(experiment, mesh, c.batch_size)
    with precision(c.matmul_precision):
        lowered = likelihood_program(mesh, by_ode(experiment, None)).lower(params, _key(mesh), batch)
    return lowered, c.batch_size, _bytes(params)


PROGRAMS: dict[str, Callable[[builder.Experiment, Mesh], tuple[Any, int, int]]] = {
    "train": lower_training,
    "sample": lower_sampling,
    "likelihood": lower_likelihood,
}
_BATCH_KEYS = {"train": "training", "sample": "sampling", "likelihood": "likelihood"}


def settings_to_try(given: Setting, devices: int, batch_size: int, *, recomputes: bool) -> list[Setting]:
    """From the one given to the one that needs least memory: split the state, recompute blocks, then part the batch.

    `recomputes`: the network can (`network.remat`).
    """
    leanest = dataclasses.replace(given, fsdp=devices)
    settings = [given, leanest]
    if recomputes:
        leanest = dataclasses.replace(leanest, remat=("residual", "attention"))
        settings.append(leanest)
    parts = 2 * given.accumulate
    while batch_size % (parts * devices) == 0:
        settings.append(dataclasses.replace(leanest, accumulate=parts))
        parts *= 2
    return list(dict.fromkeys(settings))


def with_setting(config: ConfigDict, setting: Setting) -> ConfigDict:
    """Returns the config under another setting."""
    config = config.copy_and_resolve_references()
    with config.unlocked():
        config.training.fsdp, config.training.accumulate = setting.fsdp, setting.accumulate
        if "remat" in config.network:
            config.network.remat = setting.remat
    return config


def plan(
    config: ConfigDict,
    topology: str,
    programs: tuple[str, ...],
    *,
    search: bool,
    say: Callable[[str], None],
    effort: str = "full",
) -> dict[str, Any]:
    """Compiles the programs for a slice and says what they need, JSON-able.

    Args:
      config: the experiment.
      topology: the slice, such as "v5e:4x4".
      programs: of "train", "sample", "likelihood".
      search: where training does not fit, try settings until one does.
      say: called with lines about the progress.
      effort: how hard the compiler tries, of `planning.program.EFFORTS`.

    Raises:
      InputError: slice, program or effort are unknown, a batch does not split over the chips, or there is no compiler.
    """
    for name in programs:
        if name not in PROGRAMS:
            raise unknown_name("program", name, PROGRAMS)
    devices, chip = slice_devices(topology)
    rows = []
    with compiler_effort(effort):
        for name in programs:
            for found in _tried(config, devices, name, chip, search=search, say=say):
                rows.append(found.as_dict(chip, len(devices)))
    return slice_facts(topology, len(devices), chip) | {"effort": effort, "programs": rows}


def slice_facts(topology: str, devices: int, chip: Chip) -> dict[str, Any]:
    """Returns what a plan says of its slice, for JSON; its rates and bytes are those of a device."""
    return {"topology": topology, "chips": devices // chip.devices, "chip": dataclasses.asdict(chip)}


def _tried(config: ConfigDict, devices, name: str, chip: Chip, *, search: bool, say) -> Iterator[Planned]:
    """What was compiled of one program, until it fits."""
    c = config.training
    given = Setting(len(devices) if c.fsdp == 0 else c.fsdp, tuple(config.network.get("remat", ())), c.accumulate)
    settings = [given]
    if search and name == "train":
        settings = settings_to_try(given, len(devices), c.batch_size, recomputes="remat" in config.network)
        if config.loss.name in ("first_stage", "contrastive"):  # which need the whole batch at once
            settings = [setting for setting in settings if setting.accumulate == given.accumulate]
    for setting in settings:
        say(f"{name}: compiling for {counted(len(devices), 'device')}, {setting} ...")
        found = planned(builder.experiment(with_setting(config, setting)), devices, name, setting, chip)
        program = found.program
        say(f"{name}: {'fits' if program.fits else 'does not fit'}, {program.compile_seconds:.0f} s.")
        yield found
        if program.fits:
            return


def planned(experiment: builder.Experiment, devices, name: str, setting: Setting, chip: Chip) -> Planned:
    """Compiles one program of `PROGRAMS` for these devices.

    Raises:
      InputError: its batch does not split over them.
    """
    mesh = make_mesh(setting.fsdp if name == "train" else 1, devices)
    section = _BATCH_KEYS[name]
    check_divisible(experiment.config[section].batch_size, mesh, f"{section}.batch_size")
    lowered, b, state_bytes = PROGRAMS[name](experiment, mesh)
    program = compiled_program(lowered, chip)
    forward = experiment.network.flops() * b
    flops = passes_of_a_step(experiment.config.optimizer.sam_rho) * forward if name == "train" else forward
    return Planned(name, setting, b, program, flops, state_bytes)


def table(result: dict[str, Any]) -> str:
    """Returns the plan as lines for a reader; sizes are per device."""
    parts = result["chip"].get("devices", 1)  # absent in plans from before TPU7x
    of_devices = f", {parts} devices each, whose sizes these are" if parts > 1 else ""
    chips = counted(result["chips"], "chip")
    gib, lines = 2**30, [f"{chips} ({result['topology']}){of_devices}, {result['effort']} compilation"]
    if "parameters_bytes" in result:
        lines.append(
            f"all stages stay in memory: {result['parameters_bytes'] / gib:.2f} GiB of parameters on each chip"
        )
    for row in result["programs"]:
        verdict = "fits" if row["fits"] else "DOES NOT FIT"
        lines += [
            "",
            f"{row['program']}, {counted(row['batch_size'], 'image')}: {verdict}   ({row['setting']})",
            f"  memory       {row['memory'] / gib:8.2f} GiB of {row['limit'] / gib:.2f}, "
            f"{(row['limit'] - row['memory']) / gib:+.2f} to spare",
            f"  state        {row['state_bytes'] / gib:8.2f} GiB",
        ]
        if "other_stages_bytes" in row:
            lines.append(
                f"  other stages {row['other_stages_bytes'] / gib:8.2f} GiB of parameters, in the memory above"
            )
        if not row["fits"]:
            continue
        training = row["program"] == "train"
        unit, images = ("step", "images/s") if training else ("evaluation", "evaluations of an image/s")
        lines += [
            f"  on the way   {row['temporaries'] / gib:8.2f} GiB",
            f"  model FLOPs  {row['model_flops'] / 1e12:8.2f} T per {unit}, all chips",
            f"  FLOPs        {row['flops'] / 1e12:8.2f} T, loops counted once",
            f"  traffic      {row['bytes'] / gib:8.2f} GiB of memory, "
            f"{sum(row['collectives'].values()) / gib:.3f} GiB between chips",
            f"  floor        {1e3 * max(row['floor_seconds'].values()):8.2f} ms per {unit} ({row['bound_by']}), "
            f"at most {row['images_per_s_at_most']:.0f} {images}",
        ]
    return "\n".join(lines)


def kept(path: Path, command: str, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Returns a result from its file, or computed and written there: a compilation is worth keeping.

    Raises:
      InputError: the file is of another command.
    """
    if not path.exists():
        write_json(path, {"command": command} | compute())
    found = json.loads(path.read_text())
    if found.get("command") != command:
        raise InputError(f"{path} holds the plan of another command ({found.get('command')}): remove it or rename it.")
    return found
