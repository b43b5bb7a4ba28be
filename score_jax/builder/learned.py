"""What a model of noisy images, of reverse kernels or of codes learns: its objective and its parts."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

from ml_collections import ConfigDict

from score_jax.builder.codes import build_code_loss, check_guidance
from score_jax.builder.guidance_options import ClassifierFree
from score_jax.builder.kernels import build_bound_loss, build_kernels
from score_jax.builder.likelihood import divergence_of
from score_jax.builder.likelihood_options import Bound2015, Exact, OfCodes
from score_jax.builder.loss_options import Bound, ClassifierOptions, CrossEntropy
from score_jax.builder.model_facts import ModelFacts
from score_jax.builder.networks import conditioners_of
from score_jax.builder.objective import build_loss
from score_jax.builder.prediction import build_logits, build_predict
from score_jax.builder.processes import Autoregression, Process
from score_jax.builder.sampling import build_sampling, scale_of
from score_jax.codecs.codec import Codec
from score_jax.codecs.embedding_codes import EmbeddingCodes
from score_jax.conditioning.conditioners import Conditioner
from score_jax.errors import InputError, unknown_name
from score_jax.guidance.classifier_free import with_reference
from score_jax.guidance.code_guidance import guided
from score_jax.models.network import Network
from score_jax.prediction.codes import of_network
from score_jax.prediction.predictor import with_params
from score_jax.processes.binomial import BinomialChain
from score_jax.processes.gaussian import NoiseSchedule
from score_jax.processes.learned import LearnedChain
from score_jax.training.objective import Objective
from score_jax.typing import Params


def facts_of(config: ConfigDict, process: Process, codec: Codec) -> ModelFacts:
    """Returns what a sampler and a likelihood must know of a model of this config."""
    output, label = config.prediction.get("output", ""), config.prediction.get("label", "")
    return ModelFacts(process, config.process.to_dict(), codec, output, label)


def _guided(model: Any, c: ClassifierFree, process: NoiseSchedule) -> Any:
    return with_reference(model, scale_of(c, process))


@dataclasses.dataclass(frozen=True)
class Learned:
    """What a model learns, and how; attributes are those of `Experiment`, and its objective."""

    predict: Callable[..., Any]
    model: Callable[[Params], Any]
    conditioners: Mapping[str, Conditioner]
    loss: Objective
    parts: Mapping[str, Any]
    guided: Callable[[Any, ClassifierFree, Any], Any] = _guided


def learns_of(config: ConfigDict, sections: Mapping[str, Any], network: Network, facts: ModelFacts) -> Learned:
    """Of a config whose sections are made.

    Raises:
      InputError: methods do not go with the process, or options with each other.
    """
    loss, likelihood, process = sections["loss"], sections["likelihood"], facts.process
    conditioners = conditioners_of(config, network)
    generative = {name: sections[name] for name in ("sampler", "likelihood")}
    if isinstance(process, LearnedChain | BinomialChain):
        _check_methods(config, sections, "bound", loss=Bound, likelihood=Bound2015)
        build_sampling(sections["sampler"], facts)  # so that a mistake in it is found now
        model = build_kernels(config, network, process)
        objective = build_bound_loss(loss, process, facts.codec, model, dequantize=config.data.dequantize)
        return Learned(lambda params, x, t: model(params).reverse(x, t), model, conditioners, objective, generative)
    if isinstance(process, Autoregression):
        return _draws_codes(config, sections, network, facts, conditioners)
    for section, of_codes in (("loss", CrossEntropy), ("likelihood", OfCodes)):
        if isinstance(sections[section], of_codes):
            raise InputError(f"{section}.name=codes is for process.name=autoregressive: give another one.")
    predict: Any
    parts: dict[str, Any]
    if isinstance(loss, ClassifierOptions):
        predict = build_logits(config, network, process)
        parts = {"classifier": predict}
    else:
        predict = build_predict(config, network, process)
        parts = generative | {"predictor": predict}
        build_sampling(sections["sampler"], facts)
        if isinstance(likelihood, Exact):
            divergence_of(likelihood, "forward" if likelihood.derivative == "auto" else likelihood.derivative)
    sigma_data = config.prediction.get("sigma_data", 0.5)
    objective = build_loss(
        loss,
        facts,
        network,
        predict,
        conditioners,
        dequantize=config.data.dequantize,
        sigma_data=sigma_data,
        augment=config.data.augment,
    )
    return Learned(predict, functools.partial(with_params, predict), conditioners, objective, parts)


def _check_methods(config: ConfigDict, sections: Mapping[str, Any], name: str, **only: type) -> None:
    """Raises InputError where a section is not of the only method, called `name`, that goes with the process."""
    for section, method in only.items():
        if not isinstance(sections[section], method):
            of = f"{section}.name for process {config.process.name!r}:"
            raise unknown_name(of, config[section].name, (name,))


def refuse_prediction(config: ConfigDict, what: str) -> None:
    """Raises InputError where the section `prediction` says something, and `what` predicts no noise."""
    for key in config.prediction:
        raise InputError(f"prediction.{key} is not read by {what}, which predicts no noise: leave it out.")


def _draws_codes(
    config: ConfigDict,
    sections: Mapping[str, Any],
    network: Network,
    facts: ModelFacts,
    conditioners: Mapping[str, Conditioner],
) -> Learned:
    """Of a model of codes; as `learns_of`."""
    loss, likelihood = sections["loss"], sections["likelihood"]
    _check_methods(config, sections, "codes", loss=CrossEntropy, likelihood=OfCodes)
    refuse_prediction(config, "a model of codes")
    check_guidance(sections["guidance"])
    sampling = build_sampling(sections["sampler"], facts)
    assert isinstance(facts.codec, EmbeddingCodes)
    objective = build_code_loss(loss, facts.codec, network, conditioners)
    model = functools.partial(of_network, network)
    parts = {"sampler": sections["sampler"], "likelihood": likelihood, "codes": sampling}
    return Learned(no_model, model, conditioners, objective, parts, lambda model, c, _: guided(model, c.scale))


def no_model(*_: Any) -> Any:
    """Stands for the model of a run that has none of noisy images."""
    raise AssertionError("without a process there are no noisy images")
