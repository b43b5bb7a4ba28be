"""A network as the rest of the library sees it: pure functions of its parameters."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PyTree

from score_jax.models.unets.adm import ADM
from score_jax.models.unets.edm_dhariwal import DhariwalUNet
from score_jax.models.unets.edm_song import SongUNet
from score_jax.typing import Batch, KeyArray, Params, Time


@dataclasses.dataclass(frozen=True)
class Network:
    """A Linen module and the shape of its images.

    Attributes:
      module: called as `module(x, label, train=..., **conditions)`.
      image_shape: (h, w, c) of x.
    """

    module: nn.Module
    image_shape: tuple[int, int, int]

    def apply(self, params: Params, x: Batch, label: Time, **kwargs) -> Any:
        """The network's output; kwargs are its conditions, `train` and `rngs`."""
        return self.module.apply({"params": params}, x, label, **kwargs)

    def init(self, key: KeyArray) -> Params:
        """Fresh parameters."""
        conditions = example_conditions(self.module, self.image_shape)
        x, label = jnp.zeros((1, *self.image_shape)), jnp.ones((1,))
        variables = self.module.init(key, x, label, **conditions)
        return variables["params"]

    def shapes(self) -> PyTree:
        """Shapes and dtypes of the parameters, without making any."""
        return jax.eval_shape(self.init, jax.random.key(0))

    def flops(self) -> float:
        """Floating point operations of one image's forward pass, counted by XLA in what accelerators are given."""
        x, label = jax.ShapeDtypeStruct((1, *self.image_shape), jnp.float32), jax.ShapeDtypeStruct((1,), jnp.float32)
        conditions = jax.eval_shape(lambda: example_conditions(self.module, self.image_shape))
        traced = jax.jit(self.apply).trace(self.shapes(), x, label, **conditions)
        costs = traced.lower(lowering_platforms=("tpu",)).cost_analysis()
        return (costs or {}).get("flops", 0.0)

    @property
    def num_classes(self) -> int:
        """Classes that the network is told; 0: none."""
        return (self.module.num_classes or 0) if isinstance(self.module, ADM | SongUNet | DhariwalUNet) else 0

    def conditions(self, labels: Int[Array, "b"]) -> dict[str, Array]:
        """The class condition of `apply`, if the network has one, from labels (b,)."""
        if not self.num_classes:
            return {}
        if isinstance(self.module, ADM):
            return {"y": labels}
        return {"class_labels": jax.nn.one_hot(labels, self.num_classes)}


def example_conditions(module: nn.Module, image_shape: tuple[int, int, int]) -> dict[str, Any]:
    """Conditions of one example, of the shapes that the module expects."""
    conditions: dict[str, Any] = {}
    if isinstance(module, ADM):
        if module.num_classes is not None:
            conditions["y"] = jnp.zeros((1,), jnp.int32)
        if module.super_resolution:
            conditions["low_res"] = jnp.zeros((1, *image_shape))
    return conditions
