"""From a config to objects: a dictionary of names per section. Nothing below this file sees a config."""

import dataclasses
import functools
import inspect
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int
from ml_collections import ConfigDict

from score_jax.builder.edit import Edit
from score_jax.builder.likelihood import LikelihoodOptions, flow_of, options
from score_jax.builder.naming import check_counts, check_seed, choose, construct
from score_jax.builder.objective import area_means, build_loss, history_of
from score_jax.builder.sampling import Guide, Known, Sampling, build_sampling, scale_of
from score_jax.errors import InputError
from score_jax.guidance import classifier_free
from score_jax.models.classifiers.adm_classifier import ADMClassifier
from score_jax.models.classifiers.wide_resnet import WideResNet
from score_jax.models.network import Network
from score_jax.models.unets.adm import ADM
from score_jax.models.unets.ddpm import DDPM
from score_jax.models.unets.edm_dhariwal import DhariwalUNet
from score_jax.models.unets.edm_song import SongUNet
from score_jax.models.unets.ncsn import NCSN
from score_jax.models.unets.ncsnpp import NCSNpp
from score_jax.models.unets.ncsnv2 import NCSNv2
from score_jax.prediction.preconditioning import PRECONDITIONINGS
from score_jax.prediction.predictor import (
    Prediction,
    Predictor,
    classifier_logits,
    network_predictor,
    preconditioned_predictor,
)
from score_jax.processes.chain import ve_chain, vp_chain
from score_jax.processes.gaussian import EDM, VE, VP, Cosine, Flow, LinearVE, NoiseSchedule, SubVP
from score_jax.processes.levels import NoiseLevels
from score_jax.training.optimizer import learning_rate_schedule, make_optimizer
from score_jax.training.state import TrainState, create_state
from score_jax.training.step import make_train_step
from score_jax.typing import Image, Params

PROCESSES: dict[str, Callable[..., NoiseSchedule]] = {
    "ve": VE,
    "vp": VP,
    "sub_vp": SubVP,
    "edm": EDM,
    "linear_ve": LinearVE,
    "flow": Flow,
    "cosine": Cosine,
    "vp_chain": vp_chain,
    "ve_chain": ve_chain,
}
NETWORKS: dict[str, Callable[..., Any]] = {
    "ncsnpp": NCSNpp,
    "ddpm": DDPM,
    "adm": ADM,
    "adm_classifier": ADMClassifier,
    "ncsn": NCSN,
    "ncsnv2": NCSNv2,
    "wide_resnet": WideResNet,
    "edm_song": SongUNet,
    "edm_dhariwal": DhariwalUNet,
}
ON_NONFINITE = {"stop": False, "skip": True}  # whether the step is skipped
DTYPES = {"float32": None, "bfloat16": jnp.bfloat16}  # None: the type of parameters and input, float64 under x64.


@dataclasses.dataclass(frozen=True, eq=False)
class Experiment:
    """One config as objects.

    Attributes:
      process: the noising process.
      network: the model's network.
      predict: `predict(params, x, t, **kwargs) -> Prediction`, or of a classifier `-> logits`.
      image_shape: (h, w, c).
      value_range: range of the model's images.
      num_classes: classes that a label may name; 0: none.
      create_state: fresh training state, a function of nothing (the seed is the config's).
      train_step: `(state, batch) -> (state, metrics)`, to be jitted.
      likelihood: what is measured as likelihood, and how.
      config: what it was built from.
    """

    process: NoiseSchedule
    network: Network
    predict: Callable[..., Any]
    image_shape: tuple[int, int, int]
    value_range: tuple[float, float]
    num_classes: int
    create_state: Callable[[], TrainState]
    train_step: Callable
    likelihood: LikelihoodOptions
    config: ConfigDict

    @property
    def label_classes(self) -> int:
        """Classes that a label of the data may name: of the model, or of the classifier; 0: labels are not used."""
        return label_classes(self.config, self.network)

    @property
    def is_classifier(self) -> bool:
        """Whether the network classifies noisy images, and so draws none."""
        return self.config.loss.name == "classifier"

    def predictor(
        self, params: Params, labels: Int[Array, "b"], *, guided: bool = False, low_res: Image | None = None
    ) -> Predictor:
        """The model with its parameters and its conditions.

        Args:
          params: the network's.
          labels: classes (b,), of a model that has any.
          guided: with classifier-free guidance as the config says.
          low_res: of a super-resolution model, the images to enlarge (b, h, w, c), in the model's range.

        Raises:
          InputError: guidance is asked of a model that was trained without `loss.label_dropout`.
        """
        others = {} if low_res is None else {"low_res": low_res}

        def told(labels):
            return functools.partial(self.predict, params, **self.network.conditions(labels), **others)

        scale = self.config.guidance.scale
        if not guided or scale == 1.0:
            return told(labels)
        if self.config.loss.label_dropout <= 0:
            raise InputError(
                f"guidance.scale={scale}, but this model does not know images without a class: train with "
                "loss.label_dropout, or name a classifier's workdir in guidance.classifier."
            )
        untold = told(jnp.full_like(labels, self.num_classes))
        return classifier_free.classifier_free(told(labels), untold, scale_of(self.config, self.process))

    def conditions(self, images: Image, labels: Int[Array, "b"]) -> dict[str, Array]:
        """What `predictor` is told of these images, in the model's range."""
        size = self.config.data.low_resolution
        return {"labels": labels} | ({"low_res": area_means(images, size)} if size else {})

    def in_continuous_time(self) -> "Experiment":
        """The same model under the process whose probability flow it has: its own, or its chain interpolated.

        Raises:
          InputError: the model has no score between the levels of its chain.
        """
        process = flow_of(self.config, self.process)
        if process is self.process:
            return self
        return dataclasses.replace(self, process=process, predict=build_predict(self.config, self.network, process))

    def sampling(self, *, guide: Guide | None = None, known: Known | None = None, edit: Edit | None = None) -> Sampling:
        """How to sample, as the `sampler` section says; with guidance, a measurement to hold, or an edit by text."""
        return build_sampling(self.config, self.process, guide=guide, known=known, edit=edit)


