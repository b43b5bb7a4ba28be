"""`sample`: images from a trained model, sample i from (seed, i) alone."""

import contextlib
import dataclasses
import functools
import hashlib
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int, Shaped
from ml_collections import ConfigDict

from score_jax.arrays import keys_per_example
from score_jax.builder import Edit, Experiment, Guide, Known, Start
from score_jax.builder.advice import where_samples_are_not_finite
from score_jax.errors import InputError, counted, plural
from score_jax.guidance.measurements import Measurement, replace
from score_jax.jobs.text_guide import TextGuide
from score_jax.runtime.parts import Columns, Parts, gathered, joined, parts_to_do
from score_jax.runtime.sharding import check_divisible, over_batch, replicated
from score_jax.runtime.stop import Stop
from score_jax.samplers.best_of import best_of
from score_jax.tiles import in_tiles
from score_jax.typing import KeyArray, Params, Rounding

RANDOM_LABEL, BALANCED_LABELS = -1, -2
"""In place of a class: a class drawn from the seed and the sample's index; the index modulo the number of classes."""
_LABEL_STREAM = 0x1ABE1
_VIEW_STREAM = 0x71E35


@dataclasses.dataclass(frozen=True)
class Drawn:
    """Samples on the host.

    Attributes:
      images: (n, h, w, c), in the type of the data: pixels in uint8.
      labels: classes of class-conditional samples (n,), zeros of others.
      nfe: evaluations of the model per sample (n,).
      trajectory: uint8 (n, k, h, w, c), from noise to image; k = 0 unless asked for.
      times: of the trajectory (k,).
    """

    images: Shaped[np.ndarray, "n h w c"]
    labels: Int[np.ndarray, "n"]
    nfe: Int[np.ndarray, "n"]
    trajectory: Shaped[np.ndarray, "n k h w c"]
    times: Float[np.ndarray, "k"]


@dataclasses.dataclass(frozen=True, eq=False)
class Given:
    """What a set of samples is conditioned on, beside a label that all share.

    Attributes:
      classifier: a classifier's experiment, whose gradient guides.
      classifier_params: its parameters.
      text: a text whose likeness guides an edit of the images `known`, blended into what is measured of them.
      measurement: what is known of each image, held to `known`.
      known: images (n, h, w, c) that are measured, or begun with.
      noise: in what is known, levels of the images; 0: none.
      strength: share of the steps that are taken from the images `known`, noised; None: noise alone is begun with.
      conditions: of each, arrays (n, ...) by name as a batch of data has them, such as "label" and "low_res".
      latents: states (n, h, w, c) to begin with, instead of noise drawn from the seed.
    """

    classifier: Experiment | None = None
    classifier_params: Params | None = None
    text: TextGuide | None = None
    measurement: Measurement | None = None
    known: Shaped[np.ndarray, "n h w c"] | None = None
    noise: float = 0.0
    strength: float | None = None
    conditions: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    latents: Float[np.ndarray, "n h w c"] | None = None

    def num_classes(self, experiment: Experiment) -> int:
        """Classes that a label of a sample may name: the guiding classifier's, or else the model's."""
        return experiment.num_classes if self.classifier is None else self.classifier.label_classes

    @property
    def guide_params(self) -> Params | None:
        """Of the networks that guide."""
        return self.classifier_params if self.text is None else self.text.params

    def rows(self, places: Int[np.ndarray, "b"]) -> dict[str, np.ndarray]:
        """The arrays of these samples, by name."""
        arrays = {"known": self.known, "latents": self.latents, **self.conditions}
        texts = {} if self.text is None else {_TEXTS: self.text.texts(places)}
        return {name: array[places] for name, array in arrays.items() if array is not None} | texts

    def digests(self, count: int) -> dict[str, str]:
        """Hashes of the first `count` rows of the arrays, by name: what tells these conditions from others."""
        return {n: hashlib.sha256(rows.tobytes()).hexdigest() for n, rows in self.rows(np.arange(count)).items()}


_TEXTS = "texts"
"""Among the rows of samples: the features of what guides each."""
_NOTHING = Given()
_NO_ARRAYS: Mapping[str, Array] = types.MappingProxyType({})


BatchSampler = Callable[..., tuple[dict[str, Array], Array]]
"""`sampler(indices, rows, handed)`: arrays of these samples, sharded over the mesh, and times of their trajectories.

`rows` are their rows in the arrays that they are conditioned on, `handed` (none where it is left out) more such arrays,
of these samples alone and on the devices already. The arrays returned are "image" (b, h, w, c) in uint8, "label",
"nfe", "finite" and "trajectory" (b, k, h, w, c), and images of further roundings as `image_name` calls them.
"""


def _by_classifier(classifier: Experiment, params: Params, label: Int[Array, "b"], scale: float) -> Guide:
    """The classifier's log-probability of the classes."""
    classify = functools.partial(classifier.predict, classifier.trained(params))

    def log_prob(x, t, label):
        return jnp.take_along_axis(jax.nn.log_softmax(classify(x, t)), label[:, None], axis=1)[:, 0]

    return Guide(log_prob, label, scale)


