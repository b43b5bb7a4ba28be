"""From a config to objects: a dictionary of names per section. Nothing below this file sees a config."""

import dataclasses
import functools
import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int
from ml_collections import ConfigDict

from score_jax.arrays import fold_in_each, normal_per_example
from score_jax.data import transforms
from score_jax.errors import InputError, unknown_name
from score_jax.losses import score_matching
from score_jax.losses.time_sampling import TIME_SAMPLINGS, uniform_index
from score_jax.models.adm import ADM
from score_jax.models.adm_classifier import ADMClassifier
from score_jax.models.ddpm import DDPM
from score_jax.models.edm_dhariwal import DhariwalUNet
from score_jax.models.edm_song import SongUNet
from score_jax.models.ncsn import NCSN
from score_jax.models.ncsnpp import NCSNpp
from score_jax.models.ncsnv2 import NCSNv2
from score_jax.models.network import Network
from score_jax.models.wide_resnet import WideResNet
from score_jax.preconditioning import PRECONDITIONINGS
from score_jax.predictor import Prediction, Predictor, network_predictor, preconditioned_predictor
from score_jax.processes.chain import Chain, ve_chain, vp_chain
from score_jax.processes.gaussian import EDM, VE, VP, GaussianProcess, NoiseSchedule, SubVP
from score_jax.processes.levels import NoiseLevels
from score_jax.samplers import steps
from score_jax.samplers.ode import AdaptiveODE
from score_jax.samplers.sample import FixedSteps, Sampler
from score_jax.training.optimizer import learning_rate_schedule, make_optimizer
from score_jax.training.state import TrainState, create_state
from score_jax.training.step import LossFn, make_train_step
from score_jax.typing import KeyArray, Params