def build_network(config: ConfigDict) -> Network:
    """The `network` section, with what it takes from `data` and `process`.

    Raises:
      InputError: a name or a key is unknown, or the image size does not split into the network's levels.
    """
    c, data, process = config.network.to_dict(), config.data, config.process
    choose("network.name", NETWORKS, c["name"])
    c["dtype"] = choose("network.dtype", DTYPES, c["dtype"])
    shared: dict[str, Any] = {"centered": tuple(data.value_range) == (-1.0, 1.0)}
    if process.name == "ve_chain":
        spacing, rounded = process.get("spacing", "geometric"), process.get("rounded", False)
        shared["levels"] = NoiseLevels(process.sigma_max, process.sigma_min, process.num_levels, spacing, rounded)
    if c.get("num_levels") not in (None, process.get("num_levels", c.get("num_levels"))):
        raise InputError(
            f"network.num_levels={c['num_levels']} is not process.num_levels={process.num_levels}: make them the same."
        )
    takes = inspect.signature(NETWORKS[c["name"]]).parameters
    module = construct("network", NETWORKS, c | {key: value for key, value in shared.items() if key in takes})
    halvings = len(c.get("channel_mult", (1,))) - 1
    if data.image_size % 2**halvings:
        raise InputError(
            f"data.image_size={data.image_size} cannot be halved {halvings} times: make it a multiple of "
            f"{2**halvings}, or give network.channel_mult fewer levels."
        )
    return Network(module, (data.image_size, data.image_size, data.channels))


def label_classes(config: ConfigDict, network: Network) -> int:
    """Classes that a label of the data may name: of the model, without the one that stands for none, or of the
    classifier; 0: labels are not used."""
    if config.loss.name == "classifier":
        return network.module.num_classes
    return max(0, network.num_classes - (config.loss.label_dropout > 0))


def build_predict(config: ConfigDict, network: Network, process: NoiseSchedule) -> Callable[..., Prediction]:
    """The `prediction` section: what the network outputs and is told, or the name of its preconditioning.

    Raises:
      InputError: a name or a key is unknown.
    """
    if "preconditioning" not in config.prediction:
        return network_predictor(network.apply, process, **config.prediction)
    values = config.prediction.to_dict()
    values["name"] = values.pop("preconditioning")
    preconditioning = construct("prediction.preconditioning", PRECONDITIONINGS, values)
    return preconditioned_predictor(network.apply, process, preconditioning)


def build_process(config: ConfigDict) -> NoiseSchedule:
    """The `process` section.

    Raises:
      InputError: its name or a key is unknown.
    """
    return construct("process", PROCESSES, config.process.to_dict())


def _check_numbers(config: ConfigDict) -> None:
    """Raises InputError where a count is below one, a number is not finite, or a seed stands for another."""
    for section, values in config.to_dict().items():
        for key, value in values.items() if isinstance(values, dict) else ():
            if isinstance(value, float) and not math.isfinite(value):
                raise InputError(f"{section}.{key}={value}: give a finite number.")
    check_counts("data", config.data, ("image_size", "channels"))
    for section in ("sampling", "evaluation"):
        check_counts(section, config[section], ("num_samples", "batch_size"))
        check_seed(f"{section}.seed", config[section].seed)
    check_seed("seed", config.seed)
    check_seed("likelihood.seed", config.likelihood.seed)


def experiment(config: ConfigDict) -> Experiment:
    """Builds everything a verb needs.

    Raises:
      InputError: a name or a key is unknown, or values do not fit each other.
    """
    _check_numbers(config)
    process, network = build_process(config), build_network(config)
    predict: Callable[..., Any]
    if config.loss.name == "classifier":
        predict = classifier_logits(network.apply, process, label=config.prediction.label)
    else:
        predict = build_predict(config, network, process)
        build_sampling(config, process)  # so that a mistake in it is told now
    o = config.optimizer
    schedule = learning_rate_schedule(o.learning_rate, o.warmup_steps, o.decay, config.training.steps)
    tx = make_optimizer(
        o.name, schedule, b1=o.b1, b2=o.b2, eps=o.eps, weight_decay=o.weight_decay, clip_norm=o.clip_norm
    )
    loss, history = build_loss(config, process, network, predict), history_of(config, process)
    return Experiment(
        process=process,
        network=network,
        predict=predict,
        image_shape=network.image_shape,
        value_range=tuple(config.data.value_range),
        num_classes=0 if config.loss.name == "classifier" else label_classes(config, network),
        create_state=lambda: create_state(network.init, tx, jax.random.key(config.seed), history),
        train_step=make_train_step(
            loss,
            tx,
            ema_decay=config.ema.decay,
            ema_warmup=config.ema.warmup,
            accumulate=config.training.accumulate,
            skip_nonfinite=choose("training.on_nonfinite", ON_NONFINITE, config.training.on_nonfinite),
        ),
        likelihood=options(config),
        config=config,
    )
