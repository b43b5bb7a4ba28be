"""The dequantiser of a trained model: fitted once to its training split, kept in its workdir."""

import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh
from jaxtyping import Array
from tqdm import tqdm

from score_jax.arrays import fold_in_each, keys_per_example
from score_jax.builder import Experiment
from score_jax.builder.likelihood import log_snr_times
from score_jax.builder.likelihood_options import OfData
from score_jax.codecs.pixels import Pixels
from score_jax.data.loader import make_loader, prefetch_to_device
from score_jax.data.sources import Source
from score_jax.errors import InputError
from score_jax.losses import dequantization
from score_jax.models.dequantizer import Dequantizer
from score_jax.prediction.predictor import with_conditions
from score_jax.processes.gaussian import GaussianProcess
from score_jax.runtime.sharding import check_divisible, over_batch, replicated
from score_jax.training import weights
from score_jax.typing import Image, KeyBatch, Params

_POSITIONS = 256
"""Times between which those of the fit are interpolated."""


def dequantize(params: Params, keys: KeyBatch, images: Array, codec: Pixels) -> tuple[Image, Array]:
    """Returns x0 of images (b, h, w, c) with the dequantiser's noise, and the noise's log density (b,)."""
    outputs: Any = Dequantizer().apply({"params": params}, codec.encode(images))
    noise, log_q = dequantization.draw(keys, *outputs)
    return codec.from_levels(images + noise), log_q


def fitted(experiment: Experiment, model: Params, mesh: Mesh, source: Source, folder: Path) -> Params:
    """Returns the dequantiser in `folder`, fitted first if it is not there.

    Args:
      experiment: the model, and its `likelihood` section.
      model: its parameters.
      mesh: all devices.
      source: its training data.
      folder: of this model at this step.

    Raises:
      InputError: the file is damaged, or the batch does not split over the devices.
    """
    fresh = functools.partial(_init, experiment.image_shape)
    shapes = jax.eval_shape(fresh, jax.random.key(0))
    if (folder / weights.FILE_NAME).is_file():
        return weights.load_params(folder, shapes, replicated(mesh))
    params = fit(experiment, model, mesh, source)
    if not all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(params)):
        raise InputError(
            "The dequantiser's parameters are not finite after its fit, so they are not saved: check that the weights "
            "and the images are finite."
        )
    if jax.process_index() == 0:
        folder.mkdir(parents=True, exist_ok=True)
        weights.save_params(folder, params)
    return params


def _init(image_shape: tuple[int, int, int], key: Array) -> Params:
    return Dequantizer().init(key, jnp.zeros((1, *image_shape)))["params"]


def fit(experiment: Experiment, model: Params, mesh: Mesh, source: Source) -> Params:
    """Fits a dequantiser by `likelihood.dequantizer_steps` steps of Adam."""
    c, flow, codec = experiment.exact(), experiment.in_continuous_time(), experiment.part("pixels")
    assert isinstance(c, OfData)
    process = flow.process
    assert isinstance(process, GaussianProcess)
    check_divisible(c.batch_size, mesh, "likelihood.batch_size")
    times = jnp.asarray(log_snr_times(process, _POSITIONS, c.t_min))
    # The last step may lie beyond any signal; the range is that of the even ones, and one more of their length.
    even, ends = jnp.linspace(0.0, 1.0, _POSITIONS + 1), jnp.log(process.noise_to_signal(times[jnp.array([0, -2])]))
    log_snr_range = 2 * float(ends[1] - ends[0]) * _POSITIONS / (_POSITIONS - 1)
    tx = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(optax.cosine_decay_schedule(1e-3, c.dequantizer_steps)))

    def loss(params: Params, model: Params, keys, batch):
        x, log_q = dequantize(params, fold_in_each(keys, 0), batch["image"], codec)
        conditions = experiment.conditions(model, batch, codec.encode(batch["image"]))
        values = dequantization.negative_bound(
            with_conditions(flow.predictor(model), conditions),
            process,
            fold_in_each(keys, 1),
            x,
            log_q,
            lambda position: jnp.interp(position, even, times),
            log_snr_range,
        )
        return jnp.mean(values) / np.prod(experiment.image_shape)

    def step(params: Params, state, model: Params, key, batch):
        keys = keys_per_example(key, jnp.arange(len(batch["image"])))
        gradient = jax.grad(loss)(params, model, keys, batch)
        updates, state = tx.update(gradient, state)
        return optax.apply_updates(params, updates), state

    whole = replicated(mesh)
    jitted = jax.jit(step, donate_argnums=(0, 1), out_shardings=whole)
    params = jax.jit(functools.partial(_init, experiment.image_shape), out_shardings=whole)(jax.random.key(c.seed))
    state = jax.jit(tx.init, out_shardings=whole)(params)
    batches = prefetch_to_device(
        make_loader(
            source,
            batch_size=c.batch_size,
            seed=c.seed,
            flip=experiment.config.data.flip,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        ),
        over_batch(mesh),
    )
    for i in tqdm(range(c.dequantizer_steps), desc="dequantiser", mininterval=1, disable=jax.process_index() > 0):
        batch, _ = next(batches)
        params, state = jitted(params, state, model, jax.random.fold_in(jax.random.key(c.seed), i), batch)
    return params
