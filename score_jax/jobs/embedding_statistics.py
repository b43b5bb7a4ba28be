"""The mean and the deviation of the embeddings that a prior draws: measured once, when its training begins."""

import itertools
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from score_jax.builder import Experiment
from score_jax.codecs.embeddings import CLIP, STATISTICS, ImageEmbeddings, Statistics
from score_jax.data.loader import TrainingBatches, prefetch_to_device
from score_jax.errors import InputError
from score_jax.runtime.multihost import first_says, on_first_process
from score_jax.runtime.sharding import over_batch, replicated
from score_jax.training import weights

_MEASURED = 4096
"""Images of training whose embeddings are measured."""


def bring_statistics(
    experiment: Experiment, workdir: Path, open_batches: Callable[[], TrainingBatches], mesh: Mesh
) -> None:
    """Writes the statistics of embeddings into a workdir that needs them and has none; on all processes.

    Args:
      experiment: the run; others than those of embeddings need none.
      workdir: of the run, with the parameters of its CLIP.
      open_batches: opens the batches of its training from the first on.
      mesh: of the devices.

    Raises:
      InputError: embeddings are not finite.
    """
    codec, folder = experiment.codec, workdir / STATISTICS
    if not isinstance(codec, ImageEmbeddings) or first_says(weights.has_params(folder)):
        return
    params = weights.load_params(workdir / CLIP, experiment.frozen[CLIP].shapes(), replicated(mesh))
    embed = jax.jit(codec.clip.encode_image, out_shardings=replicated(mesh))
    count = -(-_MEASURED // experiment.config.training.batch_size)
    batches = prefetch_to_device(open_batches(), over_batch(mesh), depth=1)
    embeddings = [np.asarray(embed(params, batch["image"])) for batch, _ in itertools.islice(batches, count)]
    found = Statistics(codec.clip.features).measured(jnp.concatenate(embeddings))
    if not all(np.isfinite(value).all() for value in found.values()):
        raise InputError(f"Embeddings by the CLIP in {workdir / CLIP} are not finite: check it by `evaluate`.")
    on_first_process(lambda: weights.save_params(folder, found))
