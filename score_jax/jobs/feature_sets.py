"""Features of samples and of data sets: sharded over all devices and processes, in the order of their indices.

A device sees the same number of images at a time whatever the number of devices, so that an image's features, and what
is computed from them, are the same on one device and on a pod.
"""

import contextlib
import dataclasses
import functools
import hashlib
import json
import types
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, UInt8, UInt32

from score_jax.data.sources import Source, in_memory
from score_jax.evaluation import feature_set
from score_jax.evaluation.feature_set import FeatureSet
from score_jax.evaluation.features import FeatureExtractor
from score_jax.jobs.drawing import Drawing, Request
from score_jax.jobs.per_example import example_batches
from score_jax.jobs.sample import filled_up, image_name
from score_jax.runtime.cache import cache_folder
from score_jax.runtime.multihost import first_says
from score_jax.runtime.parts import Columns, Parts, gathered, in_parts, parts_of
from score_jax.runtime.sharding import over_batch, replicated
from score_jax.runtime.stop import Stop
from score_jax.typing import Rounding

KEPT = 50_000
"""Images of a set whose features are kept for the metrics that need more than moments."""
_ANSWERS = 4
_PROGRAMS = 12
"""Extractors whose programs are kept: the samples of a job, its reference and its held-out images are seen by all."""


@functools.lru_cache(maxsize=_PROGRAMS)
def jitted(extractor: FeatureExtractor, mesh: Mesh) -> Callable[[Array], dict[str, Array]]:
    """The features of images that are sharded over the mesh, in full float32; `prepare` is compiled per image size."""
    params, split = jax.device_put(extractor.params, replicated(mesh)), over_batch(mesh)
    prepare = jax.jit(extractor.prepare, out_shardings=split)
    apply = jax.jit(extractor.apply, in_shardings=(replicated(mesh), split), out_shardings=split)

    def of_images(images: Array) -> dict[str, Array]:
        with jax.default_matmul_precision("highest"):
            return apply(params, prepare(images))

    return of_images


def answers_of(extractor: FeatureExtractor, mesh: Mesh, image_shape: tuple[int, ...], batch_size: int) -> str | None:
    """Returns what tells features of one's own from others of their name: a hash of what they make of fixed images.

    Args:
      extractor: of the features; of a known network, which has an identity, nothing is computed.
      mesh: all devices.
      image_shape: (h, w, c) of the images that will be measured.
      batch_size: of them on each device, whose program is taken here too.
    """
    if extractor.identity is not None:
        return None
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (batch_size * mesh.size, *image_shape), np.uint8)
    split = jax.make_array_from_callback(images.shape, over_batch(mesh), lambda part: images[part])
    # Those of the first device, which are the same ones on any number of devices.
    found = gathered(jitted(extractor, mesh)(split), min(batch_size, _ANSWERS))
    return hashlib.sha256(np.ascontiguousarray(found["features"]).tobytes()).hexdigest()[:16]


def array_features(
    images: UInt8[np.ndarray, "n h w c"],
    mesh: Mesh,
    extractor: FeatureExtractor,
    batch_size: int = 64,
    facts: Mapping[str, Any] = types.MappingProxyType({}),
) -> FeatureSet:
    """Returns the features of images in memory, with these facts of how they came about."""
    return source_features(in_memory(images), mesh, extractor, batch_size=batch_size, facts=dict(facts))


@dataclasses.dataclass(frozen=True, eq=False)
class View:
    """How a metric sees samples: as bytes of one rounding, by one network.

    Attributes:
      extractor: of the features.
      rounding: to uint8, one of the request's.
    """

    extractor: FeatureExtractor
    rounding: Rounding


def seen(columns: Columns, place: int) -> Columns:
    """Returns what the view at this place has of a batch: "features" (and "spatial") and "label"."""
    names = {name: f"{name}_{place}" for name in ("features", "spatial")}
    return {"label": columns["label"]} | {name: columns[key] for name, key in names.items() if key in columns}


