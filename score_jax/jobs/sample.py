"""`sample`: images from a trained model, sample i from (seed, i) alone."""

import dataclasses
import functools
from collections.abc import Callable, Iterable

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float, Int, UInt8
from tqdm import tqdm

from score_jax.arrays import keys_per_example
from score_jax.build import Experiment
from score_jax.data.transforms import from_model_range
from score_jax.errors import InputError
from score_jax.samplers.sample import sample
from score_jax.training.sharding import check_divisible, over_batch, replicated
from score_jax.typing import Params

RANDOM_LABEL = -1
"""In place of a class: each sample of a class drawn from its seed and index."""
_LABEL_STREAM = 0x1ABE1


@dataclasses.dataclass(frozen=True)
class Drawn:
    """Samples on the host.

    Attributes:
      images: uint8 (n, h, w, c).
      labels: classes of class-conditional samples (n,), zeros of others.
      nfe: evaluations of the model per sample (n,).
      trajectory: uint8 (n, k, h, w, c), from noise to image; k = 0 unless asked for.
      times: of the trajectory (k,).
    """

    images: UInt8[np.ndarray, "n h w c"]
    labels: Int[np.ndarray, "n"]
    nfe: Int[np.ndarray, "n"]
    trajectory: UInt8[np.ndarray, "n k h w c"]
    times: Float[np.ndarray, "k"]


@functools.lru_cache(maxsize=8)
def _jitted(experiment: Experiment, mesh: Mesh, num_saved: int) -> Callable:
    """The sampler of an experiment, compiled once however often samples are drawn."""

    def draw_batch(params: Params, key, batch_indices, label):
        keys = keys_per_example(jax.random.fold_in(key, _LABEL_STREAM), batch_indices)
        classes = max(1, experiment.network.num_classes)
        uniform = jax.vmap(lambda key: jax.random.randint(key, (), 0, classes))(keys)
        labels = jnp.where(label == RANDOM_LABEL, uniform, label)
        samples = sample(
            experiment.predictor(params, labels),
            experiment.process,
            experiment.sampler,
            key,
            batch_indices,
            experiment.image_shape,
            num_saved=num_saved,
        )
        finite = jnp.isfinite(samples.x).all(axis=(1, 2, 3)) & samples.ok
        images = from_model_range(samples.x, experiment.value_range)
        kept = from_model_range(jnp.moveaxis(samples.trajectory, 0, 1), experiment.value_range)
        return images, labels, samples.nfe, finite, kept, samples.times

    split, everywhere = over_batch(mesh), replicated(mesh)
    return jax.jit(draw_batch, out_shardings=(split, split, split, split, split, everywhere))


def draw(
    experiment: Experiment,
    params: Params,
    mesh: Mesh,
    indices: Iterable[int],
    *,
    batch_size: int,
    seed: int,
    num_saved: int = 0,
    label: int = RANDOM_LABEL,
) -> Drawn:
    """Draws the samples with these global indices, in batches sharded over the mesh.

    Args:
      experiment: the model and its sampler.
      params: its parameters.
      mesh: what the batches are sharded over.
      indices: global indices of the samples.
      batch_size: samples at a time.
      seed: of the whole set.
      num_saved: states of the trajectory to keep.
      label: class of class-conditional samples, or `RANDOM_LABEL`.

    Raises:
      InputError: the batch does not split over the devices, there is no such class, or samples are not finite.
    """
    check_divisible(batch_size, mesh, "batch_size")
    classes = experiment.network.num_classes
    if label != RANDOM_LABEL and not 0 <= label < classes:
        raise InputError(f"sampling.label={label}, but the model has {classes} classes: expected 0 to {classes - 1}.")
    indices = np.asarray(list(indices), np.int32)

    draw_batch, split = _jitted(experiment, mesh, num_saved), over_batch(mesh)
    key, parts = jax.random.key(seed), []
    for start in tqdm(range(0, len(indices), batch_size), "sample", unit="batch", disable=jax.process_index() > 0):
        chunk = indices[start : start + batch_size]
        padded = np.pad(chunk, (0, batch_size - len(chunk)), mode="edge")
        arrays = jax.device_get(draw_batch(params, key, jax.device_put(padded, split), np.int32(label)))
        parts.append([a[: len(chunk)] for a in arrays[:5]])
        times = arrays[5]
    images, labels, nfe, finite, trajectory = (np.concatenate(column) for column in zip(*parts, strict=True))
    if not finite.all():
        raise InputError(
            f"{(~finite).sum()} of {len(finite)} samples are not finite or their ODE solve gave up: train longer, or "
            "loosen sampler.rtol and sampler.atol."
        )
    return Drawn(images, labels, nfe, trajectory, times)
