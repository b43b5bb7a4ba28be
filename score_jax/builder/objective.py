"""The `loss` section: from the options of an objective to what training minimises."""

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from score_jax.arrays import fold_in_each, normal_per_example
from score_jax.builder.likelihood import log_snr_times
from score_jax.builder.loss_options import (
    Bound,
    ByLevel,
    ClassifierOptions,
    Denoising,
    ExactLikelihood,
    Generative,
    Hybrid,
    LossOptions,
    Sliced,
    VariationalBound,
)
from score_jax.builder.model_facts import ModelFacts
from score_jax.builder.naming import choose
from score_jax.builder.options import Options
from score_jax.codecs.codec import Codec
from score_jax.conditioning.augmentation import augmented
from score_jax.conditioning.conditioners import Conditioner, conditions_of
from score_jax.conditioning.crops import random_squares
from score_jax.conditioning.dropout import with_dropout
from score_jax.errors import InputError, unknown_name
from score_jax.likelihood.bits import bits_per_dim
from score_jax.likelihood.divergence import Divergence
from score_jax.likelihood.ode import log_prob
from score_jax.losses import loss_history, score_matching, sliced, time_sampling, variational
from score_jax.losses.latent import by_level, elbo_weights
from score_jax.losses.loss_history import LossHistory
from score_jax.losses.weighting import WEIGHTINGS, Weighting
from score_jax.models.conditions import TOKENS
from score_jax.models.network import Network
from score_jax.prediction.predictor import ConditionalPredictor, Conditions, with_conditions
from score_jax.prediction.reverse import VARIANCES
from score_jax.processes.chain import Chain
from score_jax.processes.gaussian import GaussianProcess, NoiseSchedule
from score_jax.samplers.ode import GridODE
from score_jax.training.objective import Draw, Objective, Outcome, Surroundings
from score_jax.typing import Batch, KeyArray, KeyBatch, Params, Time

_REDUCTIONS = {"mean": lambda dim: 1.0 / dim, "half_sum": lambda dim: 0.5}


def _even(times: Time) -> tuple[Time, Float[Array, "b"]]:
    return times, jnp.ones_like(times)


def _by_history(key: KeyArray, b: int, history: LossHistory | None) -> tuple[Time, Float[Array, "b"]]:
    assert history is not None, "the training state has one, by `history_of`"
    return loss_history.draw(history, key, b)


def _draws(c: Options, process: NoiseSchedule) -> Draw:
    """At which times a batch is trained.

    Where the mean loss is to bound the likelihood, it is that over uniform times: other draws come with factors.

    Raises:
      InputError: the name is unknown for this kind of process, or its draws do not reach all times of a bound.
    """
    if isinstance(c, ExactLikelihood):  # which asks at all times
        return lambda key, b, _: _even(jnp.ones(b))
    assert isinstance(c, LossOptions)
    bounds = isinstance(c, Denoising) and c.weighting == "likelihood"
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
            f"loss.weighting=likelihood with loss.time_sampling={c.time_sampling} is no bound: a bound needs the "
            "smallest and the largest times, which are almost never drawn. Give loss.time_sampling=uniform, "
            "stratified or "
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


def history_of(c: Options, process: Any) -> LossHistory | None:
    """Returns the initial history of loss-second-moment sampling; None for other samplings."""
    if not isinstance(c, LossOptions) or c.time_sampling != "loss_second_moment":
        return None
    return loss_history.empty_history(process.num_levels) if isinstance(process, Chain) else None


def _weighting(c: Denoising, sigma_data: float) -> Weighting:
    chosen: Callable[..., Any] = WEIGHTINGS[c.weighting]
    return functools.partial(chosen, sigma_data=sigma_data) if c.weighting == "edm" else chosen


Losses = dict[str, Float[Array, "b"]]
"""One value per example by name: "loss", which is minimised, in the units that its reduction says, and its parts."""
Criterion = Callable[[Params, ConditionalPredictor, Conditions, Batch, Time, Batch, KeyBatch], Losses]
"""`criterion(params, model, conditions, x0, t, noise, keys)`, of the parameters that are trained."""


def _of_batch(criterion: Callable) -> Criterion:
    """Of an objective that asks about the whole batch, with its conditions, at once, and reads no parameters."""
    return lambda params, model, conditions, *rest: {"loss": criterion(with_conditions(model, conditions), *rest)}


