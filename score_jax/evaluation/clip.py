"""The features behind CMMD (Jayasumana et al. 2024, arXiv 2401.09603): CLIP's embeddings of images, of length 1."""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from score_jax.evaluation.features import FeatureExtractor, network_features
from score_jax.evaluation.input_rule import InputRule, normalising
from score_jax.evaluation.protocols import Protocol
from score_jax.models.clip.clip_input import MEAN, STD
from score_jax.models.clip.clip_vision import VisionTransformer
from score_jax.typing import Params

NAME = "clip"
"""Of the features of the network that CMMD is of."""
ARCHITECTURE = "vitl14_336"
"""What that network is called."""
_ARCHITECTURES = {
    "vitb32": (768, 12, 32, 224),
    "vitb16": (768, 12, 16, 224),
    "vitl14": (1024, 24, 14, 224),
    ARCHITECTURE: (1024, 24, 14, 336),
}
"""Width, layers, patch and image size of OpenAI's transformers."""


@dataclasses.dataclass(frozen=True, eq=False)
class CLIPVisionWeights:
    """A CLIP's tower of images and its parameters.

    Attributes:
      module: the Linen module.
      params: its parameters.
      sha256: of the published tensors, whatever file they came in.
    """

    module: VisionTransformer
    params: Params
    sha256: str

    @property
    def architecture(self) -> str | None:
        """What OpenAI's network is called; None of any other."""
        module = self.module
        found = (module.width, module.layers, module.patch, module.image_size)
        return next((name for name, known in _ARCHITECTURES.items() if known == found), None)

    @property
    def name(self) -> str:
        """Of its features: "clip" of ViT-L/14 at 336 pixels, such as "clip_vitb32" of others: a number says it."""
        return NAME if self.architecture == ARCHITECTURE else f"{NAME}_{self.architecture or 'other'}"


def input_rule(module: VisionTransformer, protocol: Protocol) -> InputRule:
    """Returns what the network sees: the square in the middle of an image, over its data's mean and deviation."""
    return normalising(module.image_size, protocol.resize, MEAN, STD, crop=True)


def clip_extractor(weights: CLIPVisionWeights, protocol: Protocol) -> FeatureExtractor:
    """The features of a protocol: the embeddings of images, over their lengths."""

    def apply(params: Params, images: Float[Array, "b s s 3"]) -> dict[str, Float[Array, "b _"]]:
        features = weights.module.apply({"params": params}, images)
        assert not isinstance(features, tuple)
        return {"features": features / jnp.linalg.norm(features, axis=-1, keepdims=True)}

    return network_features(weights.name, apply, input_rule(weights.module, protocol), weights.params, weights.sha256)
