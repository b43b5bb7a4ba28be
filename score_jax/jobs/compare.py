"""`fid`: any two of image folder, array file, data set and statistics file, under one protocol."""

import dataclasses
import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import UInt8

from score_jax.convert.edm2_statistics import read_edm2_statistics
from score_jax.data.contents import ARCHIVES
from score_jax.data.images import with_channels
from score_jax.data.sources import Source, open_images
from score_jax.errors import InputError, named, quoted
from score_jax.evaluation import feature_set, metrics
from score_jax.evaluation.feature_set import FeatureSet
from score_jax.evaluation.features import FeatureExtractor
from score_jax.evaluation.memorisation import FEWEST_OF_A_CELL
from score_jax.evaluation.protocols import Protocol
from score_jax.jobs.feature_sets import source_features
from score_jax.runtime.array_files import array_headers
from score_jax.runtime.results import check_result, measurement
from score_jax.runtime.sharding import make_mesh


def facts_of(protocol: Protocol, extractor: FeatureExtractor) -> dict[str, Any]:
    """Returns what two sets must have in common to be compared; of features of one's own, nothing is known."""
    if extractor.identity is None:
        return {"features": extractor.name}
    known: dict[str, Any] = {"resize": protocol.resize, "identity": extractor.identity}
    known |= {} if protocol.size is None else {"size": protocol.size}
    return known | ({"centre": protocol.centre} if protocol.network == "inception" else {"features": extractor.name})


@dataclasses.dataclass(frozen=True, eq=False)
class Side:
    """One of two sets to compare, of which no image has been looked at yet.

    Attributes:
      name: what the user calls it.
      statistics: what its file knows, if it is one of statistics.
      source: its images, as far as the statistics lack what they show.
      kept: features of these images are kept for the next comparison, see `feature_sets.cached_source_features`.
    """

    name: str
    statistics: FeatureSet | None
    source: Source | None
    kept: bool = False

    @property
    def count(self) -> int | None:
        """Images behind it; None where its file does not say."""
        if self.statistics is not None:
            return self.statistics.facts.get("n")
        return None if self.source is None else len(self.source)


def open_side(
    text: str, protocol: Protocol, extractor: FeatureExtractor, *, channels: int = 3, data_dir: str | None = None
) -> Side:
    """Opens what a word on the command line names.

    Args:
      text: a folder of images; an .npz or .npy of uint8 images; an .npz of statistics (mu, sigma), of ours,
        pytorch-fid's, EDM's, guided-diffusion's or the MeanFlow lineage's (ref_mu, ref_sigma), images in the file
        giving its features; EDM2's .pkl of statistics; or NAME:SPLIT of a TFDS data set.
      protocol: how images are resized.
      extractor: the network.
      channels: 3, or 1 where all images are to be grey.
      data_dir: where TFDS keeps its data sets.

    Raises:
      InputError: it names none of these, or statistics that were made under another protocol.
    """
    path = Path(text).expanduser()
    if path.suffix == ".pkl" and path.is_file():
        statistics = read_edm2_statistics(path, protocol)
        _check_made_so(path, statistics, protocol, extractor)
        return Side(text, _identified(statistics), None)
    if path.suffix not in (".npz", ".npy") or not feature_set.holds_statistics(names := array_headers(path)):
        return Side(text, None, _source(text, extractor, channels, data_dir))
    statistics = feature_set.load(path)
    _check_made_so(path, statistics, protocol, extractor)
    lacking = statistics.features is None and "arr_0" in names
    side = Side(text, _identified(statistics), _source(text, extractor, channels, data_dir) if lacking else None)
    if not protocol.frechet:
        check_has_each(side, f"the protocol {protocol.name!r}")
    return side


def _identified(statistics: FeatureSet) -> FeatureSet:
    """Statistics that tell, by a hash of their moments, which ones they are, where they have none of the pixels."""
    if "pixels" in statistics.facts:
        return statistics
    digest = hashlib.sha256()
    for name in sorted(statistics.moments):
        digest.update(statistics.moments[name].mean.tobytes())
        digest.update(statistics.moments[name].scatter.tobytes())
    return dataclasses.replace(statistics, facts={**statistics.facts, "moments": digest.hexdigest()[:16]})


