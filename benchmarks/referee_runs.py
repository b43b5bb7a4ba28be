"""Claims of `referee.py` about a model of our own: through the front door it is the verb, to the bit."""

import dataclasses
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import save_file

import score_jax as sj
from report import Claim
from score_jax import builder
from score_jax.configs.demo import mnist
from score_jax.convert.inception import random_state
from score_jax.data.sources import in_memory
from score_jax.evaluation.features import plain_features
from score_jax.evaluation.protocols import PLAIN
from score_jax.jobs import evaluate, likelihood
from score_jax.jobs.cascades import Cascade, Stage
from score_jax.jobs.sample import batch_sampler
from score_jax.runtime.sharding import make_mesh, replicated

_SIZE, _BATCH = 8, 4


def pixels(images):
    """The means of two halves of an image."""
    return images.reshape(len(images), 2, -1).mean(axis=2)


@dataclasses.dataclass(frozen=True)
class Ours:
    """A small network of random weights, with what it is measured on.

    Attributes:
      experiment: of its config.
      params: its weights, on all devices.
      mesh: all devices.
      file: an .npz of real images.
    """

    experiment: builder.Experiment
    params: Any
    mesh: Any
    file: Path

    @property
    def images(self) -> np.ndarray:
        """The real ones."""
        return np.load(self.file)["arr_0"]

    def evaluated(self, workdir: Path) -> None:
        """By the job of the verb."""
        models = Cascade(self.experiment.config, (Stage(self.experiment, self.params, workdir, 0),), self.mesh)
        extractor, reference = plain_features("pixels", pixels), str(self.file)
        evaluate.evaluate(models, [(PLAIN, extractor)], workdir=workdir, references=[reference])

    def through_the_door(self, workdir: Path, before: Callable[[int], None] = lambda first: None) -> None:
        """By the front door; `before` is told the first index of a batch that will be drawn."""
        c = self.experiment.config.evaluation
        sampler = batch_sampler(self.experiment, self.params, self.mesh, seed=c.seed)

        def draw(key, indices, labels):
            indices = np.asarray(indices)
            before(int(indices[0]))
            return sampler(indices, indices)[0]["image"]

        sj.evaluate(
            draw,
            reference=str(self.file),
            num_samples=c.num_samples,
            protocol=None,
            features=pixels,
            seed=c.seed,
            batch_size=c.batch_size,
            together=jax.process_count() > 1,  # the sampler is a program of all processes
            workdir=workdir,
        )

    def measured(self) -> likelihood.Likelihood:
        """By the job of the verb."""
        return likelihood.measure(self.experiment, self.params, self.mesh, in_memory(self.images))

    def measured_through_the_door(self, workdir: Path | None = None) -> likelihood.Likelihood:
        """By the front door."""
        c, prediction = self.experiment.likelihood, self.experiment.config.prediction
        model = jax.tree_util.Partial(self.experiment.network.apply, self.params)
        given = dict(output=prediction.output, time=prediction.label, value_range=self.experiment.codec.bounds)
        options: dict[str, Any] = dict(batch_size=c.batch_size, rtol=c.rtol, atol=c.atol, solver=c.solver)
        options |= dict(probes=c.probes, divergence=c.divergence, t_min=c.t_min, seed=c.seed, derivative=c.derivative)
        return sj.bits_per_dim(model, self.experiment.process, self.images, **given, **options, workdir=workdir)


def write_images(folder: Path) -> Path:
    """The real images."""
    images = np.random.default_rng(0).integers(0, 256, (64, _SIZE, _SIZE, 1), np.uint8)
    np.savez(folder / "images.npz", arr_0=images)
    return folder / "images.npz"


def ours(file: Path, count: int) -> Ours:
    """The same network in every process, of which so many samples are evaluated."""
    config = mnist.get_config()
    config.data.update(name=str(file), train_split="all", eval_split="all", image_size=_SIZE, resize_filter="none")
    config.network.update(channels=8, channel_mult=(1,), attention_resolutions=(), num_res_blocks=1)
    config.sampler.update(name="euler_maruyama", num_steps=10)
    config.evaluation.update(num_samples=count, batch_size=_BATCH)
    config.likelihood.update(batch_size=16, rtol=1e-2, atol=1e-2)
    experiment = builder.experiment(config)
    params = experiment.network.init(jax.random.key(0))
    noise = jax.random.split(jax.random.key(1), len(jax.tree.leaves(params)))  # the last layer is zeros at first
    pairs = zip(jax.tree.leaves(params), noise, strict=True)
    leaves = [leaf + 0.05 * jax.random.normal(key, leaf.shape) for leaf, key in pairs]
    params, mesh = jax.tree.unflatten(jax.tree.structure(params), leaves), make_mesh()
    return Ours(experiment, jax.device_put(jax.device_get(params), replicated(mesh)), mesh, file)


