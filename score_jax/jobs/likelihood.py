"""`likelihood`: bits per dimension of a data set under a trained model, every example once, by one of five methods.

ode     exact, by the probability-flow ODE (Song et al. 2021, eq. 39); of a model of latents, the density of latents
vlb     the variational bound of the chain of levels (Ho et al. 2020, eq. 5)
bound   K of the same chain (Sohl-Dickstein et al. 2015, eq. 14), whose first step is not learned
images  a bound on the probability of images under a model of latents, see `jobs.likelihood_images`
codes   the exact probability of the codes of embeddings (Ramesh et al. 2022, section 2.2.1)
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Int

from score_jax.arrays import fold_in_each
from score_jax.builder import Experiment
from score_jax.builder.kernels import law_of
from score_jax.builder.likelihood_options import VLB, Bound2015, Exact, LikelihoodOptions, OfCodes, OfImages
from score_jax.codecs.codec import Codec
from score_jax.codecs.latents import Latents
from score_jax.codecs.pixels import Pixels
from score_jax.data.sources import Source
from score_jax.errors import InputError, counted, plural
from score_jax.jobs import likelihood_summary
from score_jax.jobs.dequantizer import dequantize
from score_jax.jobs.likelihood_calibration import Calibration
from score_jax.jobs.likelihood_images import by_images
from score_jax.jobs.likelihood_ode import (
    BITS_NAMES,
    Measure,
    Measured,
    bits_name,
    cuts_noise,
    density_by_ode,
    half_level,
    in_dtype,
    likelihood_program,
    precision,
    start_of,
)
from score_jax.jobs.per_example import BatchFunction, over_examples
from score_jax.likelihood import truncated_normal
from score_jax.likelihood.bits import bits_per_dim, importance_weighted
from score_jax.losses import bound, variational
from score_jax.prediction.codes import log_prob
from score_jax.prediction.coordinates import seen
from score_jax.prediction.predictor import (
    Predictor,
    clipped,
    with_conditions,
)
from score_jax.prediction.reverse import reverse_kernel
from score_jax.processes.noise import brownian
from score_jax.runtime.parts import Columns, Parts, parts_of
from score_jax.runtime.results import measurement, write_arrays, write_json
from score_jax.runtime.stop import Stop
from score_jax.typing import Params

FILES = {
    "ode": "likelihood",
    "vlb": "likelihood_vlb",
    "bound": "likelihood_bound",
    "images": "likelihood_images",
    "codes": "likelihood_codes",
}
"""Names of the result files, without their suffixes."""


def _bits(columns: Columns) -> np.ndarray:
    return next(columns[name] for name in BITS_NAMES if name in columns)


@dataclasses.dataclass(frozen=True)
class Likelihood:
    """Per-example values in the order of the data set, and what they say together.

    Attributes:
      columns: arrays (n, ...) by name; always "index", its place in the split, and "bits_per_dim", or of a density of
        latents "latent_bits_per_dim".
      summary: numbers and conventions, JSON-able.
      parts: what was kept of the work while it lasted.
    """

    columns: Columns
    summary: dict[str, Any]
    parts: list[Parts] = dataclasses.field(default_factory=list)

    @property
    def bits_per_dim(self) -> np.ndarray:
        """Per example (n,)."""
        return _bits(self.columns)

    @property
    def gave_up(self) -> Bool[np.ndarray, "n"]:
        """Whether the ODE solve of an example gave up; its value is no likelihood, though it may be finite."""
        ok = self.columns.get("ok", np.ones((len(self.bits_per_dim), 1), bool))
        return np.logical_not(ok.all(axis=1))

    @property
    def failed(self) -> Int[np.ndarray, "k"]:
        """Places of the examples that have no likelihood: their solve gave up, or their value is not finite."""
        return np.flatnonzero(self.gave_up | ~np.isfinite(self.bits_per_dim))

    @property
    def mean(self) -> float:
        """The number that the summary is read for."""
        return likelihood_summary.headline(self.summary)[0]

    @property
    def standard_error(self) -> float | None:
        """Of the mean, from every source that differs between examples; None of a single one."""
        return likelihood_summary.headline(self.summary)[1]

    def check(self, where: str) -> None:
        """Raises InputError where examples have no likelihood; the message goes on with where their values are."""
        if self.failed.size:
            raise InputError(_no_mean(self, where))


def _dequantizing(experiment: Measured, dequantizer: Params | None) -> Callable[..., tuple[Array, Array]]:
    """`of(keys, images, codec)`: x0 of images with noise, and the log density of the noise in levels, nats."""
    if not cuts_noise(experiment.likelihood):
        return functools.partial(_dequantized, dequantizer)
    process, half = experiment.in_continuous_time().process, half_level(experiment)
    start = start_of(experiment)

    def of(keys, images, codec: Codec) -> tuple[Array, Array]:
        x0 = codec.encode(images)
        std = process.noise_to_signal(jnp.asarray(start, x0.dtype))
        noise, log_q = truncated_normal.draw(keys, x0, std, half)
        return x0 + noise, log_q + x0[0].size * codec.log_bin_width

    return of


def _dequantized(dequantizer: Params | None, keys, images, codec: Codec) -> tuple[Array, Array]:
    """x0 of images with noise of [0, 1) levels, and the noise's log density."""
    if dequantizer is not None:
        assert isinstance(codec, Pixels)
        return dequantize(dequantizer, keys, images, codec)
    return codec.dequantize(keys, images), jnp.zeros(len(images))


