"""Our side of what `torch_originals.py` has: the same published models, with its weights and images."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict
from peer import Peer

from score_jax import builder
from score_jax.configs.adm import imagenet64, imagenet256
from score_jax.configs.score_sde.ve import cifar10_ncsnpp_continuous
from score_jax.convert.releases import load_published
from score_jax.jobs.likelihood import by_ode, likelihood_program
from score_jax.jobs.sample import batch_sampler
from score_jax.jobs.train import compiled_step, fresh_state, starting_from
from score_jax.runtime.sharding import make_mesh, over_batch, replicated


@dataclasses.dataclass(frozen=True)
class Published:
    """A published model.

    Attributes:
      release: whose weights the clone writes.
      config: of the model.
      labels: what the network is told in `forward`, of a batch of b.
    """

    release: str
    config: ModuleType
    labels: Callable[[int], np.ndarray]


def _levels(b: int) -> np.ndarray:
    return (np.arange(b) * 100 % 1000).astype(np.float32)


PUBLISHED = {
    "ncsnpp_cifar10": Published(
        "score_sde_pytorch", cifar10_ncsnpp_continuous, lambda b: np.linspace(0.5, 20.0, b, dtype=np.float32)
    ),
    "adm64": Published("guided_diffusion", imagenet64, _levels),
    "adm256": Published("guided_diffusion", imagenet256, _levels),
}


_WEIGHTS = "weights.pth"


class Ours:
    """A model with the other side's weights, and its jitted functions over all devices.

    Args:
      name: of `PUBLISHED`.
      weights: the file that the other side wrote.
      images: (b, h, w, c) in [-1, 1].
      labels: (b,), what the network is told in `forward`.
      dtype: compute dtype.
    """

    def __init__(self, name: str, weights: Path, images: np.ndarray, labels: np.ndarray, dtype: str):
        model = PUBLISHED[name]
        self.config: ConfigDict = model.config.get_config()
        self.config.network.dtype = dtype
        self.config.training.batch_size = len(images)
        self.experiment = builder.experiment(self.config)
        self.mesh: Mesh = make_mesh()
        split = over_batch(self.mesh)
        params = load_published(model.release, weights, self.experiment.network)
        self.params = jax.device_put(params, replicated(self.mesh))
        self._x = jax.device_put(images, split)
        self._labels = jax.device_put(labels, split)
        classes = np.arange(len(images), dtype=np.int32) % max(1, self.experiment.num_classes)
        self._batch = jax.device_put(
            {
                "image": np.round((images + 1) * 127.5).astype(np.uint8),
                "label": classes,
                "index": np.arange(len(images), dtype=np.int32),
            },
            split,
        )

        def forward(params, x, label, classes):
            conditions: Any = self.experiment.conditions(params, {"label": classes})
            return self.experiment.network.apply(params, x, label, **conditions)

        self._forward = jax.jit(forward, out_shardings=split)
        self._step = compiled_step(self.experiment, self.mesh)
        self._state = None

    def forward(self) -> jax.Array:
        """The network's output in evaluation."""
        return jax.block_until_ready(self._forward(self.params, self._x, self._labels, self._batch["label"]))

    def step(self) -> float:
        """One optimizer step; the loss."""
        if self._state is None:
            self._state = starting_from(self.params, fresh_state(self.experiment, self.mesh))
        self._state, metrics = self._step(self._state, self._batch)
        return float(jax.block_until_ready(metrics["loss"]))

    def sampler(self, **how: object) -> Callable[[], tuple[np.ndarray, int]]:
        """A batch of samples and evaluations of the network, by the `sampler` section with other values.

        The first call compiles.
        """
        config = self.config.copy_and_resolve_references()
        config.sampler.update(**how)
        sampler = batch_sampler(builder.experiment(config), self.params, self.mesh, seed=0)
        places = np.arange(len(self._x), dtype=np.int32)

        def draw() -> tuple[np.ndarray, int]:
            columns, _ = jax.block_until_ready(sampler(places, places))
            return np.asarray(columns["image"]), int(np.asarray(columns["nfe"]).max())

        return draw

    def likelihood(self, tolerance: float) -> Callable[[], tuple[np.ndarray, int]]:
        """Bits/dim of the batch by the ODE at a tolerance, one step size for all, and evaluations.

        The first call compiles.
        """
        config = self.config.copy_and_resolve_references()
        config.likelihood.update(control="batch", rtol=tolerance, atol=tolerance)
        program = likelihood_program(self.mesh, by_ode(builder.experiment(config), None))
        key, batch = jax.random.key(0), {name: self._batch[name] for name in ("image", "label", "index")}

        def measure() -> tuple[np.ndarray, int]:
            found = jax.block_until_ready(program(self.params, key, batch))
            return np.asarray(found["bits_per_dim"]), int(np.asarray(found["nfe"]).max())

        return measure

    def flops(self) -> float:
        """Of one image's forward pass."""
        return self.experiment.network.flops()


def both_sides(name: str, peer: Peer, folder: Path, b: int, dtype: str = "float32") -> tuple[Ours, str]:
    """The model with the weights of the original, which has loaded it eagerly, and what is compared, as words."""
    size = PUBLISHED[name].config.get_config().data.image_size
    images = np.random.default_rng(0).uniform(-1, 1, (b, size, size, 3)).astype(np.float32)
    labels = PUBLISHED[name].labels(b)
    np.savez(folder / "inputs.npz", images=images.transpose(0, 3, 1, 2), labels=labels)
    loaded = load_original(name, peer, folder, "eager")
    how = f"{loaded['parameters'] / 1e6:.1f} M parameters, {b} images of {size} x {size}, {dtype}, "
    how += f"{jax.default_backend()}; PyTorch {loaded['torch']} on {loaded['device']}"
    return Ours(name, folder / _WEIGHTS, images, labels, dtype), how


def load_original(name: str, peer: Peer, folder: Path, mode: str) -> dict[str, Any]:
    """Has the original load the model and the inputs that are in the folder; what it says of itself."""
    return peer.ask("load", model=name, inputs=str(folder / "inputs.npz"), weights=str(folder / _WEIGHTS), mode=mode)
