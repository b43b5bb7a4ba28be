"""VGG16's second hidden layer, by which torch-fidelity measures precision and recall (Kynkaanniemi et al. 2019)."""

import dataclasses

from jaxtyping import Array, Float

from score_jax.evaluation.features import FeatureExtractor, network_features
from score_jax.evaluation.input_rule import normalising
from score_jax.evaluation.protocols import Protocol
from score_jax.models.scorers.vgg16 import SIZE, VGG16Hidden
from score_jax.typing import Params

NAME = "vgg16"
"""Of its features."""


@dataclasses.dataclass(frozen=True, eq=False)
class VGG16Weights:
    """A network and its parameters.

    Attributes:
      module: the Linen module.
      params: its parameters.
      sha256: of the published file they came from.
      published: whether that is torchvision's, which all evaluators use.
    """

    module: VGG16Hidden
    params: Params
    sha256: str
    published: bool


def vgg16_extractor(weights: VGG16Weights, protocol: Protocol) -> FeatureExtractor:
    """The features of a protocol: the second hidden layer after its ReLU, torch-fidelity's `fc2_relu`."""

    def apply(params: Params, images: Float[Array, "b s s 3"]) -> dict[str, Float[Array, "b _"]]:
        features = weights.module.apply({"params": params}, images)
        assert not isinstance(features, tuple)
        return {"features": features}

    return network_features(NAME, apply, normalising(SIZE, protocol.resize), weights.params, weights.sha256)
