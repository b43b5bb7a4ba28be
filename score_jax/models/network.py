"""A network as the rest of the library sees it: pure functions of its parameters."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from score_jax.models.conditions import DeclaredConditions, declared
from score_jax.typing import Batch, KeyArray, Params, Time


@dataclasses.dataclass(frozen=True)
class Network:
    """A Linen module and the shape of its images.

    Attributes:
      module: called as `module(x, time_label, train=..., **conditions)`; its method `conditions(image_shape)`, if it
        has one, declares what these are.
      image_shape: (h, w, c) of x.
    """

    module: nn.Module
    image_shape: tuple[int, int, int]

    @property
    def conditions(self) -> DeclaredConditions:
        """What the network can be given beside x_t and its time, by name."""
        return declared(self.module, self.image_shape)

    def apply(self, params: Params, x: Batch, time_label: Time, **kwargs: Any) -> Any:
        """The network's output; kwargs are its conditions, `train` and `rngs`."""
        return self.module.apply({"params": params}, x, time_label, **kwargs)

    def example(self, batch_size: int = 1) -> dict[str, Array]:
        """Conditions of so many examples, zeros."""
        return {name: condition.zeros(batch_size) for name, condition in self.conditions.items()}

    def init(self, key: KeyArray) -> Params:
        """Fresh parameters."""
        x, time_label = jnp.zeros((1, *self.image_shape)), jnp.ones((1,))
        conditions: dict[str, Any] = self.example()
        variables = self.module.init(key, x, time_label, **conditions)
        return variables["params"]

    def shapes(self) -> PyTree:
        """Shapes and dtypes of the parameters, without making any."""
        return jax.eval_shape(self.init, jax.random.key(0))

    def flops(self) -> float:
        """Floating point operations of one image's forward pass, counted by XLA in what accelerators are given."""
        x, label = jax.ShapeDtypeStruct((1, *self.image_shape), jnp.float32), jax.ShapeDtypeStruct((1,), jnp.float32)
        traced = jax.jit(self.apply).trace(self.shapes(), x, label, **jax.eval_shape(self.example))
        costs = traced.lower(lowering_platforms=("tpu",)).cost_analysis()
        return (costs or {}).get("flops", 0.0)

    @property
    def num_classes(self) -> int:
        """Values of the condition `label`; 0: the network has none."""
        label = self.conditions.get("label")
        return (label.num_values or 0) if label is not None else 0
