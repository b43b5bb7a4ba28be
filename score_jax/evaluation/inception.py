"""The features behind FID: images to Inception's input and through it."""

import dataclasses

import numpy as np
from jaxtyping import Array, Float

from score_jax.evaluation.features import FeatureExtractor, network_features
from score_jax.evaluation.input_rule import InputRule
from score_jax.evaluation.protocols import Protocol
from score_jax.evaluation.resize import Resize
from score_jax.models.scorers.inception import FIDInception
from score_jax.typing import Params

SIZE = 299
"""Height and width of what the network sees."""


@dataclasses.dataclass(frozen=True, eq=False)
class InceptionWeights:
    """The network's parameters.

    Attributes:
      params: of `models.inception.FIDInception`.
      sha256: of the published file they came from.
      published: whether that is the file that all evaluators use.
    """

    params: Params
    sha256: str
    published: bool


def input_rule(how: Resize, centre: float) -> InputRule:
    """What the network sees: (x - centre) / centre of levels 0 to 255, at 299 x 299."""
    return InputRule(SIZE, how, (centre,), (centre,))


def logits(params: Params, pool3: Float[np.ndarray, "n 2048"], biased: bool) -> Float[np.ndarray, "n 1008"]:
    """Returns the class scores of pool3, in float64; the Inception Score has them without the bias."""
    found = pool3.astype(np.float64) @ np.asarray(params["fc_kernel"], np.float64)
    return found + np.asarray(params["fc_bias"], np.float64) if biased else found


def inception_extractor(weights: InceptionWeights, protocol: Protocol) -> FeatureExtractor:
    """The features of a protocol: pool3 and, where it has sFID, the flattened maps, rows first, channels last."""

    def apply(params: Params, images: Float[Array, "b 299 299 3"]) -> dict[str, Float[Array, "b _"]]:
        layers = FIDInception().apply({"params": params}, images)
        assert isinstance(layers, dict)
        spatial = {"spatial": layers["spatial"].reshape(len(images), -1)} if protocol.spatial else {}
        return {"features": layers["pool3"], **spatial}

    return network_features(
        "",
        apply,
        input_rule(protocol.resize, protocol.centre),
        weights.params,
        weights.sha256,
        lambda features, biased: logits(weights.params, features, biased),
    )