def check_has_each(side: Side, what: str) -> None:
    """Raises InputError where a set is moments alone, which have no features of each image."""
    if side.source is None and (side.statistics is None or side.statistics.features is None):
        raise InputError(
            f"{side.name} has a mean and a covariance alone, and {what} compares images one by one: give images, or "
            "statistics that `fid --save` wrote."
        )


def checked_images(images: Any) -> UInt8[np.ndarray, "n h w c"]:
    """Returns images in memory, uint8 (n, h, w, c).

    Raises:
      InputError: they are of another type or shape.
    """
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.ndim != 4:
        raise InputError(
            f"Images in memory are {images.dtype} {images.shape}: expected uint8 (n, h, w, c), or the name of a "
            "folder, an .npz file or NAME:SPLIT of a data set."
        )
    return images


def compare(
    generated: Side,
    real: Side | None,
    protocol: Protocol,
    extractor: FeatureExtractor,
    *,
    batch_size: int,
    save: Path | None = None,
    held_out: Side | None = None,
) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Compares two sets.

    Args:
      generated: one.
      real: the other; None: the first is measured alone.
      protocol: of the numbers.
      extractor: of the features.
      batch_size: images that each device measures at the same time.
      save: an .npz file for the statistics of the first.
      held_out: images that were not trained on, where the other are those that were.

    Returns:
      The numbers, and how they came about, JSON-able; None on other processes than the first, and of one set.

    Raises:
      InputError: the two cannot be compared, or an image is unusable.
    """
    if real is not None:
        check_sides(generated, real, extractor)
    if real is not None and held_out is not None:
        check_sides(held_out, real, extractor)
        check_held_out(held_out, real, generated.count, protocol)
        check_each_of(protocol, (generated, real, held_out))
    mesh, first = make_mesh(), jax.process_index() == 0
    one = features_of(generated, protocol, extractor, mesh, batch_size=batch_size)
    if save is not None and first:
        feature_set.save(save, one)
        print(f"Written: {save}")
    if real is None:
        return None
    other = features_of(real, protocol, extractor, mesh, batch_size=batch_size)
    fresh = None if held_out is None else features_of(held_out, protocol, extractor, mesh, batch_size=batch_size)
    if not first:
        return None
    values = metrics.measure(
        protocol, generated=one, real=other, name=extractor.name, logits=extractor.logits, held_out=fresh
    )
    check_result(values)
    facts: dict[str, Any] = {"generated": one.facts, "reference": other.facts}
    facts |= {} if fresh is None else {"held_out": fresh.facts}
    return values, measurement("comparison", metrics.names(values), protocol=protocol.name, **facts)


def check_each_of(protocol: Protocol, sides: Iterable[Side]) -> None:
    """Raises InputError where copies will be tested for, and one of the sets is moments alone."""
    for side in sides:
        if not protocol.scaled:
            check_has_each(side, "the test of copies")


def check_held_out(held_out: Side, training: Side, samples: int | None, protocol: Protocol) -> None:
    """Raises InputError where copies cannot be tested for, as far as that is known before any image is measured."""
    one, other = held_out.source, training.source
    if one is not None and other is not None and len(one) == len(other) and one.content == other.content:
        raise InputError(
            f"The held-out images are those of the reference, {quoted(training.name)}: the reference is what was "
            "trained on, so name other images with held_out."
        )
    if samples is not None and samples <= FEWEST_OF_A_CELL and not protocol.scaled:
        raise InputError(f"{samples} samples: the test of copies needs more than {FEWEST_OF_A_CELL}.")


def check_sides(generated: Side, real: Side, extractor: FeatureExtractor) -> None:
    """Raises InputError where two sets cannot be compared, as far as that is known before their images are measured."""
    metrics.check_counts(generated=generated.count, real=real.count)
    if generated.statistics is not None and real.statistics is not None:
        feature_set.check_comparable(generated=generated.statistics, real=real.statistics)
    for images, other in ((generated, real), (real, generated)):
        if images.source is not None:
            image = images.source[0]["image"]
            check_length(other, _as_it_comes(extractor, image), image.shape)


def check_length(side: Side, extractor: FeatureExtractor, image_shape: tuple[int, ...]) -> None:
    """Raises InputError where a set has statistics of another number of features than those of such images."""
    if side.statistics is None:
        return
    image = jax.ShapeDtypeStruct((1, *image_shape), jnp.uint8)
    shapes = jax.eval_shape(lambda image: extractor.apply(extractor.params, extractor.prepare(image)), image)
    ours, theirs = shapes["features"].shape[1], len(side.statistics.moments["features"].mean)
    if ours != theirs:
        raise InputError(
            f"{side.name} has statistics of {theirs} features, but this network has {ours}, so they cannot be "
            "compared: give statistics of the same features, or images."
        )


def _as_it_comes(extractor: FeatureExtractor, image: np.ndarray) -> FeatureExtractor:
    """The extractor for images like this one, which may be prepared already."""
    return extractor if image.dtype == np.uint8 else dataclasses.replace(extractor, prepare=lambda images: images)


def features_of(
    side: Side, protocol: Protocol, extractor: FeatureExtractor, mesh: Mesh, *, batch_size: int
) -> FeatureSet:
    """Returns the features of a set, `batch_size` images at a time on each device.

    Raises:
      InputError: an image is unusable.
    """
    if side.source is None:
        assert side.statistics is not None
        return side.statistics
    seen, facts = _as_it_comes(extractor, side.source[0]["image"]), facts_of(protocol, extractor)
    found = source_features(side.source, mesh, seen, batch_size=batch_size, facts=facts)
    if side.statistics is None:
        return found
    print(
        f"{side.name}: mean and covariance are as stored; computing features of its {found.facts['n']} images.",
        flush=True,
    )
    return dataclasses.replace(side.statistics, features=found.features, labels=found.labels)


def _check_made_so(path: Path, statistics: FeatureSet, protocol: Protocol, extractor: FeatureExtractor) -> None:
    found = feature_set.difference(statistics.facts, facts_of(protocol, extractor))
    if found is not None:
        key, theirs, ours = found
        raise InputError(
            f"{path} was made with {key} {named(theirs)}, but the protocol {protocol.name!r} has {ours}: choose the "
            "--protocol of the file, or compute it anew from images."
        )
    if not statistics.facts.keys() & {"resize", "identity"}:
        print(
            f"{path} does not say how it was made. It is assumed that it was by the protocol {protocol.name!r}.",
            flush=True,
        )


def _source(text: str, extractor: FeatureExtractor, channels: int, data_dir: str | None) -> Source:
    """Images as the network wants them; those of a folder, whose sizes may differ, prepared one by one."""
    path, prepare = Path(text).expanduser(), jax.jit(extractor.prepare)
    alone = extractor.prepare_alone or (lambda image: np.asarray(prepare(jnp.asarray(image[None]))[0]))

    def as_they_are(pixels: np.ndarray, name: str) -> np.ndarray:
        return with_channels(pixels, channels)

    sizes: set[tuple[int, ...]] = set()

    def prepared(pixels: np.ndarray, name: str) -> np.ndarray:
        found = alone(with_channels(pixels, channels))
        sizes.add(found.shape)
        if len(sizes) > 1:
            raise InputError(
                f"{name} is {pixels.shape[0]} x {pixels.shape[1]} pixels, but other images of {text} have "
                "another size, "
                "and these features do not resize: give all images the same size, or choose a --protocol."
            )
        return found

    return open_word(text, as_they_are if path.suffix in (".npz", ".npy") else prepared, data_dir)


def open_word(text: str, prepare: Callable[[np.ndarray, str], np.ndarray], data_dir: str | None) -> Source:
    """Opens the images that a word names: a folder, an .npz or .npy file, or NAME:SPLIT of a TFDS data set.

    Args:
      text: the word; a path of an archive too.
      prepare: pixels (h, w, c) and a name, to what is wanted of them.
      data_dir: where TFDS keeps its data sets.

    Raises:
      InputError: it names none of these.
    """
    folder = Path(text.removeprefix("folder:")).expanduser()
    if folder.is_dir():
        return open_images(f"folder:{folder}", "all", prepare)
    if folder.suffix in (".npz", ".npy", *ARCHIVES):
        return open_images(text, "all", prepare)
    name, _, split = text.replace(":", "/").rpartition("/")
    is_path = text.startswith((".", "/", "~")) or (":" not in text and Path(text).parent.is_dir())
    if not name or is_path:
        raise InputError(
            f"{text}: no such folder or file. Expected a folder of images, an .npz or .npy file, or NAME:SPLIT of a "
            "TFDS data set."
        )
    return open_images(name, split, prepare, data_dir=data_dir)
