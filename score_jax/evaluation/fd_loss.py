"""The features of FD-loss (Yang et al. 2026, arXiv 2604.28190): of six networks, whose Frechet distances are averaged.

Inception's and DINOv2's are in files of their own; here are those of MAE, SigLIP 2, ConvNeXt V2 and CLIP. Each is what
the authors take of timm's network of that name, in float32, where they compute in bfloat16.
"""

from jaxtyping import Array, Float

from score_jax.evaluation.clip import CLIPVisionWeights
from score_jax.evaluation.features import FeatureExtractor, network_features
from score_jax.evaluation.input_rule import PerChannel, normalising
from score_jax.evaluation.patches import padded_to, resized_positions, whole_patches
from score_jax.evaluation.protocols import Protocol
from score_jax.evaluation.resize import pillow_matrix
from score_jax.evaluation.scorer import Scorer
from score_jax.models.clip.clip_input import MEAN, STD
from score_jax.models.scorers import vit
from score_jax.typing import Params

CLIP_ARCHITECTURE = "vitl14"
"""Of OpenAI's CLIPs."""
CLIP_NAME = f"clip_{CLIP_ARCHITECTURE}"
"""Of its features."""
_HALF: PerChannel = (0.5, 0.5, 0.5)


def _side(protocol: Protocol) -> int:
    assert protocol.size is not None, "every protocol of FD-loss but Inception's has one"
    return protocol.size


def vit_extractor(scorer: Scorer, protocol: Protocol) -> FeatureExtractor:
    """MAE's token of the whole image after the last norm, or what SigLIP 2's learned query makes of all tokens."""
    size, module = _side(protocol), scorer.module
    matrix = pillow_matrix(module.image_size // vit.PATCH, size // vit.PATCH)
    sized = module.clone(image_size=size)
    params = {**scorer.params, "position": resized_positions(scorer.params["position"], matrix, module.first)}

    def apply(params: Params, images: Float[Array, "b s s 3"]) -> dict[str, Float[Array, "b _"]]:
        return {"features": sized.apply({"params": params}, images)}

    rule = normalising(size, protocol.resize, _HALF, _HALF) if module.pooled else normalising(size, protocol.resize)
    return network_features(scorer.name, apply, rule, params, scorer.sha256)


def convnext_extractor(scorer: Scorer, protocol: Protocol) -> FeatureExtractor:
    """The mean of ConvNeXt V2's last map over its places, without the norm that follows."""

    def apply(params: Params, images: Float[Array, "b s s 3"]) -> dict[str, Float[Array, "b _"]]:
        return {"features": scorer.module.apply({"params": params}, images)}

    rule = normalising(_side(protocol), protocol.resize)
    return network_features(scorer.name, apply, rule, scorer.params, scorer.sha256)


def clip_token_name(weights: CLIPVisionWeights) -> str:
    """Returns what the features are called: "clip_vitl14" of the authors' network."""
    return f"clip_{weights.architecture or 'other'}"


def clip_token_extractor(weights: CLIPVisionWeights, protocol: Protocol) -> FeatureExtractor:
    """CLIP's token of the whole image after the last norm, before the projection.

    The authors' name of timm's network is the one with the exact GELU, although OpenAI trained with its approximation
    x sigmoid(1.702 x); and 256 pixels are 19 patches of 14, the last of which end with zeros.
    """
    size, module = _side(protocol), weights.module
    whole = whole_patches(size, module.patch)
    matrix = pillow_matrix(module.image_size // module.patch, whole // module.patch)
    sized = module.clone(image_size=whole, activation="gelu")
    params = {**weights.params, "position": resized_positions(weights.params["position"], matrix, 1)}

    def apply(params: Params, images: Float[Array, "b s s 3"]) -> dict[str, Float[Array, "b _"]]:
        features = sized.apply({"params": params}, padded_to(images, whole), method="pooled")
        assert not isinstance(features, tuple)
        return {"features": features}

    rule = normalising(size, protocol.resize, MEAN, STD)
    return network_features(clip_token_name(weights), apply, rule, params, weights.sha256)
