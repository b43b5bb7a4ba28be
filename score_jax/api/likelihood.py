"""`score_jax.log_prob` and `score_jax.bits_per_dim`: the exact likelihood of anyone's model, with its errors."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt8

from score_jax.api.arguments import class_labels, over_devices
from score_jax.api.stopping import stoppable
from score_jax.builder.likelihood_options import LIKELIHOODS, Exact
from score_jax.builder.options import make_method
from score_jax.codecs.codec import Codec
from score_jax.codecs.numbers import Numbers
from score_jax.data.sources import Source, in_memory
from score_jax.errors import InputError
from score_jax.jobs import likelihood
from score_jax.jobs.compare import checked_images, open_word
from score_jax.jobs.draw_function import Range, pixels_of
from score_jax.jobs.function_model import LABEL, TimeConvention, function_model
from score_jax.jobs.likelihood import Likelihood
from score_jax.processes.gaussian import NoiseSchedule
from score_jax.runtime.multihost import on_first_process
from score_jax.runtime.sharding import make_mesh
from score_jax.runtime.stop import Stop

Model = Callable[..., Any]


@dataclasses.dataclass(frozen=True)
class LogProb:
    """Log densities of examples, nats, and how they came about.

    Attributes:
      log_prob: prior_log_prob + divergence (n,).
      standard_error: of the divergence, over its probes: 0 where it is exact, NaN of a single probe.
      solver_error: what the solver estimates to have missed with control="grid"; NaN of adaptive steps.
      prior_log_prob: log density of the latent under the prior.
      divergence: the integral of the divergence along the path.
      nfe: evaluations of the model.
      ok: False where the solve gave up, and log_prob is none.
    """

    log_prob: Float[np.ndarray, "n"]
    standard_error: Float[np.ndarray, "n"]
    solver_error: Float[np.ndarray, "n"]
    prior_log_prob: Float[np.ndarray, "n"]
    divergence: Float[np.ndarray, "n"]
    nfe: Int[np.ndarray, "n"]
    ok: Bool[np.ndarray, "n"]


def log_prob(
    model: Model,
    process: NoiseSchedule,
    x: Float[Array, "n ..."] | Float[np.ndarray, "n ..."],
    *,
    output: str = "eps",
    time: TimeConvention = None,
    labels: Int[np.ndarray, "n"] | None = None,
    batch_size: int | None = None,
    **options: Any,
) -> LogProb:
    """Returns the exact log density of x under a model, nats, by its probability-flow ODE.

    Args:
      model: `model(x, t)` of x (b, ...) and its times (b,); with labels `model(x, t, labels)`. A pytree of arrays (a
        module of NNX or Equinox, `jax.tree_util.Partial(module.apply, params)` of Linen) is compiled once for all of
        its parameters' values.
      process: that the model's x_t = alpha x0 + sigma eps comes from, such as `score_jax.VP()`.
      x: data in the model's range (n, ...).
      output: what the model gives: eps, x0, v, velocity (dx_t/dt, with t = 0 at the data) or score.
      time: what number the model is given as its time: None (t itself), "999t", "sigma", "noise_to_signal" (sigma /
        alpha) or another of `score_jax.prediction.time_labels`, or a function of t, such as `lambda t: 1 - t`.
      labels: a class of each, which the model is given.
      batch_size: examples at a time, over all devices together; None: all.
      options: keys of `python -m score_jax help likelihood ode`, such as divergence="exact" (for few dimensions),
        probes=8 (two or more give a standard error), rtol, atol, t_min, solver, seed.

    Raises:
      InputError: an option is unknown or impossible, or the model gives no batch like x.

    Source: Song et al. 2021 (arXiv 2011.13456), eq. 39.

    >>> import jax.numpy as jnp, score_jax as sj
    >>> score = lambda x, t: -x  # of N(0, I), at every t
    >>> found = sj.log_prob(score, sj.VP(), jnp.zeros((1, 2)), output="score", divergence="exact")
    >>> print(found.log_prob.round(3), found.standard_error)  # -log(2 pi)
    [-1.838] [0.]
    """
    x = np.asarray(x)
    if x.ndim < 2 or not len(x) or x.dtype.kind != "f":
        raise InputError(f"x is {x.dtype} {x.shape}: expected floats (n, ...), one row an example.")
    size = over_devices(batch_size, len(x), jax.device_count())
    rows = x if x.ndim == 4 else x.reshape(len(x), 1, 1, -1)  # as data of no image's shape are
    c = _options({"batch_size": size, "sensitivity_batches": 0} | options)
    asked = _Asked(model, process, output, time, x.shape[1:], Numbers(), labels is not None, c)
    found, _ = _measured(asked, in_memory(rows, None if labels is None else class_labels(labels, len(x)), "x"), None)
    each = {name: found.columns[name].mean(axis=1) for name in ("log_prob", "prior_log_prob", "divergence")}
    error = found.columns["probe_standard_error"].mean(axis=1)
    missed = found.columns["solver_error"].mean(axis=1)
    return LogProb(**each, standard_error=error, solver_error=missed, nfe=found.columns["nfe"][:, 0], ok=~found.gave_up)


def bits_per_dim(
    model: Model,
    process: NoiseSchedule,
    images: str | Path | UInt8[np.ndarray, "n h w c"] | UInt8[Array, "n h w c"],
    *,
    output: str = "eps",
    time: TimeConvention = None,
    value_range: Range = (-1.0, 1.0),
    labels: Int[np.ndarray, "n"] | None = None,
    num_classes: int = 0,
    workdir: str | Path | None = None,
    data_dir: str | None = None,
    **options: Any,
) -> Likelihood:
    """Measures bits per dimension of images under a model, every image once, as the verb `likelihood` does.

    With a `workdir`, finished batches are kept while the work lasts, and after SIGTERM, Ctrl-C or a crash the same call
    goes on behind them. All processes of a job make the same call, and all see the `workdir`.

    Args:
      model: as of `log_prob`.
      process: as of `log_prob`.
      images: uint8 (n, h, w, c), or a folder of images of one size, an .npz or .npy file, or NAME:SPLIT of TFDS.
      output: as of `log_prob`.
      time: as of `log_prob`.
      value_range: of a black and of a white pixel in the model's x0.
      labels: a class of each of the images in memory, which the model is given.
      num_classes: of a data set with labels, which the model is then given.
      workdir: folder for likelihood.json (the summary) and likelihood.npz (each image); None: nothing is written.
      data_dir: where TFDS keeps its data sets.
      options: as of `log_prob`, and num_examples, batch_size (over all devices together), importance_samples.

    Returns:
      `mean` and `standard_error` over images, `summary` as likelihood.json has it, and `bits_per_dim` of each (n,).

    Raises:
      InputError: as of `log_prob`; an image is unusable; or images have no likelihood, since their solve gave up.
      Interrupted: SIGTERM or Ctrl-C; the same call with the same `workdir` goes on.

    Source: Song et al. 2021 (arXiv 2011.13456), eq. 39, of images with uniform noise (Theis et al. 2016, section 3.1).

    >>> import numpy as np, score_jax as sj
    >>> images = np.random.default_rng(0).integers(0, 256, (8, 4, 4, 1), np.uint8)
    >>> found = sj.bits_per_dim(lambda x, t: -x, sj.VP(), images, output="score", batch_size=8)  # of N(0, I)
    >>> 8 < found.mean < 9, found.summary["method"], found.bits_per_dim.shape
    (True, 'ode', (8,))
    """
    source, codec = _images(images, labels, num_classes, data_dir), pixels_of(value_range)
    folder, conditional = None if workdir is None else Path(workdir).expanduser(), labels is not None or num_classes > 0
    asked = _Asked(model, process, output, time, source[0]["image"].shape, codec, conditional, _options(options))
    with stoppable() as stop:
        found, facts = _measured(asked, source, folder, stop)
    if folder is not None:
        on_first_process(lambda: likelihood.save(folder, found, facts))
    found.check("")
    return found


@dataclasses.dataclass(frozen=True, eq=False)
class _Asked:
    """Of whose likelihood, and how: see the arguments of `bits_per_dim`."""

    model: Any
    process: Any
    output: str
    time: TimeConvention
    shape: tuple[int, ...]
    codec: Codec
    conditional: bool
    options: Exact


def _measured(
    asked: _Asked, source: Source, workdir: Path | None, stop: Stop | None = None
) -> tuple[Likelihood, dict[str, Any]]:
    """The likelihood, and what tells it from others."""
    mesh = make_mesh()
    model, params = function_model(
        asked.model,
        asked.process,
        asked.shape,
        asked.codec,
        mesh,
        output=asked.output,
        time=asked.time,
        given=LABEL if asked.conditional else None,
        options=asked.options,
    )
    facts = model.identity(params, mesh) | {"seed": asked.options.seed, "data": source.fingerprint}
    parts = None if workdir is None else workdir / "likelihood_parts"
    what = facts | {"options": dataclasses.asdict(asked.options), "range": asked.codec.bounds}
    return likelihood.measure_by_ode(model, params, mesh, source, parts=parts, facts=what, stop=stop), facts


def _images(images: Any, labels: np.ndarray | None, num_classes: int, data_dir: str | None) -> Source:
    """The images that a word names, or those in memory."""
    if not isinstance(images, str | Path):
        if num_classes:
            raise InputError("num_classes is for data sets that have labels: give the labels of images in memory.")
        images = checked_images(images)
        return in_memory(images, None if labels is None else class_labels(labels, len(images)))
    if labels is not None:
        raise InputError("labels are for images in memory: of a data set with labels give num_classes.")
    sizes: set[tuple[int, ...]] = set()

    def of_one_size(pixels: np.ndarray, name: str) -> np.ndarray:
        sizes.add(pixels.shape)
        if len(sizes) > 1:
            raise InputError(f"{name} is of shape {pixels.shape}, but others are not: give all images the same size.")
        return pixels

    return open_word(str(images), of_one_size, data_dir).with_labels_of(num_classes)


def _options(options: dict[str, Any]) -> Exact:
    c: Any = make_method("likelihood", LIKELIHOODS, {"name": "ode", **options})
    if c.dequantization == "variational":
        raise InputError("likelihood.dequantization=variational is fitted to a run of a workdir: leave it out.")
    if c.dtype != "float32" and not jax.config.read("jax_enable_x64"):
        raise InputError(f'likelihood.dtype={c.dtype} needs jax.config.update("jax_enable_x64", True) first.')
    return c