def _predictor(experiment: Experiment, params: Params, *, guided: bool) -> Any:
    """The model, which sees x in tiles where the config says so."""
    predictor, c = experiment.predictor(params, guided=guided), experiment.config.sampling
    if not c.tile:
        return predictor
    experiment.part("predictor")
    return in_tiles(predictor, c.tile, c.overlap)


def random_labels(key: KeyArray, indices: Int[Array, "b"], num_classes: int) -> Int[Array, "b"]:
    """Draws a class for each sample from the key and its index; of no classes zeros."""
    keys = keys_per_example(jax.random.fold_in(key, _LABEL_STREAM), indices)
    return jax.vmap(lambda key: jax.random.randint(key, (), 0, max(1, num_classes)))(keys)


def labels_of(key: KeyArray, indices: Int[Array, "b"], num_classes: int, label: Int[Array, ""]) -> Int[Array, "b"]:
    """Returns the class of each sample: `label`, or what `RANDOM_LABEL` or `BALANCED_LABELS` stands for."""
    balanced = indices % max(1, num_classes)
    drawn = jnp.where(label == BALANCED_LABELS, balanced, random_labels(key, indices, num_classes))
    return jnp.where(label < 0, drawn, label)


def labels_named(label: int, num_classes: int) -> str:
    """Returns how samples got their classes, for a result's file."""
    if not num_classes:
        return "none"
    kinds = {RANDOM_LABEL: f"random of {num_classes} classes", BALANCED_LABELS: f"balanced over {num_classes} classes"}
    return kinds.get(label, f"class {label} of {num_classes}")


def image_name(rounding: Rounding, roundings: tuple[Rounding, ...]) -> str:
    """Returns the name of the images rounded so among the arrays of a sampler that rounds in several ways."""
    return "image" if rounding == roundings[0] else f"image_{rounding}"


@functools.lru_cache(maxsize=8)
def sampling_program(
    experiment: Experiment, mesh: Mesh, num_saved: int, given: Given, roundings: tuple[Rounding, ...]
) -> Callable:
    """Returns the sampler of an experiment, compiled once however often samples are drawn.

    Of parameters, those of what guides, a key, indices (b,), a label, and the rows of `given`.
    """

    candidates = experiment.candidates

    def draw_batch(params: Params, guide_params, key, batch_indices, label, rows):
        classes, codec = given.num_classes(experiment), experiment.codec_with(params)
        rows = {"label": labels_of(key, batch_indices, classes, label)} | rows
        known, edit, guide, start = None, None, None, None
        images: Any = codec.encode(rows["known"]) if "known" in rows else None
        if given.strength is not None:
            start = Start(images, given.strength)
        if given.measurement is not None:
            if given.text is None:
                noise = given.noise / codec.levels_per_unit
                known = Known(given.measurement, given.measurement.operator(images), noise)
            else:
                views = keys_per_example(jax.random.fold_in(key, _VIEW_STREAM), batch_indices)
                loss = given.text.loss(guide_params, views, images, rows[_TEXTS])
                edit = Edit(images, given.measurement, given.text.options.skip, loss)
        if given.classifier is not None:
            scale = experiment.config.guidance.scale
            guide = _by_classifier(given.classifier, guide_params, rows["label"], scale)
        sampling = experiment.sampling(guide=guide, known=known, edit=edit, start=start)
        conditions = experiment.conditions(params, rows, guided=guide is None)
        asked = {"model": conditions} | ({} if guide is None else {"target": guide.target})
        predictor: Any = sampling.see(_predictor(experiment, params, guided=guide is None))
        draw_by = functools.partial(
            sampling.draw,
            predictor,
            indices=batch_indices,
            shape=codec.shape(experiment.image_shape),
            num_saved=num_saved,
            initial=rows.get("latents"),
            conditions=asked,
        )
        if candidates == 1:
            samples = draw_by(key=key)
        else:
            samples = best_of(lambda key: draw_by(key=key), experiment.fit(params, conditions), key, candidates)
        finite = jnp.isfinite(samples.x).all(axis=(1, 2, 3)) & samples.ok
        # The last denoising moves what is known a little, too.
        x = samples.x if known is None or known.noise else replace(known.measurement, samples.x, known.y)
        columns = {
            **{image_name(rounding, roundings): codec.decode(x, rounding) for rounding in roundings},
            "label": rows["label"],
            "nfe": samples.nfe,
            "finite": finite,
            "trajectory": codec.decode(jnp.moveaxis(samples.trajectory, 0, 1), roundings[0]),
        }
        return columns, samples.times

    return jax.jit(draw_batch, out_shardings=(over_batch(mesh), replicated(mesh)))