def by_ode(experiment: Measured, dequantizer: Params | None, *, closer: bool = False) -> Measure:
    """Measures by the probability-flow ODE; `closer`: at tolerances ten times smaller.

    Of a model of latents, the density of x0 = scale z of a draw z ~ q(z | x): its bits per dimension are of the latents
    and are named so.
    """
    c, codec, of_x0 = experiment.exact(), experiment.codec, density_by_ode(experiment, closer=closer)
    dim, name = math.prod(codec.shape(experiment.image_shape)), bits_name(codec)
    dequantized = _dequantizing(experiment, dequantizer)

    def measure(params: Params, keys, batch):
        coder, density = experiment.codec_with(params), of_x0(params, keys, batch)

        def once(k) -> dict[str, Array]:
            x, log_q = dequantized(fold_in_each(fold_in_each(keys, 1), k), batch["image"], coder)
            log_prob, values = density(x, k)
            return values | {"log_prob": log_prob - log_q}

        columns = {name: values.T for name, values in jax.lax.map(once, jnp.arange(c.importance_samples)).items()}
        each, together = jnp.mean(columns["log_prob"], axis=1), importance_weighted(columns["log_prob"])
        columns[name] = bits_per_dim(each, dim, codec.log_bin_width)
        columns[f"{name}_iw"] = bits_per_dim(together, dim, codec.log_bin_width)
        return columns

    return measure


def _chain_model(experiment: Experiment, params: Params, batch, x0):
    """The chain of a model's bounds, the model on it, and the variance of its kernels."""
    levels = experiment.levels()
    given = with_conditions(experiment.predictor(params), experiment.conditions(params, batch, x0))
    model: Predictor = seen(in_dtype(experiment.likelihood, given), levels.view)
    of_latents = isinstance(experiment.codec, Latents)  # which have no bounds
    if experiment.likelihood.clip and not experiment.facts.outputs_mean and not of_latents:
        model = clipped(model, levels.chain, *experiment.codec.bounds)
    return levels.chain, model, levels.variance


def _by_vlb(experiment: Experiment) -> Measure:
    if isinstance(experiment.codec, Latents):
        raise InputError(
            "--method=vlb gives probabilities of pixels, and this is a model of latents: measure images by "
            "--method=images, or the density of latents by --method=ode."
        )
    experiment.part("pixels")

    def measure(params: Params, keys, batch):
        x0 = experiment.codec.encode(batch["image"])
        chain, model, variance = _chain_model(experiment, params, batch, x0)
        path = brownian(fold_in_each(keys, 0), x0)
        found = variational.bound(model, chain, variance, x0, path, experiment.codec.bounds)
        return {"bits_per_dim": found.total, "prior": found.prior, "terms": found.terms, "x0_mse": found.x0_mse}

    return measure


def _by_bound(experiment: Experiment) -> Measure:
    codec = experiment.codec
    dim = math.prod(codec.shape(experiment.image_shape))
    chain = experiment.levels().chain
    t = jnp.arange(float(chain.num_levels))
    if float(jnp.abs(chain.alpha(t) ** 2 + chain.sigma(t) ** 2 - 1).max()) > 1e-3:
        raise InputError(
            "--method=bound is only for variance-preserving processes, such as vp and vp_chain: measure this model by "
            "--method=vlb or --method=ode."
        )

    def measure(params: Params, keys, batch):
        coder = experiment.codec_with(params)
        x0 = coder.dequantize(fold_in_each(keys, 1), batch["image"])
        chain, model, variance = _chain_model(experiment, params, batch, coder.encode(batch["image"]))

        def reverse(x, t):
            kernel = reverse_kernel(chain, model(x, t), x, t, t - 1, variance)
            return kernel.mean, jnp.exp(jnp.broadcast_to(kernel.log_variance, x.shape))

        return _columns(bound.gaussian_bound(reverse, chain, x0, brownian(fold_in_each(keys, 0), x0)), codec, dim)

    return measure


