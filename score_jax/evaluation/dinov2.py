"""The features behind FD-DINOv2 (Stein et al. 2023, arXiv 2306.04675): images to DINOv2's input and through it."""

import dataclasses
from typing import Literal

import numpy as np
from jaxtyping import Array, Float

from score_jax.evaluation.features import FeatureExtractor, network_features
from score_jax.evaluation.input_rule import InputRule, normalising
from score_jax.evaluation.patches import padded_to, resized_positions, whole_patches
from score_jax.evaluation.protocols import Protocol
from score_jax.evaluation.resize import Matrix, pillow_matrix, torch_bicubic_matrix
from score_jax.models.scorers.dinov2 import PATCH, DINOv2, architecture_of
from score_jax.typing import Params

SIZE = 224
"""Height and width of what the evaluators show it."""
ARCHITECTURE = "vitl14"
"""What the evaluators' numbers are of."""
NAME = "dinov2"
"""Of its features, where the network is that one."""
Code = Literal["hub", "transformers", "timm"]
_HUB_OFFSET = 0.1


@dataclasses.dataclass(frozen=True, eq=False)
class DINOv2Weights:
    """A network and its parameters.

    Attributes:
      module: the Linen module.
      params: its parameters.
      sha256: of the published tensors, whatever file they came in.
    """

    module: DINOv2
    params: Params
    sha256: str

    @property
    def name(self) -> str:
        """Of its features: "dinov2" of ViT-L/14, such as "dinov2_vitb14_reg" of others, so that a number says it."""
        architecture = architecture_of(self.module)
        return NAME if architecture == ARCHITECTURE else f"{NAME}_{architecture or 'other'}"


def _position_matrix(length: int, out: int, registers: bool, code: Code) -> Matrix:
    """From one side of the grid of position embeddings to that of another size, as a code resizes them bicubically.

    With registers there is antialias, without there is none but in timm. Facebook's hub then steps by length / (out +
    0.1), transformers by length / out.
    """
    if length == out:
        return np.eye(length)
    if registers or code == "timm":
        return pillow_matrix(length, out)
    return torch_bicubic_matrix(length, out, length / (out + _HUB_OFFSET) if code == "hub" else None)


def at_size(weights: DINOv2Weights, image_size: int, code: Code = "hub") -> DINOv2Weights:
    """Returns the network for square images of another size: its position embeddings are resized, once and for all.

    Args:
      weights: for images of the size that they were published for.
      image_size: wanted, a multiple of 14.
      code: whose features they are to give: "hub", facebookresearch/dinov2's, which most evaluators run,
        "transformers" or "timm", which differ where there are no registers.
    """
    module = weights.module
    sides = module.image_size // PATCH, image_size // PATCH
    matrix = _position_matrix(*sides, module.registers > 0, code)
    resized = resized_positions(weights.params["position"], matrix, 1)
    return DINOv2Weights(module.clone(image_size=image_size), {**weights.params, "position": resized}, weights.sha256)


def input_rule(protocol: Protocol) -> InputRule:
    """Returns what the network sees of an image, over ImageNet's mean and standard deviation."""
    return normalising(protocol.size or SIZE, protocol.resize)


def dinov2_extractor(weights: DINOv2Weights, protocol: Protocol) -> FeatureExtractor:
    """The features of a protocol: the token of the whole image after the last norm.

    At the evaluators' size it is as the hub computes it; at another one as timm does, with zeros behind the last rows
    and columns for whole patches.
    """
    size = protocol.size or SIZE
    whole = whole_patches(size, PATCH)
    seen = at_size(weights, whole, "hub" if protocol.size is None else "timm")

    def apply(params: Params, images: Float[Array, "b s s 3"]) -> dict[str, Float[Array, "b _"]]:
        features = seen.module.apply({"params": params}, padded_to(images, whole))
        assert not isinstance(features, tuple)
        return {"features": features}

    return network_features(weights.name, apply, input_rule(protocol), seen.params, weights.sha256)
