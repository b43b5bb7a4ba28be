"""`evaluate` of a CLIP: how well it finds texts of images, images of texts, and classes by their names."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from score_jax.builder import Experiment
from score_jax.data.sources import Source
from score_jax.data.text_tokenizers import text_tokenizer
from score_jax.errors import InputError, quoted
from score_jax.evaluation.retrieval import recalls, zero_shot_accuracy
from score_jax.jobs.open_split import open_split
from score_jax.jobs.per_example import over_examples
from score_jax.models.clip.clip import directions
from score_jax.models.conditions import TOKENS
from score_jax.runtime.multihost import on_first_process, print_once
from score_jax.runtime.parts import Columns, Parts, parts_of
from score_jax.runtime.results import check_result, measurement, write_json
from score_jax.runtime.sharding import over_batch, replicated
from score_jax.runtime.stop import Stop
from score_jax.training.weights import parameters_name
from score_jax.typing import Params

PLAIN_TEMPLATE = "{}"
"""The text of a class is its name."""
_NAME = "{}"


def pair_features(
    experiment: Experiment,
    params: Params,
    mesh: Mesh,
    source: Source,
    *,
    batch_size: int,
    parts: Parts | None = None,
    stop: Stop | None = None,
) -> Columns:
    """Encodes all images of a split and their texts.

    Returns:
      "images" and "texts" (n, d), features of length 1; "tokens" (n, t) and "label" (n,).

    Raises:
      InputError: the run is no CLIP, or the batch does not split over the devices.
      Interrupted: `stop`; the same call goes on.
    """
    network = experiment.part("clip")

    def run(params: Params, batch: dict[str, Array]) -> dict[str, Array]:
        return {
            "images": directions(network.encode_image(params, batch["image"])),
            "texts": directions(network.encode_text(params, batch[TOKENS])),
            TOKENS: batch[TOKENS],
            "label": batch["label"],
        }

    jitted = jax.jit(run, out_shardings=over_batch(mesh))
    return over_examples(
        lambda batch: jitted(params, batch),
        source,
        mesh,
        count=len(source),
        batch_size=batch_size,
        key="evaluation.batch_size",
        parts=parts,
        stop=stop,
    )


def class_features(
    experiment: Experiment, params: Params, mesh: Mesh, classes: tuple[str, ...], template: str
) -> Float[np.ndarray, "classes d"]:
    """Encodes the text of each class: the template with its name in the place of {}.

    Raises:
      InputError: the run is no CLIP, the template has no place for a name, or the tokenizer does not take a text.
    """
    if _NAME not in template:
        raise InputError(f"--prompt_template={quoted(template)} has no place for a name: write {_NAME} there.")
    network, data = experiment.part("clip"), experiment.config.data
    tokenizer = text_tokenizer(data.tokenizer, data.max_tokens)
    assert tokenizer is not None, "the builder asks for one"
    ids = np.stack([tokenizer.encode(template.replace(_NAME, name)) for name in classes])
    encode = jax.jit(lambda params, ids: directions(network.encode_text(params, ids)), out_shardings=replicated(mesh))
    return np.asarray(encode(params, ids))


def _zero_shot(
    experiment: Experiment, params: Params, mesh: Mesh, source: Source, columns: Columns, template: str
) -> dict[str, Any]:
    """Nothing where the data have no names of classes, or these are no texts for the tokenizer, which is said."""
    if not source.classes:
        return {}
    try:
        classes = class_features(experiment, params, mesh, source.classes, template)
    except InputError as error:
        if template != PLAIN_TEMPLATE:  # the user asks for it
            raise
        print_once(f"No zero-shot classification by the names of the classes: {error}")
        return {}
    accuracy = zero_shot_accuracy(columns["images"], classes, columns["label"])
    return {"zero_shot_accuracy": accuracy, "classes": len(classes), "prompt_template": template}


def _unique(columns: Columns) -> tuple[Float[np.ndarray, "m d"], Int[np.ndarray, "n"]]:
    """Features of the texts that differ, and which of them is that of each image."""
    _, first, own = np.unique(columns[TOKENS], axis=0, return_index=True, return_inverse=True)
    return columns["texts"][first], own.reshape(-1)


def evaluate_clip(
    experiment: Experiment,
    params: Params,
    mesh: Mesh,
    *,
    workdir: Path,
    step: int,
    template: str = PLAIN_TEMPLATE,
    stop: Stop | None = None,
) -> dict[str, Any]:
    """Measures a CLIP on the split `data.eval_split` and writes retrieval.json into the workdir.

    Args:
      experiment: of the run.
      params: its parameters.
      mesh: all devices.
      workdir: for the result, and for finished batches while the work lasts.
      step: of the parameters.
      template: the text of a class, {} standing for its name.
      stop: ends the work after a batch.

    Returns:
      The numbers, on every process.

    Raises:
      InputError: the run is no CLIP, the data have no captions, or a feature is not finite.
      Interrupted: `stop`; the same call goes on.
    """
    config = experiment.config
    network, source = experiment.part("clip"), open_split(config, "eval_split", workdir)
    facts = {"step": step, "parameters": parameters_name(workdir), "data": source.fingerprint}
    parts = parts_of(workdir / "retrieval_parts", facts | {"network": config.network.to_dict(), "devices": mesh.size})
    batch_size = config.evaluation.batch_size * mesh.size
    columns = pair_features(experiment, params, mesh, source, batch_size=batch_size, parts=parts, stop=stop)
    texts, own = _unique(columns)
    values: dict[str, Any] = {"count": len(own), "captions": len(texts)}
    scale = jax.jit(network.scale, out_shardings=replicated(mesh))(params)
    values |= recalls(columns["images"], texts, own) | {"scale": float(scale)}
    values |= _zero_shot(experiment, params, mesh, source, columns, template)
    check_result(values)

    def finish() -> None:
        of_result = [name for name, value in values.items() if isinstance(value, float) and name != "scale"]
        told = measurement("retrieval", of_result, split=config.data.eval_split, **facts)
        write_json(workdir / "retrieval.json", values | told)
        parts.remove()

    on_first_process(finish)
    return values
