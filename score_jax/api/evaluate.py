"""`score_jax.evaluate` and `score_jax.compare`: FID and similar metrics of anyone's samples."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Array, Int, UInt8

from score_jax.api.stopping import stoppable
from score_jax.builder.options import Values
from score_jax.data.sources import in_memory
from score_jax.errors import InputError
from score_jax.evaluation.features import FeatureExtractor
from score_jax.evaluation.protocols import Protocol
from score_jax.jobs import compare as comparing
from score_jax.jobs.compare import Side, checked_images, open_side
from score_jax.jobs.draw_function import Draw, Labels, Range, drawing_of_function
from score_jax.jobs.drawing import Request
from score_jax.jobs.evaluate import evaluate_drawing
from score_jax.jobs.extractors import measured_by
from score_jax.runtime.multihost import from_first_process
from score_jax.runtime.sharding import make_mesh

Features = Callable[..., Any]
Images = str | Path | UInt8[np.ndarray, "n h w c"] | UInt8[Array, "n h w c"]
"""A folder of images, an .npz or .npy file of images, an .npz file of statistics, NAME:SPLIT of TFDS, or an array."""


def evaluate(
    draw: Draw,
    *,
    reference: Images,
    num_samples: int = 50_000,
    protocol: str | None = "adm",
    features: Features | None = None,
    workdir: str | Path | None = None,
    value_range: Range | None = None,
    num_classes: int = 0,
    labels: Int[np.ndarray, "n"] | None = None,
    seed: int = 0,
    batch_size: int = 64,
    save_samples: bool = False,
    together: bool = False,
    inception_weights: str | None = None,
    dinov2_weights: str | None = None,
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
      reference: a folder, .npz or .npy of images, NAME:SPLIT of TFDS, an .npz of statistics, or uint8 (n, h, w, c).
      num_samples: those of indices 0 to num_samples - 1.
      protocol: evaluator whose numbers are reproduced, see docs/evaluation.md; None: distances of `features`.
      features: with protocol=None, a function from uint8 images (b, h, w, c) to vectors (b, d).
      workdir: folder for the files of the verb, and for finished batches; None: nothing is written.
      value_range: of a black and of a white pixel, such as (-1, 1), where images are floats; None: they are uint8.
      num_classes: random labels of so many classes, each from the seed and its index; 0: labels are zeros.
      labels: of each sample (num_samples,), instead of random ones.
      seed: of the key, and of the resampling behind error bars.
      batch_size: samples at a time on each device.
      save_samples: keep all samples in the workdir, as .npz files of 10,000.
      together: `draw` gets the whole batch in NumPy arrays, from several processes together, for parameters that lie
        where you have put them; otherwise a process draws its own share, on its own devices.
      inception_weights: file of the published weights; None: $SCORE_JAX_INCEPTION.
      dinov2_weights: file or folder of them, for edm2_dinov2 and dgm_eval; None: $SCORE_JAX_DINOV2.
      allow_other_weights: accept weights that are not the published ones.
      data_dir: where TFDS keeps its data sets.

    Returns:
      The numbers and how they came about, as evaluation_PROTOCOL.json has them.

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
    >>> found = sj.evaluate(draw, reference=real, num_samples=64, protocol=None, features=means, batch_size=8)
    >>> found["fid_features"] < 0.05, found["num_samples"]
    (True, 64)
    """
    _check(num_samples=num_samples, batch_size=batch_size, seed=seed)
    _check_fits(num_samples, value_range, num_classes, labels, save_samples and workdir is None)
    chosen, extractor = measured_by(protocol, features, inception_weights, dinov2_weights, allow_other_weights)
    request, mesh = Request(num_samples, batch_size, seed, chosen.rounding), make_mesh()
    given = Labels(num_classes, None if labels is None else np.asarray(labels))
    drawing = drawing_of_function(
        draw, request, mesh, extractor, value_range=value_range, labels=given, together=together
    )
    side = _side(reference, chosen, extractor, drawing.image_shape[-1], data_dir)
    to = None if workdir is None else Path(workdir).expanduser()
    with stoppable() as stop:
        found = (drawing, request, chosen, extractor, side)
        result = evaluate_drawing(*found, workdir=to, save_samples=save_samples, stop=stop)
    return from_first_process(None if result is None else result.values)


def compare(
    generated: Images,
    real: Images,
    *,
    protocol: str | None = "adm",
    features: Features | None = None,
    batch_size: int = 32,
    inception_weights: str | None = None,
    dinov2_weights: str | None = None,
    allow_other_weights: bool = False,
    data_dir: str | None = None,
) -> dict[str, Any]:
    """Compares two sets of images, as the verb `fid` does.

    Args:
      generated: as `reference` of `evaluate`.
      real: likewise.
      protocol: as of `evaluate`.
      features: as of `evaluate`.
      batch_size: images that each device measures at the same time.
      inception_weights: as of `evaluate`.
      dinov2_weights: as of `evaluate`.
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
    _check(batch_size=batch_size)
    chosen, extractor = measured_by(protocol, features, inception_weights, dinov2_weights, allow_other_weights)
    one, other = (_side(images, chosen, extractor, 3, data_dir) for images in (generated, real))
    found = comparing.compare(one, other, chosen, extractor, batch_size=batch_size)
    return from_first_process(None if found is None else found[0] | found[1])


def _side(images: Any, protocol: Protocol, extractor: FeatureExtractor, channels: int, data_dir: str | None) -> Side:
    if isinstance(images, str | Path):
        return open_side(str(images), protocol, extractor, channels=channels, data_dir=data_dir)
    source = in_memory(checked_images(images))
    return Side(source.name, None, source)


def _check(**counts: int) -> None:
    for name, value in counts.items():
        Values(least=0 if name == "seed" else 1, most=2**32 - 1 if name == "seed" else None).check(name, value)


def _check_fits(
    num_samples: int, value_range: Range | None, num_classes: int, labels: np.ndarray | None, nowhere: bool
) -> None:
    """Raises InputError where arguments do not fit together."""
    if value_range is not None and not value_range[0] < value_range[1]:
        raise InputError(f"value_range={value_range}: give the value of black first, then the greater one of white.")
    if labels is not None and num_classes:
        raise InputError("labels and num_classes: give labels of your own, or num_classes for random ones.")
    if labels is not None and np.shape(labels) != (num_samples,):
        raise InputError(f"labels have shape {np.shape(labels)}: expected one for each sample, ({num_samples},).")
    if nowhere:
        raise InputError("save_samples=True writes files: give a workdir.")
