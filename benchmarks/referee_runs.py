"""Claims of `referee.py` about a model of our own: through the front door it is the verb, to the bit."""

import os
import signal
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


def _network(images: Path, count: int) -> tuple[builder.Experiment, Any]:
    """A small network of random weights, and these."""
    config = mnist.get_config()
    config.data.update(name=str(images), train_split="all", eval_split="all", image_size=_SIZE, resize_filter="none")
    config.network.update(channels=8, channel_mult=(1,), attention_resolutions=(), num_res_blocks=1)
    config.sampler.update(name="euler_maruyama", num_steps=10)
    config.evaluation.update(num_samples=count, batch_size=_BATCH)
    config.likelihood.update(batch_size=16, rtol=1e-2, atol=1e-2)
    experiment = builder.experiment(config)
    params = experiment.network.init(jax.random.key(0))
    noise = jax.random.split(jax.random.key(1), len(jax.tree.leaves(params)))  # the last layer is zeros at first
    pairs = zip(jax.tree.leaves(params), noise, strict=True)
    leaves = [leaf + 0.05 * jax.random.normal(key, leaf.shape) for leaf, key in pairs]
    return experiment, jax.tree.unflatten(jax.tree.structure(params), leaves)


def run_claims(folder: Path, *, count: int) -> list[Claim]:
    """Evaluation and likelihood of a small network, by the job of the verb and through the front door."""
    images = np.random.default_rng(0).integers(0, 256, (64, _SIZE, _SIZE, 1), np.uint8)
    np.savez(folder / "images.npz", arr_0=images)
    experiment, params = _network(folder / "images.npz", count)
    mesh = make_mesh()
    params = jax.device_put(params, replicated(mesh))
    claims = _evaluated(experiment, params, mesh, folder, count)
    return [*claims, *_one_drawing(folder), _likelihood(experiment, params, mesh, images)]


def _evaluated(experiment: builder.Experiment, params: Any, mesh, folder: Path, count: int) -> list[Claim]:
    reference, c = str(folder / "images.npz"), experiment.config.evaluation
    models = Cascade(experiment.config, (Stage(experiment, params, folder / "run", 0),), mesh)
    extractor = plain_features("pixels", pixels)
    found = evaluate.evaluate(models, [(PLAIN, extractor)], workdir=folder / "verb", references=[reference])
    assert found is not None
    (verb,) = found
    sampler, stop_at = batch_sampler(experiment, params, mesh, seed=c.seed), [-1]

    def draw(key, indices, labels):
        indices = np.asarray(indices)
        if indices[0] == stop_at[0]:
            os.kill(os.getpid(), signal.SIGTERM)
        return sampler(indices, indices)[0]["image"]

    how: dict[str, Any] = dict(reference=reference, num_samples=count, protocol=None, features=pixels)
    how |= dict(seed=c.seed, batch_size=c.batch_size)
    door = sj.evaluate(draw, **how, workdir=folder / "door")
    stop_at[0] = _BATCH * mesh.size * 2
    try:
        sj.evaluate(draw, **how, workdir=folder / "stopped")
        stopped = "not stopped"
    except sj.Interrupted as interrupted:
        stopped = f"SIGTERM when {interrupted}"
    stop_at[0] = -1
    again = sj.evaluate(draw, **how, workdir=folder / "stopped")
    sigmas = {name: np.load(folder / name / "evaluation.npz")["sigma"] for name in ("verb", "door", "stopped")}
    claims = []
    for name, found, what in (("door", door, "through the front door"), ("stopped", again, stopped + ", then again")):
        same = found["fid_pixels"] == verb.values["fid_pixels"] and np.array_equal(sigmas[name], sigmas["verb"])
        how_ = f"{count} samples of a network, by the verb {verb.values['fid_pixels']:.9f}, {what} "
        how_ += f"{found['fid_pixels']:.9f}; covariances compared bit by bit"
        claims.append(Claim(f"same_fid_{name}", float(same), "", 1, ">=", how_))
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


def _likelihood(experiment: builder.Experiment, params: Any, mesh, images: np.ndarray) -> Claim:
    c = experiment.likelihood
    verb = likelihood.measure(experiment, params, mesh, in_memory(images))

    model, prediction = jax.tree_util.Partial(experiment.network.apply, params), experiment.config.prediction
    given = dict(output=prediction.output, time=prediction.label, value_range=experiment.codec.bounds)
    options: dict[str, Any] = dict(batch_size=c.batch_size, rtol=c.rtol, atol=c.atol, solver=c.solver, probes=c.probes)
    options |= dict(divergence=c.divergence, t_min=c.t_min, seed=c.seed, derivative=c.derivative)
    door = sj.bits_per_dim(model, experiment.process, images, **given, **options)
    largest = float(np.abs(door.bits_per_dim - verb.bits_per_dim).max())
    how = f"{len(images)} images under a network: by the verb {verb.mean:.6f} bits/dim, through the front door "
    how += f"{door.mean:.6f}, largest difference of an image {largest:.2g}"
    return Claim("same_bits_per_dim", float(largest == 0.0), "", 1, ">=", how)