PROCESSES: dict[str, Callable[..., NoiseSchedule]] = {
    "ve": VE,
    "vp": VP,
    "sub_vp": SubVP,
    "edm": EDM,
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
DTYPES = {"float32": None, "bfloat16": jnp.bfloat16}  # None: the type of parameters and input, float64 under x64.
REDUCTIONS = {"mean": lambda dim: 1.0 / dim, "half_sum": lambda dim: 0.5}


def _construct(section: str, table: Mapping[str, Callable], values: dict[str, Any]) -> Any:
    """`table[name](**rest)`, with the nearest valid argument for an unknown one."""
    values = dict(values)
    name = values.pop("name")
    if name not in table:
        raise unknown_name(f"{section}.name", name, table)
    known = [p for p in inspect.signature(table[name]).parameters if p not in ("parent", "name")]
    for key in values:
        if key not in known:
            raise unknown_name(f"key of {section} {name!r}:", key, known)
    return table[name](**values)


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One config as objects.

    Attributes:
      process: the noising process.
      network: the model's network.
      predict: `predict(params, x, t, **kwargs) -> Prediction`.
      image_shape: (h, w, c).
      value_range: range of the model's images.
      create_state: fresh training state, a function of nothing (the seed is the config's).
      train_step: `(state, batch) -> (state, metrics)`, to be jitted.
      sampler: how samples are drawn.
      likelihood_ode: solver of the likelihood.
    """

    process: NoiseSchedule
    network: Network
    predict: Callable[..., Any]
    image_shape: tuple[int, int, int]
    value_range: tuple[float, float]
    create_state: Callable[[], TrainState]
    train_step: Callable
    sampler: Sampler
    likelihood_ode: AdaptiveODE

    def predictor(self, params: Params, labels: Int[Array, "b"]) -> Predictor:
        """The model with its parameters and, if it has classes, those of the examples (b,)."""
        return functools.partial(self.predict, params, **self.network.conditions(labels))


def build_sampler(config: ConfigDict, process: NoiseSchedule) -> Sampler:
    """The `sampler` section.

    Raises:
      InputError: the sampler is unknown, or needs an SDE where the process is a chain of levels.
    """
    c = config.sampler
    correct = steps.langevin(process, c.snr, c.corrector_steps)
    reverse = steps.reverse_diffusion(process)
    methods: dict[str, Callable[[], FixedSteps | AdaptiveODE]] = {
        "ancestral": lambda: FixedSteps(steps.ancestral(process), c.num_steps, 1),
        "reverse_diffusion": lambda: FixedSteps(reverse, c.num_steps, 1),
        "predictor_corrector": lambda: FixedSteps(
            steps.predictor_corrector(reverse, correct), c.num_steps, 1 + c.corrector_steps
        ),
    }
    if isinstance(process, GaussianProcess):
        methods |= {
            "euler_maruyama": lambda: FixedSteps(steps.euler_maruyama(process), c.num_steps, 1),
            "ode": lambda: AdaptiveODE(c.solver, c.rtol, c.atol),
        }
    if c.name not in methods:
        raise unknown_name(f"sampler.name for process {config.process.name!r}:", c.name, methods)
    return Sampler(methods[c.name](), c.t_min, c.denoise)


def build_loss(config: ConfigDict, process: NoiseSchedule, network: Network, predict: Callable) -> LossFn:
    """The `loss` section: batch of uint8 images to one value per example."""
    c, value_range = config.loss, tuple(config.data.value_range)
    for section, name, table in (
        ("time_sampling", c.time_sampling, TIME_SAMPLINGS),
        ("reduction", c.reduction, REDUCTIONS),
    ):
        if name not in table:
            raise unknown_name(f"loss.{section}", name, table)
    draw_times, scale = TIME_SAMPLINGS[c.time_sampling], REDUCTIONS[c.reduction](math.prod(network.image_shape))
    if isinstance(process, Chain):
        draw_times = functools.partial(uniform_index, num_levels=process.num_levels)

    def loss(params: Params, batch, key: KeyArray, keys):
        time_key, dropout_key = jax.random.split(key)
        if config.data.dequantize:
            x0 = transforms.dequantize(fold_in_each(keys, 0), batch["image"], value_range)
        else:
            x0 = transforms.to_model_range(batch["image"], value_range)
        t = draw_times(time_key, x0.shape[0], c.t_min)
        eps = normal_per_example(fold_in_each(keys, 1), x0)

        conditions = network.conditions(batch["label"])

        def predictor(x, t):
            return predict(params, x, t, train=True, rngs={"dropout": dropout_key}, **conditions)

        values = score_matching.denoising(predictor, process, x0, t, eps, likelihood_weighting=c.likelihood_weighting)
        return scale * values

    return loss


def build_network(config: ConfigDict) -> Network:
    """The `network` section, with what it takes from `data` and `process`.

    Raises:
      InputError: a name or a key is unknown, or the image size does not split into the network's levels.
    """
    c, data, process = config.network.to_dict(), config.data, config.process
    if c["name"] not in NETWORKS:
        raise unknown_name("network.name", c["name"], NETWORKS)
    if c["dtype"] not in DTYPES:
        raise unknown_name("network.dtype", c["dtype"], DTYPES)
    c["dtype"] = DTYPES[c["dtype"]]
    shared: dict[str, Any] = {"centered": tuple(data.value_range) == (-1.0, 1.0)}
    if process.name == "ve_chain":
        spacing, rounded = process.get("spacing", "geometric"), process.get("rounded", False)
        shared["levels"] = NoiseLevels(process.sigma_max, process.sigma_min, process.num_levels, spacing, rounded)
    if c.get("num_levels") not in (None, process.get("num_levels", c.get("num_levels"))):
        raise InputError(
            f"network.num_levels={c['num_levels']} is not process.num_levels={process.num_levels}: make them the same."
        )
    takes = inspect.signature(NETWORKS[c["name"]]).parameters
    module = _construct("network", NETWORKS, c | {key: value for key, value in shared.items() if key in takes})
    halvings = len(c.get("channel_mult", (1,))) - 1
    if data.image_size % 2**halvings:
        raise InputError(
            f"data.image_size={data.image_size} cannot be halved {halvings} times: make it a multiple of "
            f"{2**halvings}, or give network.channel_mult fewer levels."
        )
    return Network(module, (data.image_size, data.image_size, data.channels))


def build_predict(config: ConfigDict, network: Network, process: NoiseSchedule) -> Callable[..., Prediction]:
    """The `prediction` section: what the network outputs and is told, or the name of its preconditioning.

    Raises:
      InputError: a name or a key is unknown.
    """
    if "preconditioning" not in config.prediction:
        return network_predictor(network.apply, process, **config.prediction)
    values = config.prediction.to_dict()
    values["name"] = values.pop("preconditioning")
    preconditioning = _construct("prediction.preconditioning", PRECONDITIONINGS, values)
    return preconditioned_predictor(network.apply, process, preconditioning)


def build_process(config: ConfigDict) -> NoiseSchedule:
    """The `process` section.

    Raises:
      InputError: its name or a key is unknown.
    """
    return _construct("process", PROCESSES, config.process.to_dict())


def experiment(config: ConfigDict) -> Experiment:
    """Builds everything a verb needs.

    Raises:
      InputError: a name or a key is unknown, or values do not fit each other.
    """
    process, network = build_process(config), build_network(config)
    predict = build_predict(config, network, process)
    o = config.optimizer
    schedule = learning_rate_schedule(o.learning_rate, o.warmup_steps, o.decay, config.training.steps)
    tx = make_optimizer(
        o.name, schedule, b1=o.b1, b2=o.b2, eps=o.eps, weight_decay=o.weight_decay, clip_norm=o.clip_norm
    )
    loss = build_loss(config, process, network, predict)
    likelihood = config.likelihood
    return Experiment(
        process=process,
        network=network,
        predict=predict,
        image_shape=network.image_shape,
        value_range=tuple(config.data.value_range),
        create_state=lambda: create_state(network.init, tx, jax.random.key(config.seed)),
        train_step=make_train_step(loss, tx, ema_decay=config.ema.decay, ema_warmup=config.ema.warmup),
        sampler=build_sampler(config, process),
        likelihood_ode=AdaptiveODE(likelihood.solver, likelihood.rtol, likelihood.atol),
    )