def _denoising(c: Denoising, process: NoiseSchedule, scale: float, sigma_data: float) -> Criterion:
    weighting = _weighting(c, sigma_data)
    jax.eval_shape(functools.partial(weighting, process), jnp.ones(1))  # so that a mistake in it is found now

    def criterion(predictor, x0, t, noise, keys):
        return scale * score_matching.denoising(predictor, process, x0, t, noise, weighting, c.error)

    return _of_batch(criterion)


LOG_VARIANCE = "log_variance"
"""Of the parameters of a loss that learns the variance of its error at each level."""


def log_variances(c: Options, process: Any) -> dict[str, Array]:
    """Returns the initial parameters that the loss has of its own, by name: none of most."""
    if not isinstance(c, ByLevel) or not c.learn_log_variance:
        return {}
    return {LOG_VARIANCE: jnp.full(process.num_levels, c.log_variance)}


def _by_level(c: ByLevel, chain: Chain, scale: float, sigma_data: float) -> Criterion:
    """The losses of latent diffusion (Rombach et al. 2022)."""
    weights = elbo_weights(chain, c.weighting, c.posterior_share) if c.elbo_weight else None
    fixed = jnp.full(chain.num_levels, c.log_variance) if c.log_variance else None
    denoising = _denoising(c, chain, scale, sigma_data)

    def criterion(params, model, conditions, x0, t, *rest):
        return by_level(
            denoising(params, model, conditions, x0, t, *rest)["loss"],
            t,
            log_variances=params[LOG_VARIANCE] if c.learn_log_variance else fixed,
            simple_weight=c.simple_weight,
            weights=weights,
            elbo_weight=c.elbo_weight,
        )

    return criterion


def _sliced(process: NoiseSchedule, scale: float) -> Criterion:
    def criterion(predictor, x0, t, noise, keys):
        directions = sliced.directions(keys, x0)
        return scale * sliced.annealed(lambda x, t: predictor(x, t).score, process, x0, t, noise, directions)

    return _of_batch(criterion)


def _exact_likelihood(c: ExactLikelihood, process: GaussianProcess, codec: Codec) -> Criterion:
    """Bits/dim by the probability flow, on a grid, through which the gradient passes (Song et al. 2021, eq. 39)."""
    ode = GridODE(log_snr_times(process, c.ode_steps, c.t_min), "dopri5", differentiable=True)

    def criterion(params, model, conditions, x0, t, noise, keys):
        found = log_prob(
            model, process, keys, x0, divergence=Divergence(), ode=ode, t_min=c.t_min, conditions=conditions
        )
        return {"loss": bits_per_dim(found.log_prob, math.prod(x0.shape[1:]), codec.log_bin_width)}

    return criterion


def _bound(c: Hybrid | VariationalBound, chain: Chain, output: str) -> Criterion:
    """The variational objectives of Nichol and Dhariwal 2021."""
    variance, fit, scale = VARIANCES[c.variance], None, float(chain.num_levels)
    if isinstance(c, Hybrid):
        fit, scale = output, c.vb_scale or chain.num_levels / 1000

    def criterion(predictor, x0, t, noise, keys):
        parts = variational.variational(predictor, chain, variance, x0, t, noise, simple_output=fit, vb_scale=scale)
        return parts["loss"]

    return _of_batch(criterion)


def _criterion(c: Options, model: ModelFacts, dim: int, *, dequantized: bool, sigma_data: float) -> Criterion:
    """What is minimised of a generative model.

    Raises:
      InputError: it does not go with the model's process.
    """
    process = model.process
    if isinstance(c, ByLevel):
        if not isinstance(process, Chain):
            raise InputError(
                "loss.name=by_level is only for chains of levels, such as vp_chain: give loss.name=denoising."
            )
        return _by_level(c, process, _REDUCTIONS[c.reduction](dim), sigma_data)
    if isinstance(c, Denoising):
        return _denoising(c, process, _REDUCTIONS[c.reduction](dim), sigma_data)
    if isinstance(c, Sliced):
        return _sliced(process, _REDUCTIONS[c.reduction](dim))
    if isinstance(c, Hybrid | VariationalBound) and isinstance(process, Chain):
        return _bound(c, process, model.output)
    if isinstance(c, ExactLikelihood) and isinstance(process, GaussianProcess):
        if not dequantized:
            raise InputError(
                "loss.name=likelihood has no maximum for images without dequantisation: give data.dequantize=True."
            )
        return _exact_likelihood(c, process, model.codec)
    possible = ("hybrid", "vlb") if isinstance(process, Chain) else ("likelihood",)
    name = {Hybrid: "hybrid", VariationalBound: "vlb", ExactLikelihood: "likelihood", Bound: "bound"}[type(c)]
    raise unknown_name(f"loss.name for process {model.process_name!r}:", name, ("denoising", "sliced", *possible))


