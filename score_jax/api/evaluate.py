"""`score_jax.evaluate` and `score_jax.compare`: FID and similar metrics of anyone's samples."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Array, Int, UInt8

from score_jax.api.arguments import check_counts, class_labels
from score_jax.api.stopping import stoppable
from score_jax.data.sources import in_memory
from score_jax.errors import InputError, quoted
from score_jax.evaluation.features import FeatureExtractor
from score_jax.evaluation.protocols import SETS, Protocol, protocol_names
from score_jax.jobs import compare as comparing
from score_jax.jobs.compare import Side, checked_images, open_side
from score_jax.jobs.draw_function import Draw, Labels, Range, drawing_of_function
from score_jax.jobs.drawing import Drawing, Request
from score_jax.jobs.evaluate import each_reference, evaluate_drawing
from score_jax.jobs.extractors import measured_by
from score_jax.jobs.given_conditions import given_conditions
from score_jax.jobs.sample_features import Measure, roundings_of
from score_jax.runtime.multihost import from_first_process
from score_jax.runtime.sharding import make_mesh

Features = Callable[..., Any]
Weights = Mapping[str, str | Path | None]
"""Files by the name of the network, one of `jobs.extractors.NETWORKS`."""
Images = str | Path | UInt8[np.ndarray, "n h w c"] | UInt8[Array, "n h w c"]
"""A folder of images, an .npz or .npy file of images, an .npz file of statistics, NAME:SPLIT of TFDS, or an array."""


def evaluate(
    draw: Draw,
    *,
    reference: Images | Sequence[Images],
    held_out: Images | Sequence[Images] | None = None,
    num_samples: int = 50_000,
    protocol: str | Sequence[str] | None = "adm",
    features: Features | None = None,
    workdir: str | Path | None = None,
    value_range: Range | None = None,
    num_classes: int = 0,
    labels: Int[np.ndarray, "n"] | str | None = None,
    conditions: Any = None,
    seed: int = 0,
    batch_size: int = 64,
    save_samples: bool = False,
    together: bool = False,
    weights: Weights | None = None,
    allow_other_weights: bool = False,
    data_dir: str | None = None,
) -> dict[str, Any]:
    """Draws samples and measures them against real images, as the verb `evaluate` does.

    With a `workdir`, finished batches are kept, and after SIGTERM, Ctrl-C or a crash the same call goes on behind them,
    if the first batch, which is drawn anew, is the same. All processes of a job make the same call.

    Args:
      draw: `draw(key, indices, labels) -> images` (b, h, w, c) of 1 or 3 channels. It gets a key of the seed, and int32
        indices and labels (b,), sharded over the devices. It must make sample i from the key and indices[i] alone, as
        `jax.vmap(jax.random.fold_in, (None, 0))(key, indices)` does.
      reference: a folder, .npz or .npy of images, NAME:SPLIT of TFDS, an .npz of statistics, or uint8 (n, h, w, c); a
        list of them where each protocol has its own.
      held_out: images that were not trained on, likewise, where the reference was: adds authenticity, C_T and FDr.
      num_samples: those of indices 0 to num_samples - 1.
      protocol: evaluator whose numbers are reproduced, see docs/evaluation.md; a list of them, all of which measure the
        same samples, drawn once; "fd_loss", a set of six; None: distances of `features`.
      features: with protocol=None, a function from uint8 images (b, h, w, c) to vectors (b, d).
      workdir: folder for the files of the verb, and for finished batches; None: nothing is written.
      value_range: of a black and of a white pixel, such as (-1, 1), where images are floats; None: they are uint8.
      num_classes: random labels of so many classes, each from the seed and its index; 0: labels are zeros.
      labels: of each sample (num_samples,), instead of random ones; "balanced": each of the num_classes in turn.
      conditions: an array (num_samples, ...) or a pytree of them, such as embeddings of prompts, of which `draw` gets
        the rows of its indices in place of labels. Other conditions begin anew, as another model does.
      seed: of the key, and of the resampling behind error bars.
      batch_size: samples at a time on each device.
      save_samples: keep all samples in the workdir, as .npz files of 10,000.
      together: `draw` gets the whole batch in NumPy arrays, from several processes together, for parameters that lie
        where you have put them; otherwise a process draws its own share, on its own devices.
      weights: files by network, such as {"inception": "pt_inception.pth"}; None: as $SCORE_JAX_INCEPTION and so on say.
      allow_other_weights: accept weights that are not the published ones.
      data_dir: where TFDS keeps its data sets.

    Returns:
      What evaluation_PROTOCOL.json has; of a list of protocols this by name, the members of a set too.

    Raises:
      InputError: arguments do not fit together, values are out of range or not finite, or the reference does not fit.
      Interrupted: SIGTERM or Ctrl-C; the same call with the same `workdir` goes on.

    Source: Heusel et al. 2017, eq. 6; those of each protocol are in docs/evaluation.md.

    >>> import jax, jax.numpy as jnp, numpy as np, score_jax as sj
    >>> real = np.random.default_rng(0).integers(0, 256, (64, 4, 4, 1), np.uint8)
    >>> def draw(key, indices, labels):  # uniform noise, as the real images are
    ...     keys = jax.vmap(jax.random.fold_in, (None, 0))(key, indices)
    ...     return jax.vmap(lambda key: jax.random.randint(key, (4, 4, 1), 0, 256, jnp.uint8))(keys)
    >>> means = lambda images: images.mean((2, 3)) / 255.0
    >>> sj.evaluate(draw, reference=real, num_samples=64, protocol=None, features=means)["fid_features"] < 0.05
    True
    """
    check_counts(num_samples=num_samples, batch_size=batch_size, seed=seed)
    _check_fits(draw, value_range, save_samples and workdir is None)
    several, names = _names(protocol)
    chosen = measured_by(names, features, weights or {}, allow_other=allow_other_weights)
    request = Request(num_samples, batch_size, seed, roundings_of(protocol for protocol, _ in chosen))
    asked = _labels(labels, num_classes, num_samples, conditions)
    drawing = drawing_of_function(draw, request, make_mesh(), value_range=value_range, labels=asked, together=together)
    measures = _measures(chosen, reference, held_out, drawing.image_shape[-1], data_dir)
    found = _measured(drawing, request, measures, workdir, save_samples)
    return {values["protocol"]: values for values in found} if several else found[-1]


def compare(
    generated: Images,
    real: Images,
    *,
    protocol: str | None = "adm",
    features: Features | None = None,
    held_out: Images | None = None,
    batch_size: int = 32,
    weights: Weights | None = None,
    allow_other_weights: bool = False,
    data_dir: str | None = None,
) -> dict[str, Any]:
    """Compares two sets of images, as the verb `fid` does.

    Args:
      generated: as `reference` of `evaluate`.
      real: likewise.
      protocol: as of `evaluate`.
      features: as of `evaluate`.
      held_out: images that were not trained on, where `real` are those that were; adds authenticity, C_T and FDr.
      batch_size: images that each device measures at the same time.
      weights: as of `evaluate`.
      allow_other_weights: as of `evaluate`.
      data_dir: where TFDS keeps its data sets.

    Returns:
      The numbers and how they came about, as `fid --json` writes them, on all processes.

    Raises:
      InputError: the two cannot be compared, or an image is unusable.

    Source: as of `evaluate`.

    >>> import numpy as np, score_jax as sj
    >>> one, other = np.random.default_rng(0).integers(0, 256, (2, 64, 4, 4, 1), np.uint8)
    >>> def means(images):
    ...     return images.mean((2, 3)) / 255.0
    >>> sj.compare(one, other, protocol=None, features=means)["fid_means"] < 0.05
    True
    """
    check_counts(batch_size=batch_size)
    ((chosen, extractor),) = measured_by([protocol], features, weights or {}, allow_other=allow_other_weights)
    one, other = (_side(images, chosen, extractor, 3, data_dir) for images in (generated, real))
    fresh = None if held_out is None else _side(held_out, chosen, extractor, 3, data_dir)
    found = comparing.compare(one, other, chosen, extractor, batch_size=batch_size, held_out=fresh)
    return from_first_process(None if found is None else found[0] | found[1])


def _names(protocol: Any) -> tuple[bool, list[Any]]:
    """Whether several protocols are asked for, of which each has its own numbers, and the names of all."""
    several = protocol is not None and not isinstance(protocol, str) and isinstance(protocol, Iterable)
    return several, protocol_names(protocol) if several or protocol in SETS else [protocol]


def _measured(
    drawing: Drawing, request: Request, measures: list[Measure], workdir: Any, save_samples: bool
) -> list[dict[str, Any]]:
    """What the files of the verb have, on all processes."""
    to = None if workdir is None else Path(workdir).expanduser()
    with stoppable() as stop:
        results = evaluate_drawing(drawing, request, measures, workdir=to, save_samples=save_samples, stop=stop)
    return from_first_process(None if results is None else {"each": [one.values for one in results]})["each"]


def _measures(
    chosen: list[tuple[Protocol, FeatureExtractor]], reference: Any, held_out: Any, channels: int, data_dir: str | None
) -> list[Measure]:
    """Protocols and features with the reference and the held-out images of each."""

    def sides(given: Any) -> list[Side]:
        each = each_reference(list(given) if isinstance(given, list | tuple) else [given], len(chosen))
        return [_side(images, *how, channels, data_dir) for how, images in zip(chosen, each, strict=True)]

    fresh: Sequence[Side | None] = [None] * len(chosen) if held_out is None else sides(held_out)
    return [Measure(*how, side, other) for how, side, other in zip(chosen, sides(reference), fresh, strict=True)]


def _side(images: Any, protocol: Protocol, extractor: FeatureExtractor, channels: int, data_dir: str | None) -> Side:
    if isinstance(images, str | Path):
        return open_side(str(images), protocol, extractor, channels=channels, data_dir=data_dir)
    source = in_memory(checked_images(images))
    return Side(source.name, None, source)


def _labels(labels: Any, num_classes: int, num_samples: int, conditions: Any) -> Labels:
    """What samples are asked for.

    Raises:
      InputError: they do not fit together.
    """
    if conditions is not None:
        if labels is not None or num_classes:
            raise InputError("labels and conditions: draw is given one of them, so put labels among the conditions.")
        return Labels(conditions=given_conditions(conditions, num_samples))
    if labels is None:
        return Labels(num_classes)
    if isinstance(labels, str):
        if labels != "balanced" or not num_classes:
            raise InputError(f'labels={labels!r}, num_classes={num_classes}: expected "balanced", and num_classes.')
        return Labels(num_classes, balanced=True)
    if num_classes:
        raise InputError("labels and num_classes: give labels of your own, or num_classes for random ones.")
    chosen = class_labels(labels, num_samples)
    if chosen.min() < 0:
        raise InputError(f"labels are from {chosen.min()} on: expected whole numbers from 0 on.")
    return Labels(chosen=chosen)


def _check_fits(draw: Any, value_range: Any, nowhere: bool) -> None:
    """Raises InputError where arguments do not fit together."""
    if not callable(draw):
        raise InputError(f"draw={quoted(draw)}: expected a function of a key, indices and labels, that draws images.")
    if value_range is not None and not (np.shape(value_range) == (2,) and value_range[0] < value_range[1]):
        raise InputError(f"value_range={value_range}: give the value of black first, then the greater one of white.")
    if nowhere:
        raise InputError("save_samples=True writes files: give a workdir.")
