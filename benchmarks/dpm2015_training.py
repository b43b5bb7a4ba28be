"""How the models of `dpm2015.py` are trained, by the product's own trainer and configs, and how they are measured."""

import contextlib
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from score_jax import builder
from score_jax.arrays import keys_per_example
from score_jax.builder.kernels import law_of
from score_jax.configs.dpm2015 import dead_leaves as leaves_config
from score_jax.configs.dpm2015 import heartbeat as heartbeat_config
from score_jax.configs.dpm2015 import swiss_roll as roll_config
from score_jax.data.dead_leaves import DeadLeavesImages
from score_jax.data.toys import heartbeat
from score_jax.jobs.train import train
from score_jax.losses import bound
from score_jax.prediction.kernels import Kernels
from score_jax.processes.noise import brownian
from score_jax.samplers.multiplied import BitFactor, sample_binomial

BEATS = heartbeat(jax.random.key(0), 5).shape[1]


class Trained(NamedTuple):
    """A model of one of the configs.

    Attributes:
      experiment: of the config.
      kernels: with the trained parameters.
    """

    experiment: Any
    kernels: Kernels


def trained(config: ConfigDict, steps: int) -> Trained:
    """The model of a config after so many steps of `train`, whose lines go to stderr."""
    config.training.update(steps=steps, log_every=max(1, steps // 20), checkpoint_every=steps, sample_every=0)
    config.optimizer.warmup_steps = steps // 40
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        params = train(config, Path(folder)).params
    experiment = builder.experiment(config)
    return Trained(experiment, experiment.model(jax.tree.map(jnp.asarray, jax.device_get(params))))


def train_roll(beta_1: float, units: int, steps: int, start: str = "log_spaced", *, learned: bool = True) -> Trained:
    """The swiss roll by T = 40 levels."""
    config = roll_config.get_config(start)
    config.process.beta_1, config.network.units = beta_1, units
    with config.unlocked():
        config.process.learned = learned
    return trained(config, steps)


def train_heartbeat(levels: int, steps: int) -> Trained:
    """The heartbeat, by the paper's chain."""
    config = heartbeat_config.get_config()
    config.process.num_levels = config.network.num_levels = levels
    return trained(config, steps)


def train_leaves(size: int, levels: int, steps: int, count: int) -> Trained:
    """Dead leaves by the multi-scale network: `count` images, each in all eight symmetries of the square."""
    config = leaves_config.get_config(str(size))
    config.process.num_levels = config.network.num_levels = levels
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "leaves.npy"
        np.save(path, symmetries(grey_leaves(0, size, count)))
        config.data.update(name=str(path), train_split="all", eval_split="all", flip=False)
        return trained(config, steps)


def bits(model: Trained, x0, seed: int = 7) -> bound.Bound:
    """The bound of data (n, ...), one draw per level, bits."""
    keys, law = keys_per_example(jax.random.key(seed), jnp.arange(len(x0))), law_of(model.experiment.process)
    run = jax.jit(lambda x0: law.bound(*model.kernels, x0, keys))
    return jax.tree.map(lambda nats: np.asarray(bound.bits(nats)), run(x0))


def importance_bits(model: Trained, x0, trajectories: int, seed: int = 8):
    """The importance-sampling estimate (n,) of the log-likelihood and its standard error, bits."""
    keys = keys_per_example(jax.random.key(seed), jnp.arange(len(x0)))

    def run(x0):
        return bound.importance_log_prob(*model.kernels, x0, brownian(keys, x0), trajectories)

    return tuple(np.asarray(bound.bits(nats)) for nats in jax.jit(run)(x0))


def sample_beats(model: Trained, count: int, factor: BitFactor | None = None):
    """Samples (count, 20) of the model, or of the model multiplied by r."""
    keys = keys_per_example(jax.random.key(9), jnp.arange(count))
    draw = jax.jit(lambda keys: sample_binomial(*model.kernels, keys, jnp.zeros((count, BEATS)), factor))
    return np.asarray(draw(keys))


def is_beat(x) -> np.ndarray:
    """Which rows (n,) are heartbeats, of any phase."""
    beats = np.arange(BEATS)[None] % 5 == np.arange(5)[:, None]
    return (x[:, None] == beats[None]).all(axis=2).any(axis=1)


def grey_leaves(seed: int, size: int, count: int) -> np.ndarray:
    """Dead leaves (count, size, size, 1), grey levels 0..255."""
    images = DeadLeavesImages(seed, size, 1, count)
    return np.stack([images[i]["image"] for i in range(count)])


def symmetries(x: np.ndarray) -> np.ndarray:
    """Images (8 n, s, s, 1): each turned or not about both axes and a diagonal."""
    for axes in (1, 2, None):
        x = np.concatenate([x, np.swapaxes(x, 1, 2) if axes is None else np.flip(x, axes)])
    return x


def held_out_leaves(model: Trained, size: int, count: int):
    """x0 of dead leaves of another seed, dequantised."""
    keys = keys_per_example(jax.random.key(5), jnp.arange(count))
    return model.experiment.codec.dequantize(keys, jnp.asarray(grey_leaves(1, size, count)))