def moments_of(workdir: Path) -> dict[str, Any]:
    """The distance and the covariance that an evaluation left, which JSON keeps to the bit."""
    values = json.loads((workdir / "evaluation.json").read_text())
    return {"fid": values["fid_pixels"], "sigma": np.load(workdir / "evaluation.npz")["sigma"].tolist()}


def run_claims(folder: Path, *, count: int) -> list[Claim]:
    """Evaluation and likelihood of a small network, by the job of the verb and through the front door.

    What the verbs find is left in here.json, for jobs of their own processes.
    """
    model = ours(write_images(folder), count)
    bits = model.measured().bits_per_dim
    claims = [*_evaluated(model, folder, count), *_one_drawing(folder), _likelihood(model, bits)]
    found = {"verb": moments_of(folder / "verb"), "verb_bits": bits.tolist()}
    (folder / "here.json").write_text(json.dumps(found))
    return claims


def _evaluated(model: Ours, folder: Path, count: int) -> list[Claim]:
    model.evaluated(folder / "verb")
    model.through_the_door(folder / "door")
    stop_at = _BATCH * model.mesh.size * 2

    def stop(first: int) -> None:
        if first == stop_at:
            os.kill(os.getpid(), signal.SIGTERM)

    try:
        model.through_the_door(folder / "stopped", stop)
        stopped = "not stopped"
    except sj.Interrupted as interrupted:
        stopped = f"SIGTERM when {interrupted}"
    model.through_the_door(folder / "stopped")
    claims, verb = [], moments_of(folder / "verb")
    for name, what in (("door", "through the front door"), ("stopped", stopped + ", then again")):
        found = moments_of(folder / name)
        how = f"{count} samples of a network, by the verb {verb['fid']:.9f}, {what} {found['fid']:.9f}; covariances "
        claims.append(Claim(f"same_fid_{name}", float(found == verb), "", 1, ">=", how + "compared bit by bit"))
    return claims


def _one_drawing(folder: Path) -> list[Claim]:
    """Three protocols, of which two round otherwise and all resize otherwise, from one drawing and from one each."""
    save_file(random_state(0), folder / "inception.safetensors")
    reference, drawn = str(folder / "images.npz"), [0]

    def draw(key, indices, labels):
        drawn[0] += len(indices)
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.asarray(indices))
        return jax.vmap(lambda key: jax.random.uniform(key, (_SIZE, _SIZE, 3)))(keys)

    how: dict[str, Any] = dict(reference=reference, num_samples=32, batch_size=8, value_range=(0.0, 1.0))
    how |= dict(weights={"inception": folder / "inception.safetensors"}, allow_other_weights=True)
    protocols, costs, alone = ["adm", "jax_fid", "clean_fid"], [], {}
    for name in protocols:
        drawn[0] = 0
        alone[name] = sj.evaluate(draw, **how, protocol=name)
        costs.append(drawn[0])
    drawn[0] = 0
    together = sj.evaluate(draw, **how, protocol=protocols)
    same = [together[name] == alone[name] for name in protocols]
    what = f"{drawn[0]} images drawn for {', '.join(protocols)} together, {costs} for each alone; compared bit by bit"
    return [
        Claim("one_drawing", drawn[0] / max(costs), "drawings", 1, "<=", what),
        Claim("one_drawing_same", float(np.mean(same)), "of the protocols", 1, ">=", what),
    ]


def _likelihood(model: Ours, verb: np.ndarray) -> Claim:
    door = model.measured_through_the_door()
    largest = float(np.abs(door.bits_per_dim - verb).max())
    how = f"{len(verb)} images under a network: by the verb {verb.mean():.6f} bits/dim, through the front door "
    how += f"{door.mean:.6f}, largest difference of an image {largest:.2g}"
    return Claim("same_bits_per_dim", float(largest == 0.0), "", 1, ">=", how)
