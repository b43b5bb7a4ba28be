"""A config as objects: what the verbs ask for."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import optax
from jaxtyping import Array, PyTree
from ml_collections import ConfigDict

from score_jax.arrays import cosine
from score_jax.builder.clips import clip_of
from score_jax.builder.codes import CodeSampling
from score_jax.builder.contrastive import build_contrastive
from score_jax.builder.edit import Edit, Start
from score_jax.builder.first_stage import MODEL, build_adversaries
from score_jax.builder.guidance_options import ClassifierFree
from score_jax.builder.kernels import KernelSampling
from score_jax.builder.learned import Learned, facts_of, learns_of, no_model, refuse_prediction
from score_jax.builder.likelihood import Levels, flow_of, levels_of, ode_of
from score_jax.builder.likelihood_options import ByLevels, Exact
from score_jax.builder.model_facts import ModelFacts
from score_jax.builder.networks import build_network, codec_of, data_shape
from score_jax.builder.objective import history_of, log_variances
from score_jax.builder.options import Options
from score_jax.builder.prediction import build_predict
from score_jax.builder.processes import build_process
from score_jax.builder.run_options import ON_NONFINITE, SECTIONS
from score_jax.builder.sampling import Guide, Known, Sampling, build_sampling
from score_jax.builder.sections import DEFAULT_METHODS, METHODS, completed, made, refuse_cascade
from score_jax.builder.unread import refuse_unread
from score_jax.codecs.codec import Codec
from score_jax.codecs.embedding_codes import EmbeddingCodes
from score_jax.codecs.embeddings import CLIP, STATISTICS, ImageEmbeddings
from score_jax.codecs.latents import Latents
from score_jax.codecs.pixels import Pixels
from score_jax.conditioning.conditioners import Conditioner, conditions_of
from score_jax.conditioning.dropout import without_conditions
from score_jax.conditioning.image_embedding import IMAGE_EMBEDDING
from score_jax.errors import InputError
from score_jax.guidance.classifier_free import Pair
from score_jax.models.autoencoders.first_stage import FIRST_STAGE, FirstStage
from score_jax.models.clip.image_text import ImageText
from score_jax.models.network import ENCODER, Network
from score_jax.prediction.analytic_variance import ANALYTIC, Moments
from score_jax.prediction.predictor import Conditions, with_params
from score_jax.processes.gaussian import NoiseSchedule
from score_jax.samplers.ode import ODE
from score_jax.tiles import check_tiles
from score_jax.training.objective import Group, Groups
from score_jax.training.optimizer import learning_rate_schedule, make_optimizer
from score_jax.training.state import TrainState, create_state
from score_jax.training.step import make_train_step
from score_jax.typing import Image, Params


@dataclasses.dataclass(frozen=True, eq=False)
class Experiment:
    """One config as objects.

    Attributes:
      process: the noising process; of models that learn reverse kernels, what their chain is made from.
      network: the model's `Network`, or the `FirstStage` or the `ImageText` that a run without a process trains.
      predict: `predict(params, x, t, **conditions) -> Prediction`, of a classifier `-> logits`, and of a model that
        learns reverse kernels what `Kernels.reverse` says.
      model: of parameters: `model(x, t, conditions) -> Prediction`, or `Kernels`, or a `CodeModel`.
      guided: `guided(model, options, process)`, the model under classifier-free guidance.
      image_shape: (h, w, c) of the data.
      codec: between images and x0.
      conditioners: from a batch to the network's conditions.
      num_classes: classes that a label may name; 0: none.
      groups: what is trained, by name; of a model of one network "model".
      create_state: fresh training state, a function of nothing (the seed is the config's).
      train_step: `(state, batch, frozen) -> (state, metrics)`, to be jitted.
      parts: what a run may have or lack, by role: "sampler" and "likelihood" of a generative model, "predictor" of one
        that predicts x0, "classifier", "autoencoder", "clip" of a run that trains one, "images" where the data are
        images of 8 bits, and "pixels" where x0 is their pixels.
      frozen: networks that take part and are not trained, by name; each says the `shapes` of its parameters.
      sections: the options of each section of the config.
      config: what it was built from, with every key.
      moments: of the model's eps, which `sampler.variance=analytic` needs; None until they are measured.
    """

    process: Any
    network: Any
    predict: Callable[..., Any]
    model: Callable[[Params], Any]
    guided: Callable[[Any, ClassifierFree, Any], Any]
    image_shape: tuple[int, int, int]
    codec: Codec
    conditioners: Mapping[str, Conditioner]
    num_classes: int
    groups: Groups
    create_state: Callable[[], TrainState]
    train_step: Callable
    parts: Mapping[str, Any]
    frozen: Mapping[str, Any]
    sections: Mapping[str, Options]
    config: ConfigDict
    moments: Moments | None = None

    def with_frozen(self, params: PyTree, frozen: PyTree) -> PyTree:
        """The parameters as the methods take them: the trained ones, and beside them those that are not, if any."""
        return {_TRAINED: params, _FROZEN: frozen} if self.frozen else params

    def trained(self, params: Params) -> Params:
        """The trained ones of parameters as `with_frozen` returns them."""
        return params[_TRAINED] if self.frozen else params

    def _not_trained(self, params: Params) -> PyTree:
        return params[_FROZEN] if self.frozen else {}

    def codec_with(self, params: Params) -> Codec:
        """The codec with the parameters of its network, if it has one."""
        return self.codec.at(self._not_trained(params))

    @property
    def facts(self) -> ModelFacts:
        """What a sampler and a likelihood must know of the model."""
        return facts_of(self.config, self.process, self.codec)

    @property
    def likelihood(self) -> Any:
        """The options of the `likelihood` section, of one of its methods."""
        return self.sections["likelihood"]

    @property
    def conditional(self) -> bool:
        """Whether the model is given the class of an example."""
        return self.num_classes > 0

    @property
    def network_dtype(self) -> str:
        """What the network computes in."""
        return self.config.network.get("dtype", "float32")

    @property
    def label_classes(self) -> int:
        """Classes that a label of the data may name: of the model, or of the classifier; 0: labels are not used."""
        return label_classes(self.config, self.network)

    def part(self, role: str) -> Any:
        """The part of this role.

        Raises:
          InputError: this run has none.
        """
        if role not in self.parts:
            of_kind = (why for kind, why in _OF_KIND.items() if kind in self.parts)
            raise InputError(f"This run has no {role}: {next(of_kind, _WITHOUT[role])}")
        return self.parts[role]

    def predictor(self, params: Params, *, guided: bool = False) -> Any:
        """The model with its parameters: `predictor(x, t, conditions)`, conditions as `conditions` makes them; of one
        that learns reverse kernels its `Kernels`, of one that draws codes a `CodeModel`.

        Args:
          params: as `with_frozen` returns them.
          guided: with classifier-free guidance as the config says.

        Raises:
          InputError: guidance is asked of a model that was trained without `loss.condition_dropout`.
        """
        model, guidance = self.model(self.trained(params)), self.sections["guidance"]
        if not guided or not self.is_guided:
            return model
        self.check_guidance()
        assert isinstance(guidance, ClassifierFree)
        return self.guided(model, guidance, self.process)

    def check_guidance(self) -> None:
        """Raises InputError where the config asks for classifier-free guidance that the model cannot give."""
        guidance = self.sections["guidance"]
        if not self.is_guided or getattr(self.sections["loss"], "condition_dropout", 0.0) > 0:
            return
        assert isinstance(guidance, ClassifierFree)
        if not self.network.conditions:
            raise InputError(
                f"guidance.scale={guidance.scale}, but this model is given nothing, such as a class, that it could be "
                "guided to: leave guidance.scale out, or use a classifier: --guidance.classifier=WORKDIR."
            )
        raise InputError(
            f"guidance.scale={guidance.scale}, but this model has no unconditional prediction: train with "
            "loss.condition_dropout, or use a classifier: --guidance.classifier=WORKDIR."
        )

    @property
    def needs_moments(self) -> bool:
        """Whether the sampler takes moments, and the experiment has none."""
        return getattr(self.parts.get("sampler"), "variance", None) == ANALYTIC and self.moments is None

    @property
    def is_guided(self) -> bool:
        """Whether the config asks for classifier-free guidance."""
        guidance = self.sections["guidance"]
        return isinstance(guidance, ClassifierFree) and guidance.scale != 1.0

    @property
    def candidates(self) -> int:
        """How many embeddings are drawn for each sample.

        Raises:
          InputError: several are asked for of a run that draws none, or by no text.
        """
        count = getattr(self.sections["guidance"], "candidates", 1)
        if count > 1 and not ("embeddings" in self.parts and self.network.encoder is not None):
            raise InputError(
                f"guidance.candidates={count} is for a prior, which draws embeddings of texts: leave it out."
            )
        return count

    def fit(self, params: Params, conditions: Conditions) -> Callable[[Image], Array]:
        """How well embeddings x0 (b, 1, 1, d) fit their texts: the cosine with the text's embedding.

        Args:
          params: as `with_frozen` returns them.
          conditions: as `conditions` makes them.
        """
        given = conditions.given if isinstance(conditions, Pair) else conditions
        codec = self.codec_with(params)
        return lambda x0: cosine(codec.decode(x0)[:, 0, 0], given["text_embedding"])

    def conditions(
        self, params: Params, batch: Mapping[str, Array], x0: Image | None = None, *, guided: bool = False
    ) -> Conditions:
        """What a predictor is given of a batch, made once, not at every step.

        Args:
          params: as `with_frozen` returns them.
          batch: arrays (b, ...) by name; "negative_NAME" is what guidance leads away from in the place of the null
            value of the condition NAME.
          x0: of the same examples, where there are any.
          guided: for the predictor with classifier-free guidance.

        Raises:
          InputError: the batch lacks an entry.
        """
        own, frozen, declared = self.trained(params), self._not_trained(params), self.network.conditions
        given = conditions_of(declared, self.conditioners, batch, x0, self.codec_with(params), frozen)
        encoded = self.network.encode(own, frozen, given)
        if not guided or not self.is_guided:
            return encoded
        unwanted = {name: batch[f"negative_{name}"] for name in declared if f"negative_{name}" in batch}
        reference = without_conditions(given, declared) | unwanted
        return Pair(encoded, self.network.encode(own, frozen, reference))

    def in_continuous_time(self) -> "Experiment":
        """The same model under the process whose probability flow it has: its own, or its chain interpolated.

        Raises:
          InputError: the model has no score between the levels of its chain.
        """
        self.part("predictor")
        process = flow_of(self.facts)
        if process is self.process:
            return self
        predict = build_predict(self.config, self.network, process)
        model = functools.partial(with_params, predict)
        return dataclasses.replace(self, process=process, predict=predict, model=model)

    def sampling(
        self,
        *,
        guide: Guide | None = None,
        known: Known | None = None,
        edit: Edit | None = None,
        start: Start | None = None,
    ) -> Sampling | KernelSampling | CodeSampling:
        """How to sample, as the `sampler` section says; with guidance, a measurement to hold, an edit by text, or
        images to begin with."""
        return build_sampling(
            self.part("sampler"), self.facts, guide=guide, known=known, edit=edit, start=start, moments=self.moments
        )

    def ode(self, process: NoiseSchedule, *, closer: bool = False) -> ODE:
        """The solve of the likelihood from t_min to the end of a process in continuous time.

        Raises:
          InputError: the likelihood is measured by another method.
        """
        return ode_of(self.exact(), process, closer=closer)

    def exact(self) -> Exact:
        """The options of the likelihood by the ODE.

        Raises:
          InputError: the likelihood is measured by another method.
        """
        self.part("predictor")
        if not isinstance(self.likelihood, Exact):
            raise InputError("likelihood.name is a bound, but this command needs the ODE: give likelihood.name=ode.")
        return self.likelihood

    def levels(self) -> Levels:
        """The chain of the model's variational bound, how it is asked there, and the variance of its kernels."""
        self.part("predictor")
        assert isinstance(self.likelihood, ByLevels)
        return levels_of(self.likelihood, self.facts, self.variance)

    @property
    def variance(self) -> str:
        """Of the reverse kernels: as the model samples, or else as it was trained."""
        sampled, trained = (getattr(self.sections[name], "variance", None) for name in ("sampler", "loss"))
        return sampled or trained or "fixed_small"


_TRAINED, _FROZEN = "trained", "frozen"
_OF_CLASSIFIER = "it is a classifier of noisy images. Let it guide a model that draws: --guidance.classifier=WORKDIR."
_WITHOUT = {
    "sampler": _OF_CLASSIFIER,
    "likelihood": _OF_CLASSIFIER,
    "classifier": "it is a generative model. Train one with loss.name=classifier.",
    "predictor": "it learns the reverse kernels of a chain, not a score or noise, which other methods need. "
    "Give likelihood.name=bound and sampler.name=reverse_kernels.",
    "images": "its data are numbers or bits, not images of 8 bits. Measure its likelihood instead.",
    "pixels": "it models latents, numbers or bits. Measure it by likelihood.name=ode, and images of a model of latents "
    "by likelihood.name=images.",
    "autoencoder": "it is no first stage. Train one with network.name=autoencoder_kl.",
    "clip": "it is no CLIP. Train one with network.name=clip.",
}
_OF_KIND = {
    "codes": "it draws codes of embeddings one after another. Give likelihood.name=codes and sampler.name=codes.",
    "autoencoder": "it is an autoencoder. Use `reconstruct`, or train a model of its latents with codec.name=latents "
    "and training.first_stage=WORKDIR.",
    "clip": "it is a CLIP. Use `evaluate`, which measures how well it finds the text of an image.",
}
"""What a run is that lacks a part, and what helps; of runs that noise nothing by the part that they have."""


def label_classes(config: ConfigDict, network: Network | FirstStage | ImageText) -> int:
    """Classes that a label of the data may name: of the model, without the one that stands for none, or of the
    classifier; 0: labels are not used."""
    if config.loss.name == "classifier":
        return network.module.num_classes
    return max(0, network.num_classes - (config.loss.get("condition_dropout", 0.0) > 0))


def experiment(config: ConfigDict) -> Experiment:
    """Builds everything a verb needs.

    Raises:
      InputError: a name or a key is unknown, a value is not possible, or values do not fit each other; or it is the
        config of a cascade, which is a list of experiments.
    """
    config = completed(config)
    refuse_cascade(config)
    sections = {section: made(config, section) for section in (*SECTIONS, *METHODS)}
    process: Any = build_process(config)
    network, codec = build_network(config), codec_of(config)
    facts = facts_of(config, process, codec)
    refuse_unread(sections, facts)
    check_tiles("sampling", sections["sampling"].tile, sections["sampling"].overlap)
    tx = _optimizer(config)
    of_group: dict[str, Any] = {
        "ema_decay": config.ema.decay,
        "ema_warmup": config.ema.warmup,
        "sam_rho": config.optimizer.sam_rho,
    }
    statistics: PyTree = None
    if isinstance(network, FirstStage):
        _refuse_unread_without_process(config, "an autoencoder")
        groups, statistics = build_adversaries(sections["loss"], network, codec, tx, of_group)
        learns = Learned(no_model, no_model, {}, groups[MODEL].objective, {"autoencoder": network})
    elif isinstance(network, ImageText):
        _refuse_unread_without_process(config, "a CLIP")
        groups = build_contrastive(sections["loss"], network, tx, of_group)
        learns = Learned(no_model, no_model, {}, groups[MODEL].objective, {"clip": network})
    else:
        network = dataclasses.replace(network, beside=log_variances(sections["loss"], process))
        learns = learns_of(config, sections, network, facts)
        history = history_of(sections["loss"], process)
        groups = {MODEL: Group(network.init, tx, learns.loss, history=history, **of_group)}
    frozen = _frozen(network, codec, _used_clip(config, network, codec))
    for name in (FIRST_STAGE, ENCODER, CLIP):
        if config.training[name] and name not in frozen:
            raise InputError(f"training.{name} is not read here: this run has no such network that is not trained.")
    return Experiment(
        process=process,
        network=network,
        predict=learns.predict,
        model=learns.model,
        guided=learns.guided,
        image_shape=data_shape(config),
        codec=codec,
        conditioners=learns.conditioners,
        num_classes=0 if "classifier" in learns.parts else label_classes(config, network),
        groups=groups,
        create_state=lambda: create_state(groups, jax.random.key(config.seed), statistics),
        train_step=make_train_step(
            groups,
            accumulate=config.training.accumulate,
            skip_nonfinite=ON_NONFINITE[config.training.on_nonfinite],
        ),
        parts={**learns.parts, **_of_codec(codec)},
        frozen=frozen,
        sections=sections,
        config=config,
    )


def _refuse_unread_without_process(config: ConfigDict, what: str) -> None:
    """Raises InputError where a section says something that a run which noises nothing does not read."""
    refuse_prediction(config, what)
    for key in ("low_resolution", "holes"):
        if config.data[key]:
            raise InputError(f"data.{key} is not read by {what}, which has no condition: leave it out.")
    for section in ("sampler", "guidance", "likelihood", "codec"):
        if made(config, section) != METHODS[section][DEFAULT_METHODS[section]]():
            raise InputError(f"The section {section} is not read by {what}, which draws nothing: leave it out.")


def _optimizer(config: ConfigDict) -> optax.GradientTransformation:
    o = config.optimizer
    last = o.decay_steps or config.training.steps
    schedule = learning_rate_schedule(o.learning_rate, o.warmup_steps, o.decay, last, first=o.first, last=o.last)
    return make_optimizer(
        o.name,
        schedule,
        b1=o.b1,
        b2=o.b2,
        eps=o.eps,
        weight_decay=o.weight_decay,
        clip_norm=o.clip_norm,
        decayed=o.decayed,
    )


def _of_codec(codec: Codec) -> dict[str, Codec]:
    """The parts that are the codec's to have."""
    images: dict[str, Codec] = {"images": codec} if isinstance(codec, Pixels | Latents) else {}
    if isinstance(codec, ImageEmbeddings | EmbeddingCodes):
        return {"embeddings": codec}
    return images | ({"pixels": codec} if isinstance(codec, Pixels) else {})


def _frozen(network: Network | FirstStage | ImageText, codec: Codec, clip: ImageText | None) -> dict[str, Any]:
    """The networks that take part and are not trained."""
    found: dict[str, Any] = {FIRST_STAGE: codec.first_stage} if isinstance(codec, Latents) else {}
    if isinstance(codec, ImageEmbeddings | EmbeddingCodes):
        found[STATISTICS] = codec.statistics
    if clip is not None:
        found[CLIP] = clip
    encoder = network.encoder if isinstance(network, Network) else None
    if encoder is not None and not encoder.trained and encoder.frozen_as == ENCODER:
        found[ENCODER] = encoder
    return found


def _used_clip(config: ConfigDict, network: Network | FirstStage | ImageText, codec: Codec) -> ImageText | None:
    """The CLIP of the section `clip`.

    Raises:
      InputError: there is one, and nothing uses it.
    """
    clip = clip_of(config)
    if clip is None:
        return None
    encoder = network.encoder if isinstance(network, Network) else None
    of_text = encoder is not None and encoder.frozen_as == CLIP
    if not (of_text or isinstance(codec, ImageEmbeddings | EmbeddingCodes) or IMAGE_EMBEDDING in network.conditions):
        raise InputError(
            "The section clip is not read here: give codec.name=embeddings, network.name=unclip_decoder or "
            "condition_encoder.name=clip, or leave it out."
        )
    return clip
