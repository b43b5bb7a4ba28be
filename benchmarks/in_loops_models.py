"""The models of `in_loops.py`: networks of the demo and of ADM, of one level, so that they compile soon."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from score_jax import builder
from score_jax.configs import base
from score_jax.configs.demo import mnist
from score_jax.runtime.sharding import make_mesh, over_batch, replicated, sharded_by_size
from score_jax.training.state import TrainState

SIZE = 16
"""Height and width of images."""


class Model:
    """An experiment on all devices, and a batch of it."""

    def __init__(self, config: ConfigDict):
        self.experiment = builder.experiment(config)
        self.mesh = make_mesh()
        self.size = config.training.batch_size

    @functools.cached_property
    def params(self) -> Any:
        """Random ones, of the host: to compile what initialises a network takes longer than to measure it."""
        return jax.device_put(_random(self.experiment.network.shapes()), replicated(self.mesh))

    def state(self) -> TrainState:
        """A training state of its own with the same parameters, where a training step keeps it."""
        shapes = jax.eval_shape(self.experiment.create_state)
        empty = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
        params, average = (_random(shapes.params) for _ in range(2))
        state = dataclasses.replace(empty, params=params, ema_params=average)
        return jax.device_put(state, sharded_by_size(shapes, self.mesh))

    @functools.cached_property
    def batch(self) -> dict[str, jax.Array]:
        """As the loader gives it."""
        return self.rows(self.size)

    def rows(self, count: int) -> dict[str, jax.Array]:
        """A batch of so many."""
        images = np.random.default_rng(0).integers(0, 256, (count, *self.experiment.image_shape), dtype=np.uint8)
        numbers = np.arange(count, dtype=np.int32)
        return self.split({"image": images, "label": np.zeros_like(numbers), "index": numbers})

    def split(self, arrays: Any) -> Any:
        """Over the devices."""
        return jax.device_put(arrays, over_batch(self.mesh))

    @property
    def words(self) -> str:
        """Its sizes."""
        count = sum(leaf.size for leaf in jax.tree.leaves(self.experiment.network.shapes()))
        h, w, c = self.experiment.image_shape
        return f"{count / 1e6:.2g} M parameters, {self.size} images of {h} x {w} x {c}"

    def noise(self) -> tuple[jax.Array, jax.Array]:
        """States (b, h, w, c), and times (b,) in the middle of the process."""
        x = jax.random.normal(jax.random.key(1), (self.size, *self.experiment.image_shape))
        return self.split((x, jnp.full(self.size, 0.5)))


def _random(shapes: Any) -> Any:
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: 0.05 * rng.standard_normal(leaf.shape, np.float32), shapes)


def demo_config(loss: str = "denoising", *, batch_size: int, channels: int = 32, **training: int) -> ConfigDict:
    """The demo's, with a network of its kind that has one level, trained by any loss."""
    config = mnist.get_config()
    config.network.update(channels=channels, channel_mult=(1,), attention_resolutions=())
    config.training.update(batch_size=batch_size, **training)
    config.loss.name = loss
    return config


def adm_config(name: str, *, batch_size: int, channels: int = 32, **network: Any) -> ConfigDict:
    """A UNet or classifier of ADM with one level, for RGB images, sampled by DDIM."""
    config = base.get_config()
    network = {"learn_sigma": False} | network if name == "adm" else network
    unet = dict(channels=channels, channel_mult=(1,), num_res_blocks=1, attention_resolutions=())
    base.replace_section(config, "network", name=name, dropout=0.0, dtype="float32", **unet, **network)
    config.data.update(image_size=SIZE, channels=3)
    config.sampler.update(name="ddim", num_steps=6, denoise=False)
    config.training.batch_size = batch_size
    return config


def on_grid(config: ConfigDict, num_steps: int) -> ConfigDict:
    """A copy whose likelihood is solved in so many steps, by products with the transposed Jacobian."""
    config = config.copy_and_resolve_references()
    solve = dict(control="grid", num_steps=num_steps, derivative="reverse", solver="dopri5")
    with config.unlocked():
        del config["likelihood"]  # a grid does not read the tolerances of the demo
        config.likelihood = ConfigDict({"name": "ode"} | solve)
    return config
