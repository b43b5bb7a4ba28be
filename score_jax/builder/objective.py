"""The `loss` section of a config: what a network is trained for."""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int
from ml_collections import ConfigDict

from score_jax.arrays import fold_in_each, normal_per_example
from score_jax.builder.likelihood import log_snr_times
from score_jax.builder.naming import check_counts, choose
from score_jax.data import transforms
from score_jax.errors import InputError
from score_jax.likelihood.bits import bits_per_dim
from score_jax.likelihood.divergence import Divergence
from score_jax.likelihood.ode import log_prob
from score_jax.losses import loss_history, score_matching, sliced, time_sampling, variational
from score_jax.losses.loss_history import LossHistory
from score_jax.losses.weighting import WEIGHTINGS, Weighting
from score_jax.models.network import Network
from score_jax.prediction.predictor import ConditionalPredictor, Conditions, told
from score_jax.prediction.reverse import VARIANCES
from score_jax.processes.chain import Chain
from score_jax.processes.gaussian import GaussianProcess, NoiseSchedule
from score_jax.samplers.ode import GridODE
from score_jax.training.step import Loss
from score_jax.typing import Batch, KeyArray, KeyBatch, Params, Time

REDUCTIONS = {"mean": lambda dim: 1.0 / dim, "half_sum": lambda dim: 0.5}
Draw = Callable[[KeyArray, int, LossHistory | None], tuple[Time, Float[Array, "b"]]]
"""Times (b,) and the factors that make the mean loss unbiased (b,)."""


def _even(times: Time) -> tuple[Time, Float[Array, "b"]]:
    return times, jnp.ones_like(times)


def _by_history(key: KeyArray, b: int, history: LossHistory | None) -> tuple[Time, Float[Array, "b"]]:
    assert history is not None, "the training state has one, by `history_of`"
    return loss_history.draw(history, key, b)


def _draws(config: ConfigDict, process: NoiseSchedule) -> Draw:
    """At which times a batch is trained.

    Where the mean loss is to bound the likelihood, it is that over uniform times: other draws come with factors.

    Raises:
      InputError: the name is unknown for this kind of process, or its draws do not reach all times of a bound.
    """
    c = config.loss
    bounds = c.name == "denoising" and c.weighting == "likelihood"
    if isinstance(process, Chain):
        levels: dict[str, Draw] = {
            "uniform": lambda key, b, _: _even(time_sampling.uniform_index(key, b, 0.0, num_levels=process.num_levels)),
            "antithetic": lambda key, b, _: _even(
                time_sampling.antithetic_index(key, b, 0.0, num_levels=process.num_levels)
            ),
            "loss_second_moment": _by_history,
        }
        return choose("loss.time_sampling of a chain of levels:", levels, c.time_sampling)

    def log_normal(key, b, _):
        level = time_sampling.log_normal_levels(jax.random.normal(key, (b,)), c.level_mean, c.level_std)
        return _even(process.time_at(level))

    def logit_normal(key, b, _):
        return _even(process.t_max * jax.nn.sigmoid(jax.random.normal(key, (b,))))

    times: dict[str, Draw] = {"log_normal": log_normal, "logit_normal": logit_normal}
    if bounds and c.time_sampling in times:
        raise InputError(
            f"loss.weighting=likelihood with loss.time_sampling={c.time_sampling} is no bound: it needs the smallest "
            "and the largest times, and these are all but never drawn. Give loss.time_sampling=uniform, stratified or "
            "stratified_mixture, or another weighting."
        )
    in_log = c.time_sampling == "stratified_mixture"
    if not 0 <= c.t_min < process.t_max or (in_log and c.t_min == 0):
        raise InputError(f"loss.t_min={c.t_min:g}: give a time between 0 and {process.t_max:g}, e.g. 1e-5.")
    for name, draw in time_sampling.TIME_SAMPLINGS.items():
        factors = time_sampling.mixture_importance if bounds and name == "stratified_mixture" else None
        times[name] = functools.partial(_scaled, draw, factors, c.t_min, process.t_max)
    return choose("loss.time_sampling", times, c.time_sampling)


def _scaled(
    draw: Callable,
    factors: Callable | None,
    t_min: float,
    t_max: float,
    key: KeyArray,
    b: int,
    _: LossHistory | None,
) -> tuple[Time, Float[Array, "b"]]:
    """Draws on (t_min, t_max) from ones on (t_min / t_max, 1), and their factors there."""
    part = draw(key, b, t_min / t_max)
    return t_max * part, jnp.ones_like(part) if factors is None else factors(part, t_min / t_max)


def history_of(config: ConfigDict, process: NoiseSchedule) -> LossHistory | None:
    """What loss-second-moment sampling begins with; None of other samplings."""
    if config.loss.time_sampling != "loss_second_moment":
        return None
    return loss_history.empty_history(process.num_levels) if isinstance(process, Chain) else None


def _weighting(config: ConfigDict) -> Weighting:
    chosen = choose("loss.weighting", WEIGHTINGS, config.loss.weighting)
    if config.loss.weighting == "edm":
        return functools.partial(chosen, sigma_data=config.prediction.get("sigma_data", 0.5))
    return chosen


Objective = Callable[[ConditionalPredictor, Conditions, Batch, Time, Batch, KeyBatch], Float[Array, "b"]]
"""`objective(model, conditions, x0, t, noise, keys)`: one value per example, in the units that its reduction says."""


