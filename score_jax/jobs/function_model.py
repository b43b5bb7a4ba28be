"""Any function as a model: `function(x, t)` that gives eps, x0, v, the velocity or the score of a process."""

import dataclasses
import functools
import hashlib
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float

from score_jax.builder.likelihood import flow_of, ode_of
from score_jax.builder.likelihood_options import Exact
from score_jax.builder.model_facts import ModelFacts
from score_jax.builder.processes import PROCESSES
from score_jax.codecs.codec import Codec
from score_jax.errors import InputError
from score_jax.prediction.predictor import ConditionalPredictor, Conditions, network_predictor
from score_jax.processes.chain import Chain
from score_jax.processes.gaussian import NoiseSchedule
from score_jax.runtime.sharding import replicated
from score_jax.samplers.ode import ODE
from score_jax.typing import Batch, Image, Params, Time

TimeConvention = str | Callable[[Time], Time] | None
"""What number a model is given as its time: the process's t (None), a key of `time_labels.LABELS`, a function of t."""
LABEL = jax.ShapeDtypeStruct((), jnp.int32)
"""What a model of labels is given of an example beside x and its time."""
_PROBES = 4


def split_arrays(function: Callable[..., Any]) -> tuple[list[Array], Callable[..., Any]]:
    """Returns the arrays of a function that is a pytree, and `apply(arrays, *arguments)`, the function with other ones.

    Modules of NNX and Equinox are such, and `jax.tree_util.Partial(module.apply, params)` of Linen. Of any other
    function there are none, and arrays that it closes over are constants of its programs.
    """
    leaves, structure = jax.tree.flatten(function)
    ours = [isinstance(leaf, jax.Array | np.ndarray) for leaf in leaves]

    def apply(arrays: list[Array], *arguments: Any) -> Any:
        given = iter(arrays)
        filled = [next(given) if own else leaf for leaf, own in zip(leaves, ours, strict=True)]
        return jax.tree.unflatten(structure, filled)(*arguments)

    return [jnp.asarray(leaf) for leaf, own in zip(leaves, ours, strict=True) if own], apply


@dataclasses.dataclass(frozen=True, eq=False)
class FunctionModel:
    """A function with what a sampler and a likelihood must know of it.

    Attributes:
      apply: `apply(params, x, time)`, or of a model with conditions `apply(params, x, time, conditions)`.
      process: that x comes from.
      output: what the function gives, a key of `prediction.predictor.OUTPUTS`.
      time: what number it is given as its time.
      codec: between data and x0.
      shape: of an example, as the function has it.
      given: of one example what the function is given beside x and its time, as shapes and dtypes: `LABEL`, or any
        pytree of them; None: nothing.
      options: of its likelihood; None of a model that is only sampled.
      network_dtype: "as the function has it".
    """

    apply: Callable[..., Array]
    process: NoiseSchedule
    output: str
    time: TimeConvention
    codec: Codec
    shape: tuple[int, ...]
    given: Any = None
    options: Exact | None = None
    network_dtype: str = "as the function has it"

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Of an example: (h, w, c); of data of no image's shape (1, 1, d)."""
        height, width, channels = self.shape if len(self.shape) == 3 else (1, 1, math.prod(self.shape))
        return height, width, channels

    @property
    def conditional(self) -> bool:
        """Whether it is given anything beside x and its time."""
        return self.given is not None

    @property
    def label(self) -> str:
        """The key of `LABELS`: of a function of time, that of t itself."""
        return self.time if isinstance(self.time, str) else "index"

    @property
    def facts(self) -> ModelFacts:
        """What a sampler and a likelihood must know of the model."""
        return ModelFacts(self.process, section_of(self.process), self.codec, self.output, self.label)

    @property
    def likelihood(self) -> Any:
        """The options."""
        return self.options

    def exact(self) -> Exact:
        """The options, which are those of the ODE."""
        assert self.options is not None
        return self.options

    def in_continuous_time(self) -> "FunctionModel":
        """The same model under the process whose probability flow it has: its own, or its chain interpolated.

        Raises:
          InputError: the model has no score between the levels of its chain.
        """
        return dataclasses.replace(self, process=flow_of(self.facts))

    def ode(self, *, closer: bool = False) -> ODE:
        """How the ODE is solved."""
        return ode_of(self.exact(), closer=closer)

    def codec_with(self, params: Params) -> Codec:
        """The codec, which has no parameters."""
        return self.codec

    def conditions(self, params: Params, batch: Mapping[str, Array], x0: Image | None = None) -> Conditions:
        """The labels of a batch, of a model that takes them."""
        return batch["label"] if self.conditional else None

    def _given(self, count: int) -> list[Any]:
        """What it is given of so many examples beside x and its time, as an argument if it is: shapes and dtypes."""
        if self.given is None:
            return []
        return [jax.tree.map(lambda one: jax.ShapeDtypeStruct((count, *one.shape), one.dtype), self.given)]

    def predictor(self, params: Params) -> ConditionalPredictor:
        """The model with its parameters: `predictor(x, t)`, or with conditions `predictor(x, t, conditions)`.

        Raises:
          InputError: there is no such output or time.
        """

        def network(params: Params, x: Batch, t: Time, given: Any = None) -> Array:
            time = self.time(t) if callable(self.time) else t
            found = self.apply(params, x.reshape(-1, *self.shape), time, *([] if given is None else [given]))
            return found if len(self.shape) == 3 else found.reshape(x.shape)

        predict = functools.partial(
            network_predictor(network, self.process, output=self.output, label=self.label), params
        )
        return lambda x, t, given=None: predict(x, t, given=given)

    def check(self, params: Params) -> None:
        """Raises InputError where the function does not give one number for each of x (or twice the channels)."""
        x, t = jax.ShapeDtypeStruct((2, *self.shape), jnp.float32), jax.ShapeDtypeStruct((2,), jnp.float32)
        found = jax.eval_shape(self.apply, params, x, t, *self._given(2))
        shape, twice = getattr(found, "shape", None), (*x.shape[:-1], 2 * x.shape[-1])
        if shape not in (x.shape, twice):
            raise InputError(
                f"The model gives {getattr(found, 'shape', type(found).__name__)} for x of shape {x.shape} and times "
                "(2,): expected a batch like x. Of a function of one example give jax.vmap of it."
            )

    def identity(self, params: Params, mesh: Mesh) -> dict[str, Any]:
        """What tells this model from others, JSON-able: what it predicts of a few fixed x at a few times."""
        flow = self.in_continuous_time()

        def predicted(params: Params) -> Float[Array, "n ..."]:
            x = jax.random.normal(jax.random.key(0), (_PROBES, *self.image_shape))
            t = jnp.linspace(0.1, 0.9, _PROBES) * flow.process.t_max
            zeros = jax.tree.map(lambda given: jnp.zeros(given.shape, given.dtype), self._given(_PROBES))
            return flow.predictor(params)(x, t, *zeros).eps

        found = np.asarray(jax.jit(predicted, out_shardings=replicated(mesh))(params))
        digest = hashlib.sha256(np.ascontiguousarray(found).tobytes()).hexdigest()
        return {"predictions": digest[:16], "output": self.output, "time": _named(self.time)} | process_facts(
            self.process
        )


