"""`encode` of an autoencoder's run: the latents of a data set on disk, from which models of them train faster."""

import contextlib
import hashlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, PyTree

from score_jax.builder import Experiment
from score_jax.data.latent_records import LatentFacts, LatentWriter
from score_jax.data.sources import Source
from score_jax.jobs.per_example import example_batches
from score_jax.runtime.multihost import on_first_process
from score_jax.runtime.sharding import check_divisible, over_batch
from score_jax.typing import Params


def hash_of(params: PyTree) -> str:
    """Returns what tells parameters from others: a hash of all of their numbers."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        digest.update(jax.tree_util.keystr(path).encode())
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()[:16]


def encode_latents(
    experiment: Experiment, params: Params, mesh: Mesh, source: Source, out: Path, *, batch_size: int
) -> LatentFacts:
    """Writes what the autoencoder says of each image of a data set into a folder.

    Args:
      experiment: the autoencoder's.
      params: its parameters.
      mesh: of the devices.
      source: the images, with their labels and captions.
      out: a new folder.
      batch_size: images at a time, over all devices together.

    Raises:
      InputError: the run is no autoencoder, the folder is not empty, or the batch does not split over the devices.
    """
    network = experiment.part("autoencoder")
    check_divisible(batch_size, mesh, "--batch_size")

    def run(batch: dict[str, Array]) -> dict[str, Array]:
        return {"moments": network.encode(params, experiment.codec.encode(batch["image"])), "label": batch["label"]}

    jitted, captions = jax.jit(run, out_shardings=over_batch(mesh)), source.has_captions()
    moments_of = jax.eval_shape(lambda params: network.encode(params, jnp.zeros((1, *network.image_shape))), params)
    opened = on_first_process(lambda: LatentWriter(out))
    with opened or contextlib.nullcontext() as writer:
        for columns in example_batches(jitted, source, mesh, batch_size=batch_size, name="encode"):
            for moments, label, place in zip(columns["moments"], columns["label"], columns["index"], strict=True):
                if writer is not None:
                    writer.add(
                        np.asarray(moments, np.float32), int(label), source.caption(int(place)) if captions else ""
                    )
        facts = LatentFacts(
            len(source),
            moments_of.shape[1:],
            source.fingerprint,
            source.content,
            hash_of(params),
            source.classes,
            captions,
        )
        if writer is not None:
            writer.finish(facts)
    return facts
