"""Any function as what draws the samples of an evaluation: `draw(key, indices, labels) -> images`."""

import dataclasses
import hashlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, Int, Shaped, UInt8

from score_jax.codecs.pixels import Pixels
from score_jax.errors import InputError
from score_jax.jobs.drawing import Drawing, Request
from score_jax.jobs.given_conditions import GivenConditions
from score_jax.jobs.sample import BALANCED_LABELS, RANDOM_LABEL, filled_up, image_name, labels_named, labels_of
from score_jax.runtime.multihost import print_once
from score_jax.runtime.parts import Columns, gathered
from score_jax.runtime.sharding import over_batch
from score_jax.typing import Rounding

Draw = Callable[..., Any]
"""`draw(key, indices, labels)`, or with conditions `draw(key, indices, conditions)`: images (b, h, w, c), uint8 or
floats, each from the key, its index and its condition."""
Range = tuple[float | int, float | int]
"""The values of a black and of a white pixel."""


@dataclasses.dataclass(frozen=True)
class Labels:
    """Which class each sample is asked for.

    Attributes:
      num_classes: random ones of so many, each from the seed and the sample's index; 0: all zeros.
      balanced: sample i is of class i modulo their number, instead.
      chosen: of each sample (n,), instead; None: random.
      conditions: what each sample is asked for instead of a class; None: a class.
    """

    num_classes: int = 0
    balanced: bool = False
    chosen: Int[np.ndarray, "n"] | None = None
    conditions: GivenConditions | None = None

    @property
    def named(self) -> str:
        """How samples get theirs, for a result's file."""
        if self.conditions is not None:
            return f"conditions given, sha256 {self.conditions.digest}"
        if self.chosen is not None:
            return f"given, sha256 {hashlib.sha256(self.chosen.astype(np.int64).tobytes()).hexdigest()[:16]}"
        return labels_named(BALANCED_LABELS if self.balanced else RANDOM_LABEL, self.num_classes)

    def of(self, seed: int, indices: Int[np.ndarray, "b"]) -> Int[np.ndarray, "b"]:
        """Of samples of these indices."""
        if self.chosen is not None:
            return self.chosen[indices]
        label = jnp.int32(BALANCED_LABELS if self.balanced else RANDOM_LABEL)
        drawn = labels_of(jax.random.key(seed), jnp.asarray(indices), self.num_classes, label)
        return np.asarray(drawn, np.int32)


def drawing_of_function(
    draw: Draw,
    request: Request,
    mesh: Mesh,
    *,
    value_range: Range | None = None,
    labels: Labels | None = None,
    together: bool = False,
) -> Drawing:
    """Returns a function as what draws samples. It is called for the first batch now, by which it is told from others.

    Args:
      draw: called with a key of the seed, indices and labels (b,) in int32, or conditions in place of labels.
      request: which samples.
      mesh: all devices.
      value_range: of images in floats; None: they are uint8.
      labels: of the samples.
      together: with several processes, they call `draw` together, each with the whole batch in NumPy arrays, and it
        returns one array over all of them; otherwise each is called with its own share, over its own devices.

    Raises:
      InputError: what `draw` returns is no batch of images, or its values are out of range.
    """
    labels = Labels() if labels is None else labels
    key, size = jax.random.key(request.seed), request.batch_size * mesh.size
    to_images = _program(mesh, value_range, request.roundings)
    call = _whole_batch if together else _own_share

    def drawn(indices: Int[np.ndarray, "b"]) -> tuple[Array, Array]:
        asked = labels.of(request.seed, indices)
        given = asked if labels.conditions is None else labels.conditions.rows(indices)
        images = call(draw, key, indices, given, mesh, value_range)
        return images, jax.make_array_from_callback(asked.shape, over_batch(mesh), lambda part: asked[part])

    first = filled_up(0, min(request.count, size), size)
    images = drawn(first)
    columns = to_images(*images)
    probe = gathered({name: columns[name] for name in ("image", "finite", "inside")}, size)
    _check(probe, first, value_range)
    told = min(request.count, request.batch_size)  # as many on any number of devices
    truncated = _program(mesh, value_range, ("truncated",))(*images)["image"]  # whatever the protocols round to
    digest = hashlib.sha256(gathered({"image": truncated}, told)["image"].tobytes())

    def sampler(indices: Int[np.ndarray, "b"], rows: Int[np.ndarray, "b"]) -> tuple[dict[str, Array], Array]:
        if np.array_equal(indices, first):
            return columns, jnp.zeros(0)
        found = to_images(*drawn(indices))
        if indices[0] == size:
            _warn_of_the_same(gathered({"image": found["image"]}, size)["image"], probe["image"])
        return found, jnp.zeros(0)

    asked = {"num_classes": labels.num_classes, "labels": labels.named}
    name = getattr(draw, "__qualname__", type(draw).__qualname__)
    where = f"{getattr(draw, '__module__', type(draw).__module__)}:{name}"
    facts = {"sampler": where, "value_range": None if value_range is None else list(value_range), **asked}
    return Drawing(
        sampler,
        lambda columns, numbers: _check(columns, numbers, value_range),
        mesh,
        probe["image"].shape[1:],
        identity={"devices": mesh.size, "first": digest.hexdigest(), **asked},
        named=where,
        facts=facts | {"first_samples": digest.hexdigest()[:16]},
        arithmetic="as the function has it",
        about=f"{where}, a function",
    )


