"""What a model of codes says: how likely each value of the next code is, of those before it."""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from score_jax.models.network import Network
from score_jax.prediction.predictor import Conditions
from score_jax.typing import Batch, Params

Logits = Float[Array, "b buckets"]


@dataclasses.dataclass(frozen=True)
class CodeModel:
    """A model of codes with its parameters, as functions of conditions.

    Attributes:
      logits: `logits(x0, conditions)` (b, k, n) of all codes x0 (b, 1, 1, k) at once, each from those before it.
      begin: `begin(conditions) -> (logits, memory)` of the first code.
      go_on: `go_on(code, memory, conditions) -> (logits, memory)` of the code after `code` (b,); what is computed of
        those before it is in the memory.
      evaluations: of the network for each code.
    """

    logits: Callable[[Batch, Conditions], Float[Array, "b k buckets"]]
    begin: Callable[[Conditions], tuple[Logits, PyTree]]
    go_on: Callable[[Int[Array, "b"], PyTree, Conditions], tuple[Logits, PyTree]]
    evaluations: int = 1


def of_network(network: Network, params: Params) -> CodeModel:
    """Returns the model of a network such as `AutoregressivePrior`."""
    call = functools.partial(network.call, params)

    def go_on(code: Int[Array, "b"], memory: PyTree, conditions: Conditions) -> tuple[Logits, PyTree]:
        return call("go_on", code, memory, context_mask=conditions.get("context_mask"))

    return CodeModel(
        logits=lambda x0, conditions: network.apply(params, x0, jnp.zeros(len(x0)), **conditions),
        begin=lambda conditions: call("begin", **conditions),
        go_on=go_on,
    )


def log_prob(model: CodeModel, x0: Batch, conditions: Conditions) -> Float[Array, "b"]:
    """The log-probability of codes x0 (b, 1, 1, k), nats: exact, as each is one of few values given those before it."""
    codes = x0.reshape(len(x0), -1).astype(jnp.int32)
    each = jax.nn.log_softmax(model.logits(x0, conditions))
    return jnp.take_along_axis(each, codes[..., None], axis=-1)[..., 0].sum(axis=-1)
