"""The density of x0 by the probability-flow ODE, as the methods of `likelihood` that need it measure it."""

import contextlib
from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from score_jax.arrays import fold_in_each, keys_per_example
from score_jax.builder.likelihood import divergence_of, variables_of
from score_jax.builder.likelihood_options import TRUNCATED_NORMAL, Exact, LikelihoodOptions
from score_jax.codecs.codec import Codec
from score_jax.codecs.embedding_codes import EmbeddingCodes
from score_jax.codecs.latents import Latents
from score_jax.codecs.pixels import BITS, Pixels
from score_jax.errors import InputError
from score_jax.likelihood.divergence import cheaper_derivative
from score_jax.likelihood.ode import log_prob, truncation_bound
from score_jax.likelihood.truncated_normal import WIDTH
from score_jax.prediction.predictor import ConditionalPredictor, Conditions, answering_in, with_conditions
from score_jax.processes.gaussian import GaussianProcess
from score_jax.runtime.sharding import over_batch, replicated
from score_jax.samplers.ode import ODE, example_drift
from score_jax.typing import Batch, Image, KeyBatch, Params


@runtime_checkable
class Measured(Protocol):
    """What the density of x0 asks of a model: an `Experiment`, or `function_model.FunctionModel`."""

    @property
    def likelihood(self) -> LikelihoodOptions:
        """The options of the method."""

    @property
    def process(self) -> Any:
        """The model's."""

    @property
    def codec(self) -> Codec:
        """Between data and x0, without parameters."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Of an example."""

    @property
    def conditional(self) -> bool:
        """Whether the class of an example is given."""

    @property
    def network_dtype(self) -> str:
        """What the network computes in, for the conventions."""

    def exact(self) -> Exact:
        """The options, which are those of the ODE."""

    def in_continuous_time(self) -> "Measured":
        """The model under a process that has a probability flow."""

    def ode(self, *, closer: bool = False) -> ODE:
        """The solve; `closer`: at tolerances ten times smaller."""

    def predictor(self, params: Params) -> ConditionalPredictor:
        """The model with its parameters."""

    def codec_with(self, params: Params) -> Codec:
        """The codec with the parameters of its network, if it has one."""

    def conditions(self, params: Params, batch: Mapping[str, Array], x0: Image | None = None) -> Conditions:
        """What the predictor is given of a batch."""


Measure = Callable[..., dict[str, Array]]
"""`measure(params, keys, batch)`: values (b, ...) of a batch, one of `BITS_NAMES` among them."""
Density = Callable[[Batch, Int[Array, ""]], tuple[Float[Array, "b"], dict[str, Array]]]
"""`density(x0, k)`: the log density of draw k of the examples, nats, and what else the solve says."""
BITS_NAMES = ("bits_per_dim", "latent_bits_per_dim", "bits_per_code")
"""What a value per example is called: of data, of the latents of data, or of codes of data."""


def bits_name(codec: Codec) -> str:
    """Returns which of `BITS_NAMES` a density of x0 has."""
    of_data, of_latents, of_codes = BITS_NAMES
    return {Latents: of_latents, EmbeddingCodes: of_codes}.get(type(codec), of_data)


def in_dtype(c: LikelihoodOptions, predictor: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a model that is asked in the precision that the options state."""
    return answering_in(jnp.float32, predictor) if c.dtype == "mixed" else predictor


def cuts_noise(c: LikelihoodOptions) -> bool:
    """Whether x0 has the model's own noise, cut at half a level."""
    return getattr(c, "dequantization", None) == TRUNCATED_NORMAL


def half_level(experiment: Measured) -> float:
    """Returns half the distance of two levels in x0.

    Raises:
      InputError: the data are no images of 8 bits.
    """
    codec = experiment.codec
    if not isinstance(codec, Pixels) or codec.bits != BITS:
        raise InputError(
            "likelihood.dequantization=truncated_normal is for models of the pixels of images of 8 bits: leave it out."
        )
    return 0.5 / codec.levels_per_unit


def start_of(experiment: Measured) -> float:
    """Returns the time at which the ODE starts: t_min, or where that is later and the noise is cut, the time at which
    half a level is `truncated_normal.WIDTH` standard deviations of the noise.

    Raises:
      InputError: this is not before the end of the process.
    """
    c, process = experiment.exact(), experiment.in_continuous_time().process
    start = c.t_min
    if cuts_noise(c):
        with jax.ensure_compile_time_eval():
            start = max(start, float(process.time_at(jnp.asarray(half_level(experiment) / WIDTH))))
    if not start < process.t_max:
        raise InputError(
            f"The path of the likelihood would start at {start:g}, but the process ends at {process.t_max:g}: give a "
            "smaller likelihood.t_min, and levels of images as they are in training."
        )
    return start


def density_by_ode(experiment: Measured, *, closer: bool = False) -> Callable[..., Density]:
    """Returns `of_batch(params, keys, batch) -> density`, by the ODE; `closer`: at tolerances ten times smaller."""
    c, flow, codec = experiment.exact(), experiment.in_continuous_time(), experiment.codec
    process = flow.process
    assert isinstance(process, GaussianProcess)
    start = start_of(experiment)
    ode, variables = experiment.ode(closer=closer), variables_of(c, start)

    def model(params: Params) -> ConditionalPredictor:
        return in_dtype(c, flow.predictor(params))

    def drift(x, t, params: Params, condition: Conditions):
        return example_drift(model(params), process, x, t, condition)

    def derivative(params: Params, conditions: Conditions) -> str:
        if c.derivative != "auto":
            return c.derivative
        x, t = jnp.zeros(codec.shape(experiment.image_shape)), jnp.zeros(())
        return cheaper_derivative(drift, x, t, params, jax.tree.map(lambda rows: rows[0], conditions))

    def of_batch(params: Params, keys: KeyBatch, batch: dict[str, Array]) -> Density:
        conditions = experiment.conditions(params, batch, experiment.codec_with(params).encode(batch["image"]))
        predictor = model(params)
        divergence = divergence_of(c, derivative(params, conditions))

        def density(x, k):
            gain = jnp.zeros(len(x))
            if c.truncation == "bound":
                draws = fold_in_each(fold_in_each(keys, 2), k)
                x, gain = truncation_bound(with_conditions(predictor, conditions), process, draws, x, start)
            if cuts_noise(c):
                first = jnp.asarray(start, x.dtype)
                x, gain = process.alpha(first) * x, gain + x[0].size * process.log_alpha(first)
            # The same probes for every draw: what they add to one they add to all, and no mean of exponentials is
            # raised by it.
            found = log_prob(
                predictor,
                process,
                fold_in_each(keys, 0),
                x,
                divergence=divergence,
                ode=ode,
                t_min=start,
                variables=variables,
                conditions=conditions,
            )
            names = ("prior_log_prob", "divergence", "nfe", "ok", "solver_error")
            values = {name: getattr(found, name) for name in names}
            return found.log_prob + gain, values | {"probe_standard_error": found.standard_error}

        return density

    return of_batch


def likelihood_program(mesh: Mesh, measure: Measure) -> Any:
    """Jitted: of parameters, a key and a batch sharded over the mesh; example i from (key, i) alone."""
    split = over_batch(mesh)

    def run(params, key, batch):
        return measure(params, keys_per_example(key, batch["index"]), batch)

    return jax.jit(run, in_shardings=(replicated(mesh), None, split), out_shardings=split)


def precision(name: str) -> contextlib.AbstractContextManager:
    """Of matrix products within the context: `likelihood.matmul_precision`."""
    return contextlib.nullcontext() if name == "default" else jax.default_matmul_precision(name)
