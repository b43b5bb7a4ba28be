"""The `prediction` section: what the network outputs and is given as its time, or the name of its preconditioning."""

from collections.abc import Callable
from typing import Any

from jaxtyping import Array
from ml_collections import ConfigDict

from score_jax.builder.naming import construct
from score_jax.builder.options import Values, check_type
from score_jax.errors import InputError, unknown_name
from score_jax.models.network import Network
from score_jax.prediction.preconditioning import PRECONDITIONINGS
from score_jax.prediction.predictor import (
    OUTPUTS,
    Prediction,
    classifier_logits,
    network_predictor,
    preconditioned_predictor,
)
from score_jax.prediction.time_labels import LABELS
from score_jax.processes.gaussian import NoiseSchedule

VALUES = {
    **dict.fromkeys(("sigma_data", "sigma_max", "beta_d", "beta_min", "epsilon_t"), Values(above=0.0)),
    **dict.fromkeys(("sigma_min", "u"), Values(least=0.0)),
    **dict.fromkeys(("C_1", "C_2"), Values(above=0.0, below=1.0)),
    "M": Values(least=1),
}
"""Values that arguments of preconditionings may have."""
CHOICES = {"output": Values(one_of=tuple(OUTPUTS)), "label": Values(one_of=tuple(LABELS))}
"""What a network without a preconditioning may output and be given as its time."""


def build_predict(config: ConfigDict, network: Network, process: NoiseSchedule) -> Callable[..., Prediction]:
    """Builds `predict(params, x, t, **conditions)` of a generative model.

    Raises:
      InputError: a name or a key is unknown or missing, or a value is not possible.
    """
    values = config.prediction.to_dict()
    if "preconditioning" not in values:
        return network_predictor(network.apply, process, **_chosen(values))
    preconditioning = construct("prediction", PRECONDITIONINGS, values, VALUES, name_key="preconditioning")
    return preconditioned_predictor(network.apply, process, preconditioning)


def build_logits(config: ConfigDict, network: Network, process: NoiseSchedule) -> Callable[..., Array]:
    """`logits(params, x, t)` of a classifier, which is given the same numbers as the model that it guides.

    Raises:
      InputError: a key is unknown or missing, or a value is not possible.
    """
    label = _chosen({"output": "eps"} | config.prediction.to_dict())["label"]
    return classifier_logits(network.apply, process, label=label)


def _chosen(values: dict[str, Any]) -> dict[str, Any]:
    """The values of `output` and `label`, after their checks."""
    for key, value in values.items():
        if key not in CHOICES:
            raise unknown_name("key of prediction:", key, (*CHOICES, "preconditioning"))
        check_type(f"prediction.{key}", value, str)
        CHOICES[key].check(f"prediction.{key}", value)
    for key in CHOICES:
        if key not in values:
            raise InputError(
                f"prediction.{key} is missing: give one of {', '.join(sorted(CHOICES[key].one_of or ()))}."
            )
    return values
