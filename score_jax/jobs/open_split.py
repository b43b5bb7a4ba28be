"""The data of a run: a split with the labels and captions that its model knows."""

import dataclasses
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from score_jax import builder
from score_jax.data.image_check import LEAVE_OUT
from score_jax.data.sources import Source, open_source
from score_jax.data.text_tokenizers import text_tokenizer
from score_jax.errors import InputError
from score_jax.training.data_facts import check_same_classes


def open_split(config: ConfigDict, split: str, trained: Path | None = None) -> Source:
    """Returns the `train_split` or `eval_split` of a config's data set, with labels that the config's model knows.

    Args:
      config: of a run.
      split: the key.
      trained: the workdir of a model, whose classes, if it knows any, those of the data must be.

    Raises:
      InputError: there is no such data, its labels stand for other classes than the model's, or the codec reads other
        data.
    """
    config = builder.completed(config)
    num_classes = builder.label_classes(config, builder.build_network(config))
    size, codec = builder.shown_size(config), builder.codec_of(config)
    source = open_labelled(config.data, split, num_classes, trained, shown_size=size)
    if source.dtype != codec.dtype:
        name = "numbers" if source.dtype == np.float32 else "pixels or bits"
        raise InputError(
            f"data.name={config.data.name} has the type {np.dtype(source.dtype)}, but "
            f"codec.name={config.codec.name} reads "
            f"{codec.dtype}: give codec.name={name}."
        )
    return source


def open_labelled(
    data: ConfigDict, split: str, num_classes: int, trained: Path | None = None, *, shown_size: int = 0
) -> Source:
    """A split of a section `data`, with labels of so many classes; arguments and errors are those of `open_split`."""
    source = open_source(
        data.name,
        data[split],
        image_size=data.image_size,
        channels=data.channels,
        resize_filter=data.resize_filter,
        crop=data.crop,
        data_dir=data.data_dir,
        tokenizer=text_tokenizer(data.tokenizer, data.max_tokens),
        segmentations=data.segmentations,
        embeddings=data.embeddings,
        shown_size=shown_size,
        labels=data.labels,
        random_crop=data.random_crop,
        leave_damaged=data.damaged == LEAVE_OUT,
    )
    if trained is not None and num_classes:
        check_same_classes(trained, source)
    return dataclasses.replace(source.with_labels_of(num_classes), threads=data.threads)