def _told(objective: Callable) -> Objective:
    """Of an objective that asks about the whole batch, with its conditions, at once."""
    return lambda model, conditions, *rest: objective(told(model, conditions), *rest)


def _objective(config: ConfigDict, process: NoiseSchedule, dim: int) -> Objective:
    """The `loss.name` of a generative model.

    Raises:
      InputError: it is unknown, or needs a chain of levels.
    """
    c = config.loss
    scale = choose("loss.reduction", REDUCTIONS, c.reduction)(dim)

    def denoising() -> Objective:
        weighting = _weighting(config)
        jax.eval_shape(functools.partial(weighting, process), jnp.ones(1))  # so that a mistake in it is told now

        def objective(predictor, x0, t, noise, keys):
            return scale * score_matching.denoising(predictor, process, x0, t, noise, weighting)

        return _told(objective)

    def sliced_score_matching(predictor, x0, t, noise, keys):
        directions = sliced.directions(keys, x0)
        return scale * sliced.annealed(lambda x, t: predictor(x, t).score, process, x0, t, noise, directions)

    names: dict[str, Callable[[], Objective]] = {
        "denoising": denoising,
        "sliced": lambda: _told(sliced_score_matching),
    }
    if isinstance(process, Chain):
        names |= dict.fromkeys(("hybrid", "vlb"), lambda: _told(_bound(config, process)))
    if isinstance(process, GaussianProcess):
        names["likelihood"] = lambda: _exact_likelihood(config, process)
    return choose(f"loss.name for process {config.process.name!r}:", names, c.name)()


def _exact_likelihood(config: ConfigDict, process: GaussianProcess) -> Objective:
    """Bits/dim by the probability flow, on a grid, through which the gradient passes (Song et al. 2021, eq. 39)."""
    c = config.loss
    check_counts("loss", c, ("ode_steps",))
    if not config.data.dequantize:
        raise InputError("loss.name=likelihood of undequantised images has no maximum: give data.dequantize=True.")
    ode = GridODE(log_snr_times(process, c.ode_steps, c.t_min), "dopri5", differentiable=True)
    offset = transforms.log_bin_width(tuple(config.data.value_range), transforms.BITS)

    def objective(model, conditions, x0, t, noise, keys):
        found = log_prob(
            model, process, keys, x0, divergence=Divergence(), ode=ode, t_min=c.t_min, conditions=conditions
        )
        return bits_per_dim(found.log_prob, math.prod(x0.shape[1:]), offset)

    return objective


def _bound(config: ConfigDict, chain: Chain) -> Callable:
    """The variational objectives of Nichol and Dhariwal 2021."""
    c, count = config.loss, chain.num_levels
    variance = choose("loss.variance", VARIANCES, c.variance)
    fit = config.prediction.output if c.name == "hybrid" else None
    scale = (c.vb_scale or count / 1000) if c.name == "hybrid" else float(count)

    def objective(predictor, x0, t, noise, keys):
        parts = variational.variational(predictor, chain, variance, x0, t, noise, simple_output=fit, vb_scale=scale)
        return parts["loss"]

    return objective


def area_means(images: Batch, size: int) -> Batch:
    """Images (b, h, w, c) reduced to (b, size, size, c) by the means of equal squares.

    Raises:
      InputError: the size does not divide theirs.
    """
    b, h, w, channels = images.shape
    if size <= 0 or h % size or w % size:
        raise InputError(f"data.low_resolution={size} does not divide images of {h} x {w}.")
    return images.reshape(b, size, h // size, size, w // size, channels).mean(axis=(2, 4))


def build_loss(config: ConfigDict, process: NoiseSchedule, network: Network, predict: Callable) -> Loss:
    """The `loss` section: a batch of uint8 images to one value per example.

    Args:
      config: the experiment.
      process: its process.
      network: its network; a classifier where loss.name is "classifier".
      predict: `build_predict`'s, or `build_logits`'s of a classifier.

    Raises:
      InputError: a name is unknown, or does not go with the process.
    """
    c, value_range = config.loss, tuple(config.data.value_range)
    objective = None if c.name == "classifier" else _objective(config, process, math.prod(network.image_shape))

    def values(params: Params, batch, t: Time, keys: KeyBatch, dropout_key: KeyArray) -> Float[Array, "b"]:
        if config.data.dequantize:
            x0 = transforms.dequantize(fold_in_each(keys, 0), batch["image"], value_range)
        else:
            x0 = transforms.to_model_range(batch["image"], value_range)
        noise = normal_per_example(fold_in_each(keys, 1), x0)
        call = functools.partial(predict, params, train=True, rngs={"dropout": dropout_key})
        if objective is None:
            logits = call(process.perturb(x0, t, noise), t)
            return optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"])
        labels = _with_unknown(fold_in_each(keys, 2), batch["label"], network.num_classes - 1, c.label_dropout)
        conditions = network.conditions(labels)
        if config.data.low_resolution:
            conditions["low_res"] = area_means(x0, config.data.low_resolution)

        def model(x, t, conditions):
            return call(x, t, **conditions)

        return objective(model, conditions, x0, t, noise, fold_in_each(keys, 3))

    return Loss(_draws(config, process), values)


def _with_unknown(keys, labels: Int[Array, "b"], unknown: int, rate: float) -> Int[Array, "b"]:
    """A share of the labels replaced by the class that stands for none (Ho and Salimans 2022, algorithm 1)."""
    if rate <= 0:
        return labels
    dropped = jax.vmap(lambda key: jax.random.bernoulli(key, rate))(keys)
    return jnp.where(dropped, unknown, labels)