def batch_sampler(
    experiment: Experiment,
    params: Params,
    mesh: Mesh,
    *,
    seed: int,
    num_saved: int = 0,
    label: int = RANDOM_LABEL,
    given: Given = _NOTHING,
    roundings: tuple[Rounding, ...] = ("truncated",),
) -> BatchSampler:
    """Draws batches of one model, of which `given` has the arrays, rounded in each of these ways, see `image_name`.

    Other arguments and errors are those of `draw`.
    """
    experiment.part("sampler")
    _check_label(label, given.num_classes(experiment))
    draw_batch, split = sampling_program(experiment, mesh, num_saved, given, roundings), over_batch(mesh)
    key, guide_params = jax.random.key(seed), jax.device_put(given.guide_params, replicated(mesh))

    def on_devices(rows: np.ndarray) -> Array:
        return jax.make_array_from_callback(rows.shape, split, lambda part: rows[part])

    def sampler(
        indices: np.ndarray, rows: np.ndarray, handed: Mapping[str, Array] = _NO_ARRAYS
    ) -> tuple[dict[str, Array], Array]:
        arrays = {name: on_devices(array) for name, array in given.rows(rows).items()} | dict(handed)
        return draw_batch(params, guide_params, key, on_devices(indices), np.int32(label), arrays)

    return sampler


def _check_label(label: int, classes: int) -> None:
    if label == RANDOM_LABEL or (classes and BALANCED_LABELS <= label < classes):
        return
    if not classes:
        raise InputError(f"sampling.label={label}, but the model has no classes: leave it at {RANDOM_LABEL}.")
    raise InputError(
        f"sampling.label={label}, but the model has {classes} classes: expected 0 to {classes - 1}, {RANDOM_LABEL} "
        f"for random ones, or {BALANCED_LABELS} for each in turn."
    )


def check_finite(finite: Bool[np.ndarray, "n"], numbers: Int[np.ndarray, "n"], config: ConfigDict) -> None:
    """Raises InputError where samples of these numbers (n,) are not finite, with what may help in this config."""
    if finite.all():
        return
    gave_up = " or their adaptive solve gave up" if "rtol" in config.sampler else ""
    raise InputError(
        f"{(~finite).sum()} of {counted(len(finite), 'sample')} "
        f"{plural(int((~finite).sum()), 'is', 'are')} not finite{gave_up} (the first is number "
        f"{numbers[np.argmin(finite)]}): {where_samples_are_not_finite(config)}"
    )


def filled_up(first: int, valid: int, batch_size: int) -> Int[np.ndarray, "b"]:
    """Returns `valid` numbers from `first` on, the last one repeated to `batch_size`."""
    return np.minimum(np.arange(first, first + batch_size), first + valid - 1).astype(np.int32)


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
    given: Given = _NOTHING,
    rounding: Rounding = "truncated",
    parts: Parts | None = None,
    stop: Stop | None = None,
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
      label: class of class-conditional or classifier-guided samples, `RANDOM_LABEL` or `BALANCED_LABELS`.
      given: what they are conditioned on; row i of its arrays belongs to the sample with the i-th of the indices.
      rounding: to uint8, see `Pixels.decode`.
      parts: where finished batches are kept while the work lasts.
      stop: ends the work after a batch.

    Raises:
      InputError: the batch does not split over the devices, there is no such class, or samples are not finite.
      Interrupted: `stop`; the same call with the same parts goes on.
    """
    indices = np.asarray(list(indices), np.int32)
    sampler = batch_sampler(
        experiment, params, mesh, seed=seed, num_saved=num_saved, label=label, given=given, roundings=(rounding,)
    )
    drawn, finite = drawn_by(sampler, mesh, indices, batch_size=batch_size, parts=parts, stop=stop)
    check_finite(finite, indices, experiment.config)
    return drawn


def drawn_by(
    sampler: BatchSampler,
    mesh: Mesh,
    indices: Int[np.ndarray, "n"],
    *,
    batch_size: int,
    parts: Parts | None = None,
    stop: Stop | None = None,
) -> tuple[Drawn, Bool[np.ndarray, "n"]]:
    """What a sampler of batches gives of the samples with these global indices, and whether each is finite (n,).

    Arguments and errors are those of `draw`.
    """
    batches = drawn_batches(sampler, mesh, indices, batch_size=batch_size, parts=parts, stop=stop)
    whole = joined(list(batches))
    drawn = Drawn(whole["image"], whole["label"], whole["nfe"], whole["trajectory"], whole["times"][0])
    return drawn, whole["finite"]


def drawn_batches(
    sampler: BatchSampler,
    mesh: Mesh,
    indices: Int[np.ndarray, "n"],
    *,
    batch_size: int,
    parts: Parts | None = None,
    stop: Stop | None = None,
) -> Iterator[Columns]:
    """The arrays of a sampler of batches, and "times" of each sample, batch after batch, on every process.

    Arguments and errors are those of `draw`.
    """
    check_divisible(batch_size, mesh, "batch_size")
    to_do = parts_to_do(count=len(indices), batch_size=batch_size, name="sample", parts=parts, stop=stop)
    with contextlib.closing(to_do):  # its progress bar ends before an error is printed
        for part in to_do:
            if part.columns is None:
                places = filled_up(part.start, part.valid, batch_size)
                columns, times = sampler(indices[places], places)
                saved = np.broadcast_to(np.asarray(times.addressable_data(0)), (part.valid, len(times)))
                part.columns = gathered(columns, part.valid) | {"times": saved}
            yield part.columns
