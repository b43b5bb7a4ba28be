"""`fid`: any two of image folder, array file, data set and statistics file, under one protocol."""

import dataclasses
import zipfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from score_jax.data.images import with_channels
from score_jax.data.sources import Source, open_images
from score_jax.errors import InputError
from score_jax.evaluation import feature_set
from score_jax.evaluation.feature_set import FeatureSet
from score_jax.evaluation.features import FeatureExtractor
from score_jax.evaluation.protocols import Protocol
from score_jax.jobs.feature_sets import source_features


def facts_of(protocol: Protocol, extractor: FeatureExtractor) -> dict[str, Any]:
    """What two sets must have in common to be compared; of features of one's own, nothing is known."""
    if extractor.identity is None:
        return {"features": extractor.name}
    return {"resize": protocol.resize, "centre": protocol.centre, "identity": extractor.identity}


def side_of(
    text: str,
    protocol: Protocol,
    extractor: FeatureExtractor,
    mesh: Mesh,
    *,
    batch_size: int,
    channels: int = 3,
    data_dir: str | None = None,
) -> FeatureSet:
    """Features of what a word on the command line names.

    Args:
      text: a folder of images; an .npz or .npy of uint8 images; an .npz of statistics (mu, sigma), of ours,
        pytorch-fid's, EDM's or guided-diffusion's, the images in the latter giving its features; or NAME:SPLIT of a
        TFDS data set.
      protocol: how images are resized.
      extractor: the network.
      mesh: all devices.
      batch_size: images at a time on each device.
      channels: 3, or 1 where all images are to be grey.
      data_dir: where TFDS keeps its data sets.

    Raises:
      InputError: it names none of these, or statistics that were made under another protocol.
    """
    path = Path(text).expanduser()
    if path.suffix == ".npz" and "mu" in _names_in(path):
        statistics = feature_set.load(path)
        _check_made_so(path, statistics, protocol, extractor)
        if statistics.features is not None or "arr_0" not in _names_in(path):
            return statistics
        found = _features(_source(text, extractor, channels, data_dir), protocol, extractor, mesh, batch_size)
        print(f"{path}: moments as stored, features of its {found.facts['n']} images.", flush=True)
        return dataclasses.replace(statistics, features=found.features, labels=found.labels)
    return _features(_source(text, extractor, channels, data_dir), protocol, extractor, mesh, batch_size)


def _names_in(path: Path) -> list[str]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return list(file.files)
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise InputError(f"Cannot read {path}: {error}. Expected arrays without pickled objects.") from None


def _check_made_so(path: Path, statistics: FeatureSet, protocol: Protocol, extractor: FeatureExtractor) -> None:
    found = feature_set.difference(statistics.facts, facts_of(protocol, extractor))
    if found is not None:
        key, theirs, ours = found
        raise InputError(
            f"{path} was made with {key} {theirs}, the protocol {protocol.name!r} has {ours}: choose the --protocol "
            "it was made with, or compute it anew from images."
        )
    if not statistics.facts.keys() & {"resize", "identity"}:
        print(f"{path} does not say how it was made: taken as of the protocol {protocol.name!r}.", flush=True)


def _source(text: str, extractor: FeatureExtractor, channels: int, data_dir: str | None) -> Source:
    """Images as the network wants them; those of a folder, whose sizes may differ, prepared one by one."""
    path, prepare = Path(text).expanduser(), jax.jit(extractor.prepare)

    def as_they_are(pixels: np.ndarray, name: str) -> np.ndarray:
        return with_channels(pixels, channels)

    def prepared(pixels: np.ndarray, name: str) -> np.ndarray:
        return np.asarray(prepare(jnp.asarray(with_channels(pixels, channels)[None]))[0])

    if path.is_dir():
        return open_images(f"folder:{path}", "all", prepared)
    if path.suffix in (".npz", ".npy"):
        return open_images(text, "all", as_they_are)
    name, _, split = text.replace(":", "/").rpartition("/")
    if not name:
        raise InputError(
            f"{text}: no such folder or file. Expected a folder of images, an .npz or .npy file, or NAME:SPLIT of a "
            "TFDS data set."
        )
    return open_images(name, split, prepared, data_dir=data_dir)


def _features(
    source: Source, protocol: Protocol, extractor: FeatureExtractor, mesh: Mesh, batch_size: int
) -> FeatureSet:
    already = source[0]["image"].dtype != np.uint8
    seen = dataclasses.replace(extractor, prepare=lambda images: images) if already else extractor
    return source_features(source, mesh, seen, batch_size=batch_size, facts=facts_of(protocol, extractor))