def pixels_of(value_range: Range) -> Pixels:
    """Returns the codec of pixels in this range."""
    return Pixels(float(value_range[0]), float(value_range[1]))


def _program(
    mesh: Mesh, value_range: Range | None, roundings: tuple[Rounding, ...]
) -> Callable[[Array, Array], dict[str, Array]]:
    """Jitted: the columns of images as they were drawn."""
    codec = None if value_range is None else pixels_of(value_range)

    def columns(images: Shaped[Array, "b h w c"], labels: Int[Array, "b"]) -> dict[str, Array]:
        levels = {image_name(rounding, roundings): images for rounding in roundings}
        finite, inside = jnp.ones(len(images), bool), jnp.ones(len(images), bool)
        if codec is not None:
            levels = {image_name(rounding, roundings): codec.decode(images, rounding) for rounding in roundings}
            finite = jnp.isfinite(images).all(axis=(1, 2, 3))
            inside = ((images >= codec.low) & (images <= codec.high)).all(axis=(1, 2, 3))
        return levels | {"label": labels, "finite": finite, "inside": inside}

    return jax.jit(columns, out_shardings=over_batch(mesh))


def _whole_batch(
    draw: Draw, key: Array, indices: np.ndarray, given: Any, mesh: Mesh, value_range: Range | None
) -> Array:
    """Images of a batch that all processes draw together."""
    images = draw(key, indices, given)
    _check_images(images, len(indices), value_range)
    return jax.device_put(images, over_batch(mesh))


def _own_share(draw: Draw, key: Array, indices: np.ndarray, given: Any, mesh: Mesh, value_range: Range | None) -> Array:
    """Images of a batch of which each process draws what its devices will measure."""
    split = over_batch(mesh)
    places: Any = split.addressable_devices_indices_map(indices.shape)
    rows_of = {device: np.arange(len(indices))[part] for device, part in places.items()}
    devices = sorted(rows_of, key=lambda device: rows_of[device][0])
    rows = np.concatenate([rows_of[device] for device in devices])
    here = NamedSharding(Mesh(np.array(devices), "batch"), PartitionSpec("batch"))
    images = draw(key, *jax.device_put((indices[rows], jax.tree.map(lambda array: array[rows], given)), here))
    _check_images(images, len(rows), value_range)
    if jax.process_count() == 1:
        return jax.device_put(images, split)
    return jax.make_array_from_process_local_data(split, np.asarray(images))


def _check_images(images: Any, count: int, value_range: Range | None) -> None:
    """Raises InputError where these are no images of so many samples."""
    shape, dtype = getattr(images, "shape", None), getattr(images, "dtype", None)
    if shape is None or dtype is None:
        raise InputError(f"draw returned {type(images).__name__}: expected an array of images (b, h, w, c).")
    if len(shape) != 4 or shape[0] != count or shape[3] not in (1, 3):
        raise InputError(
            f"draw returned {dtype} {tuple(shape)} for {count} samples: expected images ({count}, h, w, c) of 1 or 3 "
            "channels, the channels last."
        )
    if dtype == np.uint8:
        if value_range is not None:
            raise InputError(f"draw returned uint8, which has no value_range={value_range}: leave value_range out.")
    elif not jnp.issubdtype(dtype, jnp.floating):
        raise InputError(f"draw returned {dtype}: expected uint8, or floats in a value_range that you state.")
    elif value_range is None:
        raise InputError(f"draw returned {dtype}: say its range, such as value_range=(-1, 1), or return uint8.")


def _check(columns: Columns, numbers: Int[np.ndarray, "n"], value_range: Range | None) -> None:
    """Raises InputError where samples of these numbers are not finite or out of range."""
    for name, what, help_ in (
        ("finite", "are not finite", "look for what divides by zero or overflows in draw"),
        ("inside", f"have values outside of value_range={value_range}", "state their range, or clip them in draw"),
    ):
        fine: Bool[np.ndarray, "n"] = columns[name][: len(numbers)]
        if not fine.all():
            first = int(numbers[np.argmin(fine)])
            raise InputError(f"{(~fine).sum()} of {len(fine)} samples {what} (the first is number {first}): {help_}.")


def _warn_of_the_same(images: UInt8[np.ndarray, "b h w c"], first: UInt8[np.ndarray, "b h w c"]) -> None:
    if np.array_equal(images, first):
        print_once(
            "Warning: draw gives the same images for the first batch and the second. Sample i must come from its "
            "index: jax.vmap(jax.random.fold_in, (None, 0))(key, indices) are keys, one for each sample."
        )
