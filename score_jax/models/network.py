"""A network as the rest of the library sees it: pure functions of its parameters."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from score_jax.models.conditions import DeclaredConditions, declared
from score_jax.typing import Batch, KeyArray, Params, Time

NETWORK, ENCODER = "network", "condition_encoder"
"""Names of the parameters of a network and of its encoder, where both are trained."""


@dataclasses.dataclass(frozen=True, eq=False)
class Encoder:
    """A network that makes conditions of another one, such as the tokens of a text into its context.

    It runs once per sample, not once per step.

    Attributes:
      module: called as `module(raw)`; `module.makes` names the condition that it makes, or those in the dictionary that
        it returns.
      raw: what it is given, one condition by name.
      trained: with the network that it is for; otherwise its parameters are among those that are not trained.
      frozen_as: the name of its parameters there.
    """

    module: Any
    raw: DeclaredConditions
    trained: bool
    frozen_as: str = ENCODER

    @property
    def takes(self) -> str:
        """The name of what it is given."""
        (name,) = self.raw
        return name

    @property
    def makes(self) -> tuple[str, ...]:
        """The names of the conditions that it makes."""
        own = self.module.makes
        return (own,) if isinstance(own, str) else own

    def encode(self, params: Params, raw: Array) -> dict[str, Array]:
        """The conditions that it makes (b, ...) of what it is given (b, ...), by name."""
        made = self.module.apply({"params": params}, raw)
        return made if isinstance(made, dict) else {self.module.makes: made}

    def init(self, key: KeyArray) -> Params:
        """Fresh parameters."""
        return self.module.init(key, self.raw[self.takes].zeros(1)).get("params", {})

    def shapes(self) -> PyTree:
        """Shapes and dtypes of the parameters, without making any."""
        return jax.eval_shape(self.init, jax.random.key(0))


@dataclasses.dataclass(frozen=True)
class Network:
    """A Linen module and the shape of its images.

    Attributes:
      module: called as `module(x, time_label, train=..., **conditions)`; its method `conditions(image_shape)`, if it
        has one, declares what these are.
      image_shape: (h, w, c) of x.
      encoder: what makes one of its conditions; None: all are in a batch as the network takes them.
      beside: initial values of other parameters that are trained with it, by name, such as a loss's own.
    """

    module: nn.Module
    image_shape: tuple[int, int, int]
    encoder: Encoder | None = None
    beside: Mapping[str, Array] = dataclasses.field(default_factory=dict, hash=False)

    @property
    def conditions(self) -> DeclaredConditions:
        """What a batch gives the network beside x_t and its time, by name; `encode` makes of them what it takes."""
        taken = declared(self.module, self.image_shape)
        if self.encoder is None:
            return taken
        return {name: taken[name] for name in taken if name not in self.encoder.makes} | dict(self.encoder.raw)

    @property
    def _trains_encoder(self) -> bool:
        return self.encoder is not None and self.encoder.trained

    @property
    def _trains_others(self) -> bool:
        return self._trains_encoder or bool(self.beside)

    def encode(self, params: Params, frozen: PyTree, conditions: Mapping[str, Array]) -> dict[str, Array]:
        """The conditions as `apply` takes them.

        Args:
          params: of the network, and of its encoder where that is trained too.
          frozen: parameters that are not trained, by name, "condition_encoder" among them where that is not.
          conditions: arrays (b, ...) by the names of `conditions`.
        """
        if self.encoder is None:
            return dict(conditions)
        others = {name: array for name, array in conditions.items() if name != self.encoder.takes}
        own = params[ENCODER] if self.encoder.trained else frozen[self.encoder.frozen_as]
        return others | self.encoder.encode(own, conditions[self.encoder.takes])

    def apply(self, params: Params, x: Batch, time_label: Time, **kwargs: Any) -> Any:
        """The network's output; kwargs are its conditions as `encode` makes them, `train` and `rngs`."""
        return self.module.apply({"params": self._own(params)}, x, time_label, **kwargs)

    def call(self, params: Params, method: str, *args: Any, **kwargs: Any) -> Any:
        """What another method of the module returns, with the parameters of `apply`."""
        return self.module.apply({"params": self._own(params)}, *args, method=method, **kwargs)

    def _own(self, params: Params) -> Params:
        return params[NETWORK] if self._trains_others else params

    def example(self, batch_size: int = 1) -> dict[str, Array]:
        """Conditions of so many examples as `apply` takes them, zeros."""
        taken = declared(self.module, self.image_shape)
        return {name: condition.zeros(batch_size) for name, condition in taken.items()}

    def init(self, key: KeyArray) -> Params:
        """Fresh parameters: of the module, or by name of it and of what is trained with it."""
        x, time_label = jnp.zeros((1, *self.image_shape)), jnp.ones((1,))
        conditions: dict[str, Any] = self.example()
        own = self.module.init(key, x, time_label, **conditions)["params"]
        if not self._trains_others:
            return own
        params = {NETWORK: own, **self.beside}
        if self.encoder is not None and self.encoder.trained:
            params[ENCODER] = self.encoder.init(jax.random.fold_in(key, 1))
        return params

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