def _columns(found: bound.Bound, codec: Codec, dim: int) -> dict[str, Array]:
    names = {"exact": bits_name(codec), "null": "null_bits_per_dim", "equation_14": "equation_14_bits_per_dim"}
    values = {name: bits_per_dim(getattr(found, of), dim, codec.log_bin_width) for of, name in names.items()}
    return values | {"kl": found.kl}


def _by_learned_kernels(experiment: Experiment) -> Measure:
    codec, law = experiment.codec, law_of(experiment.process)
    dim = math.prod(codec.shape(experiment.image_shape))

    def measure(params: Params, keys, batch):
        x0 = codec.dequantize(fold_in_each(keys, 1), batch["image"])
        reverse, chain = experiment.model(params)
        found = law.bound(in_dtype(experiment.likelihood, reverse), chain, x0, fold_in_each(keys, 0))
        return _columns(found, codec, dim)

    return measure


def _by_codes(experiment: Experiment) -> Measure:
    codec = experiment.codec
    count = math.prod(codec.shape(experiment.image_shape))

    def measure(params: Params, keys, batch):
        x0 = experiment.codec_with(params).encode(batch["image"])
        conditions = experiment.conditions(params, batch, x0)
        found = log_prob(experiment.predictor(params), x0, conditions)
        return {"log_prob": found, bits_name(codec): bits_per_dim(found, count, codec.log_bin_width)}

    return measure


@dataclasses.dataclass(frozen=True, eq=False)
class _Work:
    """Values of the examples of a data set by one method, and again, of the first, at smaller tolerances.

    Attributes:
      options: of the method.
      params: of the model.
      mesh: all devices.
      source: the data.
      count: examples that are measured.
      folder: in which finished batches are kept while the work lasts; None: in memory alone.
      facts: what tells these values from others, JSON-able.
      stop: ends the work after a batch.
      kept: the parts, for whoever removes them.
    """

    options: LikelihoodOptions
    params: Params
    mesh: Mesh
    source: Source
    count: int
    folder: Path | None
    facts: dict[str, Any]
    stop: Stop | None
    kept: list[Parts] = dataclasses.field(default_factory=list)

    def run(self, measure: Measure, count: int | None = None, **more: Any) -> Columns:
        """Of the first `count` examples, all if None."""
        parts = None if self.folder is None else parts_of(self.folder, self.facts | more)
        self.kept.extend([] if parts is None else [parts])
        count = self.count if count is None else count
        columns = over_examples(
            self._of_batch(measure),
            self.source,
            self.mesh,
            count=count,
            batch_size=self.options.batch_size,
            key="likelihood.batch_size",
            parts=parts,
            stop=self.stop,
            running=_running_mean(),
        )
        assert (columns["index"] == np.arange(count)).all()
        return columns

    def run_twice(self, by: Callable[..., Measure]) -> tuple[Columns, Columns | None]:
        """Of all, and of the first batches again at smaller tolerances."""
        c = self.options
        assert isinstance(c, Exact)
        columns, first = self.run(by()), min(self.count, c.sensitivity_batches * c.batch_size)
        return columns, self.run(by(closer=True), first, closer=True) if first else None

    def _of_batch(self, measure: Measure) -> BatchFunction:
        jitted, c = likelihood_program(self.mesh, measure), self.options

        def of_batch(batch):
            with precision(c.matmul_precision):
                return jitted(self.params, jax.random.key(c.seed), batch)

        return of_batch


def _work(
    options: LikelihoodOptions,
    params: Params,
    mesh: Mesh,
    source: Source,
    parts: Path | None,
    facts: dict[str, Any],
    stop: Stop | None,
) -> _Work:
    count = min(options.num_examples or len(source), len(source))
    return _Work(options, params, mesh, source, count, parts, facts | {"count": count}, stop)


def measure_by_ode(
    model: Measured,
    params: Params,
    mesh: Mesh,
    source: Source,
    *,
    parts: Path | None,
    facts: dict[str, Any],
    stop: Stop | None = None,
    dequantizer: Params | None = None,
) -> Likelihood:
    """Measures the exact density of any model; arguments and errors are those of `measure`, `facts` tell the model."""
    work = _work(model.exact(), params, mesh, source, parts, facts, stop)
    columns, again = work.run_twice(functools.partial(by_ode, model, dequantizer))
    return Likelihood(columns, likelihood_summary.of_ode(columns, again, model), work.kept)


