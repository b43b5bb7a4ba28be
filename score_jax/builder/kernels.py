"""Models that learn the reverse kernels of a chain themselves: what their sections stand for."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from score_jax.arrays import fold_in_each
from score_jax.builder.loss_options import Bound
from score_jax.builder.options import check_type
from score_jax.builder.processes import Process
from score_jax.builder.sampler_options import ReverseKernels
from score_jax.codecs.codec import Codec
from score_jax.errors import InputError, unknown_name
from score_jax.guidance.measurements import Measurement
from score_jax.likelihood.bits import bits_per_dim
from score_jax.losses import bound, time_sampling
from score_jax.models.network import Network
from score_jax.prediction.kernels import MEANS, Kernels, bit_reverse, normal_reverse
from score_jax.processes.binomial import BinomialChain
from score_jax.processes.learned import LearnedChain
from score_jax.processes.noise import brownian
from score_jax.samplers import multiplied
from score_jax.training.objective import Objective, per_example
from score_jax.typing import Batch, KeyArray, KeyBatch, Params, Time

Model = Callable[[Params], Kernels]


@dataclasses.dataclass(frozen=True)
class Law:
    """What is done with the kernels of one kind of chain.

    Attributes:
      outputs: what a network's readout can mean, for `prediction.output`.
      draw: samples of `draw(reverse, chain, keys, like, factor)`.
      training_bound: K (b,) of `training_bound(reverse, chain, x0, t, keys)`.
      bound: the bound in full, of `bound(reverse, chain, x0, keys)`.
      known: the factor of known values and their mask.
      observed: the factor of `observed(y, noise, share)`.
    """

    outputs: tuple[str, ...]
    draw: Callable[..., Batch]
    training_bound: Callable[..., Float[Array, "b"]]
    bound: Callable[..., bound.Bound]
    known: Callable[[Batch, Batch], multiplied.Factor]
    observed: Callable[..., multiplied.Factor]


def _gaussian_bound(reverse, chain, x0: Batch, keys: KeyBatch) -> bound.Bound:
    return bound.gaussian_bound(reverse, chain, x0, brownian(keys, x0))


def _flipped_bits(y: Batch, noise: float, share: multiplied.Share) -> multiplied.Factor:
    """Of bits of which each is wrong with probability `noise`."""
    return multiplied.times_bits(jnp.where(y > 0.5, 1 - noise, noise), share)


GAUSSIAN = Law(
    tuple(MEANS),
    multiplied.sample_gaussian,
    bound.gaussian_training_bound,
    _gaussian_bound,
    multiplied.known,
    multiplied.times_normal,
)
BINOMIAL = Law(
    ("x0_logits",),
    multiplied.sample_binomial,
    bound.binomial_training_bound,
    bound.binomial_bound,
    multiplied.known_bits,
    _flipped_bits,
)


def law_of(process: Process) -> Law:
    """Returns the law of a process that kernels are learned of."""
    return BINOMIAL if isinstance(process, BinomialChain) else GAUSSIAN


def build_kernels(config: ConfigDict, network: Network, process: Process) -> Model:
    """Returns the model with its parameters, of the `prediction` section: `{output: what the network's readout means}`.

    Raises:
      InputError: the output is none of this process, or the section has another key.
    """
    possible = law_of(process).outputs
    for key in config.prediction:
        if key != "output":
            raise unknown_name("key of prediction:", key, ("output",))
    output = config.prediction.get("output")
    if output is None:
        raise InputError(f"prediction.output is missing: give one of {', '.join(possible)}.")
    check_type("prediction.output", output, str)
    if output not in possible:
        raise unknown_name("prediction.output", output, possible)
    if isinstance(process, BinomialChain):
        return lambda params: Kernels(bit_reverse(_asked(network, params), process), process)
    assert isinstance(process, LearnedChain)

    def model(params: Params) -> Kernels:
        chain = process.at(params["schedule"] if process.learned else process.logits)
        return Kernels(normal_reverse(_asked(network, params), chain, MEANS[output]), chain)

    return model


def _asked(network: Network, params: Params) -> Callable[..., Any]:
    return functools.partial(network.apply, params)


def build_bound_loss(c: Bound, process: Process, codec: Codec, model: Model, *, dequantize: bool) -> Objective:
    """Returns what training minimises: minus K in bits/dim, of each example at `levels` levels of its own.

    Raises:
      InputError: there are more levels asked for than the chain has.
    """
    assert isinstance(process, LearnedChain | BinomialChain)
    learned, law = process.num_levels - 1, law_of(process)
    if c.levels > learned:
        raise InputError(
            f"loss.levels={c.levels}: give at most {learned}, all levels of the chain but the first, or 0 for all."
        )
    average = bound.over_every_level if c.levels == 0 else functools.partial(bound.over_levels, c.levels)

    def values(params: Params, batch, u: Time, keys: KeyBatch, dropout_key: KeyArray) -> Float[Array, "b"]:
        images = batch["image"]
        x0 = codec.dequantize(fold_in_each(keys, 0), images) if dequantize else codec.encode(images)
        found = average(law.training_bound, model(params), x0, u, fold_in_each(keys, 1))
        return bits_per_dim(found, x0[0].size, codec.log_bin_width)

    def draw(key: KeyArray, b: int, _: Any) -> tuple[Time, Float[Array, "b"]]:
        return time_sampling.stratified(key, b, 0.0), jnp.ones(b)

    return per_example(values, draw)


@dataclasses.dataclass(frozen=True, eq=False)
class KernelSampling:
    """How such a model is sampled.

    Attributes:
      draw: as `samplers.multiplied.sample_kernels`, of the model.
    """

    draw: Callable[..., Any]

    def see(self, model: Kernels) -> Kernels:
        """The model as it is."""
        return model


_SHARES = {"constant": lambda num_levels: multiplied.constant, "remaining": multiplied.remaining}


def build_kernel_sampling(
    c: ReverseKernels, process: Process, measured: tuple[Measurement, Batch, float | Array] | None
) -> KernelSampling:
    """Builds how a model of this process is sampled.

    Args:
      c: the options.
      process: of the model.
      measured: a measurement, its value (b, ...), and its noise: a standard deviation, or of bits the share of wrong
        ones; 0: it is exact.

    Raises:
      InputError: the measurement is of no single pixels.
    """
    assert isinstance(process, LearnedChain | BinomialChain)
    law, factor = law_of(process), None
    if measured is not None:
        measurement, y, noise = measured
        if not measurement.of_pixels:
            raise InputError(
                "A model that learns its reverse kernels can condition on pixels, but not on sums of channels: choose "
                "--task=inpaint or denoise."
            )
        if noise:
            factor = law.observed(measurement.inverse(y), noise, _SHARES[c.share](process.num_levels))
        else:
            factor = law.known(measurement.inverse(y), measurement.seen(jnp.ones_like(y)))
    return KernelSampling(functools.partial(multiplied.sample_kernels, law.draw, factor))
