"""What a prior must know of the embeddings that it draws: measured once, when its training begins."""

import itertools
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array

from score_jax.builder import Experiment
from score_jax.codecs.embedding_codes import EmbeddingCodes
from score_jax.codecs.embeddings import CLIP, STATISTICS, ImageEmbeddings
from score_jax.data.loader import TrainingBatches, prefetch_to_device
from score_jax.errors import InputError
from score_jax.models.conditions import TOKENS
from score_jax.runtime.multihost import first_says, on_first_process
from score_jax.runtime.sharding import over_batch, replicated
from score_jax.training import weights
from score_jax.typing import Params


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
    if not isinstance(codec, ImageEmbeddings | EmbeddingCodes) or first_says(weights.has_params(folder)):
        return
    params = weights.load_params(workdir / CLIP, experiment.frozen[CLIP].shapes(), replicated(mesh))
    clip = experiment.frozen[CLIP]

    def embed(params: Params, batch: dict[str, Array]) -> tuple[Array, Array | None]:
        texts = clip.encode_text(params, batch[TOKENS]) if isinstance(codec, EmbeddingCodes) else None
        return clip.encode_image(params, batch["image"]), texts

    program = jax.jit(embed, out_shardings=replicated(mesh))
    count = -(-codec.statistics.least // experiment.config.training.batch_size)
    batches = prefetch_to_device(open_batches(), over_batch(mesh), depth=1)
    embeddings = [jax.tree.map(np.asarray, program(params, batch)) for batch, _ in itertools.islice(batches, count)]
    found = codec.statistics.measured(*jax.tree.map(lambda *parts: np.concatenate(parts), *embeddings))
    if not all(np.isfinite(value).all() for value in found.values()):
        raise InputError(f"Embeddings by the CLIP in {workdir / CLIP} are not finite: check it by `evaluate`.")
    on_first_process(lambda: weights.save_params(folder, found))