def measure(
    experiment: Experiment,
    params: Params,
    mesh: Mesh,
    source: Source,
    *,
    parts: Path | None = None,
    facts: dict[str, Any] | None = None,
    stop: Stop | None = None,
    dequantizer: Params | None = None,
    calibration: Calibration | None = None,
) -> Likelihood:
    """Measures bits/dim of `source`, or of its first `likelihood.num_examples`, by `likelihood.name`.

    Args:
      experiment: the model, and its `likelihood` section.
      params: its parameters.
      mesh: all devices.
      source: the data.
      parts: folder in which finished batches are kept while the work lasts; None: in memory alone.
      facts: what tells these parameters and this data from others (step, fingerprint).
      stop: ends the work after a batch.
      dequantizer: of the ODE's method, `jobs.dequantizer.fitted`; None: uniform noise.
      calibration: of the bound on images, `jobs.likelihood_calibration.calibrated`.

    Raises:
      InputError: the model has no such likelihood, or the batch does not split over the devices.
      Interrupted: `stop`; the same call goes on.
    """
    c = experiment.part("likelihood")
    facts = {"config": experiment.config.to_dict(), **(facts or {})}
    if calibration is not None:
        facts["calibration"] = calibration.to_dict()
    if isinstance(c, Exact) and not isinstance(c, OfImages):
        return measure_by_ode(
            experiment, params, mesh, source, parts=parts, facts=facts, stop=stop, dequantizer=dequantizer
        )
    work = _work(c, params, mesh, source, parts, facts, stop)
    if isinstance(c, OfImages):
        assert calibration is not None, "the bound on images has a calibration"
        columns, again = work.run_twice(functools.partial(by_images, experiment, calibration))
        summary = likelihood_summary.of_images(columns, again, experiment, calibration)
        return Likelihood(columns, summary, work.kept)
    by, summarised = {
        VLB: (_by_vlb, likelihood_summary.of_vlb),
        Bound2015: (
            _by_bound if "predictor" in experiment.parts else _by_learned_kernels,
            likelihood_summary.of_bound,
        ),
        OfCodes: (_by_codes, likelihood_summary.of_codes),
    }[type(c)]
    columns = work.run(by(experiment))
    return Likelihood(columns, summarised(columns, experiment), work.kept)


def _running_mean() -> Callable[[Columns], dict[str, str]]:
    """For the progress bar: the mean over all batches seen so far."""
    total, count = 0.0, 0

    def running(columns: Columns) -> dict[str, str]:
        nonlocal total, count
        total, count = total + float(_bits(columns).sum()), count + len(_bits(columns))
        return {next(name for name in BITS_NAMES if name in columns): f"{total / count:.3f}"}

    return running


def save(folder: Path, result: Likelihood, facts: dict[str, Any]) -> Path:
    """Writes the summary (.json, whose path is returned) and the values per example (.npz), and drops the parts.

    Raises:
      InputError: examples have no likelihood; both files are written, the summary with their number and without a mean.
    """
    path, failed = folder / FILES[result.summary["method"]], result.failed
    summary = result.summary
    if failed.size:
        known = {key: summary[key] for key in ("method", "count", "conventions")}
        summary = known | {"failed": len(failed), "first_failed": int(result.columns["index"][failed[0]])}
    write_arrays(path.with_suffix(".npz"), result.columns)
    of_result = [] if failed.size else likelihood_summary.measured(summary)
    write_json(path.with_suffix(".json"), summary | measurement("likelihood", of_result, **facts))
    for kept in result.parts:
        kept.remove()
    result.check(f"; all values are in {path.with_suffix('.npz')}")
    return path.with_suffix(".json")


def _no_mean(result: Likelihood, where: str) -> str:
    """Why there is no mean, as one line."""
    failed = result.failed
    if result.gave_up.any():
        why = (
            "their ODE solve gave up. Check that the weights are finite; if they are, give larger likelihood.rtol and "
            "likelihood.atol, or a larger likelihood.t_min"
        )
    else:
        why = "their values are not finite. Check that the weights and the images are"
    place = int(result.columns["index"][failed[0]])
    return (
        f"{len(failed)} of {counted(len(result.bits_per_dim), 'example')} "
        f"{plural(len(failed), 'has', 'have')} no likelihood (the first is number {place}"
        f"{where}), so there is no mean: {why}."
    )