def _named(time: TimeConvention) -> str:
    return "a function of t" if callable(time) else time or "t"


def section_of(process: NoiseSchedule) -> dict[str, Any]:
    """Returns the section of a config that stands for a process, as far as its name."""
    if isinstance(process, Chain):
        return {"name": "vp_chain" if bool(jnp.any(process.log_alphas != 0)) else "ve_chain"}
    known = {made: name for name, made in PROCESSES.items()}
    return {"name": known.get(type(process), type(process).__name__)}


def process_facts(process: NoiseSchedule) -> dict[str, Any]:
    """Returns what tells a process from others, JSON-able."""
    leaves = [np.asarray(leaf, float).tolist() for leaf in jax.tree.leaves(process)]
    return {"process": section_of(process)["name"], "process_numbers": leaves, "t_max": float(process.t_max)}


def function_model(
    function: Any,
    process: Any,
    shape: tuple[int, ...],
    codec: Codec,
    mesh: Mesh,
    *,
    output: str,
    time: TimeConvention,
    given: Any = None,
    options: Exact | None = None,
) -> tuple[FunctionModel, Params]:
    """Returns a function as a model, after a check of what it gives, and its parameters on all devices.

    Args:
      function: `function(x, t)`, or with conditions `function(x, t, conditions)`.
      process: that x comes from.
      shape: of an example.
      codec: between data and x0.
      mesh: all devices.
      output: what the function gives, a key of `OUTPUTS`.
      time: what number it is given as its time.
      given: as of `FunctionModel`.
      options: of its likelihood.

    Raises:
      InputError: there is no such output or time, or the function gives something else than a batch like x.
    """
    if not callable(function):
        raise InputError(f"The model is {type(function).__name__}: expected a function model(x, t).")
    if not isinstance(process, NoiseSchedule):
        raise InputError(f"The process is {type(process).__name__}: expected one such as score_jax.VP().")
    arrays, apply = split_arrays(function)
    model = FunctionModel(apply, process, output, time, codec, shape, given, options)
    model.predictor(arrays)
    model.check(arrays)
    return model, jax.device_put(arrays, replicated(mesh))
