"""Which features metrics compare: a network's by a protocol, or a function of the user's, by its name too."""

import importlib
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from score_jax.convert.clip import find_clip
from score_jax.convert.dinov2 import find_dinov2
from score_jax.convert.inception import find_inception
from score_jax.convert.vgg16 import find_vgg16
from score_jax.errors import InputError, entry_of, quoted
from score_jax.evaluation.clip import NAME as OF_CLIP
from score_jax.evaluation.clip import clip_extractor
from score_jax.evaluation.dinov2 import NAME as OF_DINOV2
from score_jax.evaluation.dinov2 import dinov2_extractor
from score_jax.evaluation.features import FeatureExtractor, plain_features
from score_jax.evaluation.inception import inception_extractor
from score_jax.evaluation.protocols import PLAIN, Protocol, protocol_of
from score_jax.evaluation.vgg16 import vgg16_extractor


def imported(path: str, flag: str) -> Any:
    """Returns what an import path names, `module:name`, as Python finds it from the folder of the command.

    Args:
      path: the path.
      flag: that has it, for messages.

    Raises:
      InputError: there is none.
    """
    module, _, name = path.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(
            f"--{flag}={path}: {error}. Expected module:function that Python can import from this folder."
        ) from None


def imported_maker(path: str, flag: str, arguments: str | None) -> Callable[..., Any]:
    """Returns the function that an import path names or, of arguments, what it returns for them.

    Args:
      path: `module:function`.
      flag: that has it, for messages; that of the arguments is called FLAG_args.
      arguments: a JSON object of keyword arguments; None: the function itself.

    Raises:
      InputError: there is no such function, or the arguments are no JSON object.
    """
    function = imported(path, flag)
    if arguments is not None:
        try:
            given = json.loads(arguments)
        except ValueError as error:
            raise InputError(f"--{flag}_args={arguments}: {error}. Expected a JSON object.") from None
        if not isinstance(given, dict):
            raise InputError(f'--{flag}_args={arguments}: expected a JSON object, such as {{"step": 1000}}.')
        function = function(**given)
    if not callable(function):
        raise InputError(f"--{flag}={path}: expected a function, found {type(function).__name__}.")
    return function


def imported_features(path: str) -> FeatureExtractor:
    """Returns the extractor of a function from uint8 images (b, h, w, c) to vectors (b, d), by its import path.

    Raises:
      InputError: there is none.
    """
    return extractor_of(imported_maker(path, "features", None))


def extractor_of(features: Callable[..., Any]) -> FeatureExtractor:
    """Returns the extractor of a function from uint8 images (b, h, w, c) to vectors (b, d), named as it is."""
    name = getattr(features, "__name__", type(features).__name__)
    return plain_features(name if name.isidentifier() else "features", features)


NETWORKS = {
    "inception": "file of the FID Inception",
    "vgg16": "file of VGG16",
    "dinov2": "file or folder of DINOv2",
    "clip": "file of CLIP",
}
"""Networks that measure, and what their weights are."""


def of_protocol(protocol: Protocol, weights: Mapping[str, str | Path | None], *, allow_other: bool) -> FeatureExtractor:
    """Returns the features of a protocol.

    Args:
      protocol: of the numbers.
      weights: those of `NETWORKS` by their names; None or none: where the environment says.
      allow_other: take other weights than the evaluators', with a warning.

    Raises:
      InputError: the network's weights are not found, or are others.
    """
    for name in weights:
        entry_of(NETWORKS, "weights", name)
    given = weights.get(protocol.network)
    path = Path(given) if given else None
    match protocol.network:
        case "inception":
            return inception(protocol, path, allow_other=allow_other)
        case "vgg16":
            return vgg16(protocol, path, allow_other=allow_other)
        case "dinov2":
            return dinov2(protocol, path, allow_other=allow_other)
        case "clip":
            return clip(protocol, path, allow_other=allow_other)


def inception(protocol: Protocol, weights: Path | None, *, allow_other: bool) -> FeatureExtractor:
    """Returns the FID Inception under a protocol.

    Raises:
      InputError: its weights are not found, or are not the published ones.
    """
    found = find_inception(weights, allow_other=allow_other)
    _warn_of_other(found.published, found.sha256, "FID")
    return inception_extractor(found, protocol)


def vgg16(protocol: Protocol, weights: Path | None, *, allow_other: bool) -> FeatureExtractor:
    """Returns VGG16 under a protocol.

    Raises:
      InputError: its weights are not found, or are not the published ones.
    """
    found = find_vgg16(weights, allow_other=allow_other)
    _warn_of_other(found.published, found.sha256, "precision and recall")
    return vgg16_extractor(found, protocol)


def dinov2(protocol: Protocol, weights: Path | None, *, allow_other: bool) -> FeatureExtractor:
    """Returns DINOv2 under a protocol.

    Raises:
      InputError: its weights are not found, or are of another network than the evaluators'.
    """
    found = find_dinov2(weights, allow_other=allow_other)
    _warn_of_network(found.name, OF_DINOV2)
    return dinov2_extractor(found, protocol)


def clip(protocol: Protocol, weights: Path | None, *, allow_other: bool) -> FeatureExtractor:
    """Returns CLIP's tower of images under a protocol.

    Raises:
      InputError: its weights are not found, or are of another network than the authors'.
    """
    found = find_clip(weights, allow_other=allow_other)
    _warn_of_network(found.name, OF_CLIP)
    return clip_extractor(found, protocol)


def _warn_of_network(name: str, published: str) -> None:
    if name != published:
        print(f"Warning: these numbers are of {name}. Do not compare them with published ones of {published}.")


def _warn_of_other(published: bool, sha256: str, numbers: str) -> None:
    if not published:
        print(
            f"Warning: these are not the published weights (sha256 {sha256[:16]}). Do not compare this {numbers} with "
            "published ones."
        )


def measured_by(
    protocol: Any,
    features: Any,
    weights: Mapping[str, str | Path | None],
    *,
    allow_other: bool,
) -> tuple[Protocol, FeatureExtractor]:
    """Returns the protocol of this name with its network's features, or of None the plain one with the given features.

    Args:
      protocol: a key of `PROTOCOLS`; None: the plain distances of `features`.
      features: a function from uint8 images (b, h, w, c) to vectors (b, d).
      weights: as of `of_protocol`.
      allow_other: as of `of_protocol`.

    Raises:
      InputError: both or neither are given, there is no such protocol, or no weights.
    """
    if protocol is None:
        if features is None:
            raise InputError(
                "protocol=None measures features of yours: give features, a function from uint8 images (b, h, w, c) to "
                "vectors (b, d), or a protocol."
            )
        if not callable(features):
            raise InputError(f"features={quoted(features)}: expected a function of images.")
        return PLAIN, extractor_of(features)
    if features is not None:
        raise InputError(f"protocol={protocol!r} measures a network's features: give protocol=None with your own.")
    if not isinstance(protocol, str):
        raise InputError(f"protocol={protocol!r}: expected the name of one protocol, such as 'adm'.")
    found = protocol_of(protocol)
    return found, of_protocol(found, weights, allow_other=allow_other)