def sample_batches(
    drawing: Drawing,
    views: Sequence[View],
    request: Request,
    *,
    parts: Parts | None = None,
    stop: Stop | None = None,
) -> Generator[Columns, None, None]:
    """Batches of the features of each view, see `seen`, of "label", "nfe" and, of the first, the images.

    Sample i comes from the seed and i alone. Images are named by `image_name`.

    Raises:
      InputError: samples are not finite.
      Interrupted: `stop`; the same call with the same parts goes on.
    """
    size = request.batch_size * drawing.mesh.size
    programs = [jitted(view.extractor, drawing.mesh) for view in views]
    images = [image_name(rounding, request.roundings) for rounding in request.roundings]

    def compute(start: int, valid: int) -> Columns:
        indices = filled_up(start, valid, size)
        drawn, _ = drawing.sampler(indices, indices)
        left = {"trajectory", *([] if start < request.images else images)}
        kept = {name: array for name, array in drawn.items() if name not in left}
        for place, (view, of_images) in enumerate(zip(views, programs, strict=True)):
            features = of_images(drawn[image_name(view.rounding, request.roundings)])
            kept |= {f"{name}_{place}": array for name, array in features.items()}
        columns = gathered(kept, valid)
        drawing.check(columns, indices[:valid])
        return columns

    return in_parts(compute, count=request.count, batch_size=size, name="sample", parts=parts, stop=stop)


def source_features(
    source: Source,
    mesh: Mesh,
    extractor: FeatureExtractor,
    *,
    batch_size: int,
    facts: dict[str, Any],
    parts: Parts | None = None,
    stop: Stop | None = None,
) -> FeatureSet:
    """Returns features of all images of a data set, `batch_size` at a time on each device, with a hash of the pixels.

    Raises:
      InputError: an image is unusable.
      Interrupted: `stop`.
    """
    of_images, digest = jitted(extractor, mesh), hashlib.sha256()
    hashes = jax.jit(pixel_hash, out_shardings=over_batch(mesh))

    def function(batch: dict[str, Array]) -> dict[str, Array]:
        return of_images(batch["image"]) | {"label": batch["label"], "hash": hashes(batch["image"])}

    def read() -> Generator[Columns, None, None]:
        for columns in example_batches(
            function, source, mesh, batch_size=batch_size * mesh.size, name="features", parts=parts, stop=stop
        ):
            digest.update(columns["hash"].astype("<u4").tobytes())
            yield columns

    with contextlib.closing(read()) as batches:  # so that the progress bar ends before an error is printed
        found = feature_set.collect(batches, count=len(source), keep=KEPT, facts=facts | {"data": source.name})
    return dataclasses.replace(found, facts=found.facts | {"pixels": digest.hexdigest()[:16]})


def pixel_hash(images: UInt8[Array, "b h w c"] | Float[Array, "b h w c"]) -> UInt32[Array, "b 2"]:
    """Sums of an image's numbers under two sets of odd weights, modulo 2^32: the same on every platform."""
    numbers = images if images.dtype == jnp.uint8 else jax.lax.bitcast_convert_type(images, jnp.uint32)
    flat = numbers.reshape(len(images), -1).astype(jnp.uint32) + 1
    place = jnp.arange(flat.shape[1], dtype=jnp.uint32)
    weights = jnp.stack([place * jnp.uint32(2654435761) | 1, (place ^ (place >> 7)) * jnp.uint32(2246822519) | 1])
    return jnp.sum(flat[:, None] * weights[None], axis=-1, dtype=jnp.uint32)


def cached_source_features(
    source: Source,
    mesh: Mesh,
    extractor: FeatureExtractor,
    *,
    batch_size: int,
    facts: dict[str, Any],
    parts: Path,
    stop: Stop | None = None,
) -> FeatureSet | None:
    """`source_features`, from a file where the same images were measured by the same network before.

    `parts` is the folder, seen by all processes, in which finished batches are kept while the work lasts.

    Returns:
      None on all processes but the first, which alone needs it, where the file was there.

    Raises:
      InputError: an image is unusable.
      Interrupted: `stop`; the same call goes on.
    """
    if extractor.identity is None:
        return source_features(source, mesh, extractor, batch_size=batch_size, facts=facts, stop=stop)
    what = facts | {"fingerprint": source.fingerprint, "kept": KEPT}
    path = (
        cache_folder("statistics") / f"{hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]}.npz"
    )
    if first_says(path.is_file()):
        return feature_set.load(path) if jax.process_index() == 0 else None
    kept = parts_of(parts, what | {"batch": batch_size * mesh.size})
    found = source_features(source, mesh, extractor, batch_size=batch_size, facts=facts, parts=kept, stop=stop)
    if jax.process_index() == 0:
        feature_set.save(path, found)
        kept.remove()
    return found
