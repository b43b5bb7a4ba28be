"""Which features a verb's metrics compare, from its flags: a network's by a protocol, or a function of the user's."""

import importlib
import sys
from pathlib import Path

from score_jax.convert.dinov2 import find_dinov2
from score_jax.convert.inception import find_inception
from score_jax.errors import InputError
from score_jax.evaluation.dinov2 import NAME, dinov2_extractor
from score_jax.evaluation.features import FeatureExtractor, plain_features
from score_jax.evaluation.inception import inception_extractor
from score_jax.evaluation.protocols import Protocol


def imported(path: str) -> FeatureExtractor:
    """A function from uint8 images (b, h, w, c) to vectors (b, d), by its import path, `module:function`.

    Raises:
      InputError: there is none.
    """
    module, _, name = path.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        return plain_features(name, getattr(importlib.import_module(module), name))
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(
            f"--features={path}: {error}. Expected module:function that Python can import from this folder."
        ) from None


def of_protocol(
    protocol: Protocol, *, inception_weights: str | None, dinov2_weights: str | None, allow_other: bool
) -> FeatureExtractor:
    """The features of a protocol.

    Args:
      protocol: of the numbers.
      inception_weights: file of the FID Inception; None: where the environment says.
      dinov2_weights: file or folder of DINOv2; None: where the environment says.
      allow_other: take other weights than the evaluators', with a warning.

    Raises:
      InputError: the network's weights are not found, or are others.
    """
    if protocol.network == "inception":
        return inception(protocol, inception_weights, allow_other=allow_other)
    found = find_dinov2(Path(dinov2_weights) if dinov2_weights else None, allow_other=allow_other)
    if found.name != NAME:
        print(f"Warning: these numbers are of {found.name}. Do not compare them with published ones of {NAME}.")
    return dinov2_extractor(found, protocol)


def inception(protocol: Protocol, weights: str | None, *, allow_other: bool) -> FeatureExtractor:
    """The FID Inception under a protocol.

    Raises:
      InputError: its weights are not found, or are not the published ones.
    """
    found = find_inception(Path(weights) if weights else None, allow_other=allow_other)
    if not found.published:
        print(
            f"Warning: these are not the published weights (sha256 {found.sha256[:16]}). Do not compare this FID with "
            "published ones."
        )
    return inception_extractor(found, protocol)