def _dropout_rates(c: Options, network: Network) -> dict[str, float]:
    """How often each condition of a network is left out in training."""
    rate = c.condition_dropout if isinstance(c, Generative | ExactLikelihood) else 0.0
    rates = dict.fromkeys(network.conditions, rate)
    if isinstance(c, Generative) and c.caption_dropout >= 0:
        if TOKENS not in rates:
            raise InputError("loss.caption_dropout is for models of captions, and this one has none: leave it out.")
        rates[TOKENS] = c.caption_dropout
    return rates


def _crop(c: Options, network: Network) -> int:
    """The size of the squares that are trained on; 0: whole images.

    Raises:
      InputError: they are larger than the images, or do not split into a network's levels.
    """
    size, height = getattr(c, "crop", 0), network.image_shape[0]
    unit = 2 ** (len(getattr(network.module, "channel_mult", (1,))) - 1)
    if size and (size > height or size % unit):
        raise InputError(f"loss.crop={size}: give a multiple of {unit}, at most {height}, or 0 for whole images.")
    return size


def build_loss(
    c: Options,
    model: ModelFacts,
    network: Network,
    predict: Callable,
    conditioners: Mapping[str, Conditioner],
    *,
    dequantize: bool,
    sigma_data: float,
    augment: float = 0.0,
) -> Objective:
    """Builds what training minimises: for a batch of uint8 images, one value per example.

    Args:
      c: the options of the objective.
      model: facts of the model.
      network: its network.
      predict: from the network's parameters to predictions, or to logits of a classifier.
      conditioners: from a batch to the network's conditions.
      dequantize: whether images are dequantised.
      sigma_data: standard deviation of the data, which EDM's weighting knows.
      augment: share of images to which each change of `augmentation.augmented` is made; 0: none.

    Raises:
      InputError: the objective does not go with the process, or its times do not.
    """
    process, codec = model.process, model.codec
    assert isinstance(process, NoiseSchedule)
    criterion = None
    if not isinstance(c, ClassifierOptions):
        dim = math.prod(network.image_shape)
        criterion = _criterion(c, model, dim, dequantized=dequantize, sigma_data=sigma_data)
    rates = _dropout_rates(c, network)
    crop = _crop(c, network)

    drawn = dequantize or codec.stochastic

    def values(params: Params, around: Surroundings, batch, t: Time, keys: KeyBatch, dropout_key: KeyArray) -> Losses:
        images, coder = batch["image"], codec.at(around.frozen)
        x0 = coder.dequantize(fold_in_each(keys, 0), images) if drawn else coder.encode(images)
        call = functools.partial(predict, params, train=True, rngs={"dropout": dropout_key})
        if criterion is None:
            logits = call(process.perturb(x0, t, normal_per_example(fold_in_each(keys, 1), x0)), t)
            return {"loss": optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"])}
        told = {}
        if augment:
            x0, labels = augmented(fold_in_each(keys, 5), x0, augment)
            told = {"augment_labels": labels}
        given = conditions_of(network.conditions, conditioners, batch, x0, coder, around.frozen)
        given = with_dropout(fold_in_each(keys, 2), given, network.conditions, rates)
        if crop:
            x0, given = random_squares(fold_in_each(keys, 4), x0, given, crop)
        noise = normal_per_example(fold_in_each(keys, 1), x0)
        conditions: Conditions = network.encode(params, around.frozen, given) | told

        def asked(x, t, conditions):
            return call(x, t, **conditions)

        return criterion(params, asked, conditions, x0, t, noise, fold_in_each(keys, 3))

    def outcome(params: Params, around: Surroundings, *rest: Any) -> Outcome:
        losses = values(params, around, *rest)
        return Outcome(losses.pop("loss"), losses, around.statistics)

    return Objective(outcome, _draws(c, process))
