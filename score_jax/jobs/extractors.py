"""Which features metrics compare: a network's by a protocol, or a function of the user's, by its name too."""

import dataclasses
import importlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from score_jax.convert.clip import find_clip, find_clip_224
from score_jax.convert.convnext import CONVNEXT
from score_jax.convert.dinov2 import find_dinov2
from score_jax.convert.inception import find_inception
from score_jax.convert.vgg16 import find_vgg16
from score_jax.convert.vit import MAE, SIGLIP2
from score_jax.errors import InputError, entry_of, quoted
from score_jax.evaluation.clip import NAME as OF_CLIP
from score_jax.evaluation.clip import clip_extractor
from score_jax.evaluation.dinov2 import NAME as OF_DINOV2
from score_jax.evaluation.dinov2 import dinov2_extractor
from score_jax.evaluation.fd_loss import (
    CLIP_NAME,
    clip_token_extractor,
    clip_token_name,
    convnext_extractor,
    vit_extractor,
)
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


@dataclasses.dataclass(frozen=True)
class Network:
    """A network that measures.

    Attributes:
      weights: what its weights are.
      find: `find(path, allow_other=...)` reads them, of no path from where the environment says.
      extractor: of what `find` returned, under a protocol.
      warning: of what `find` returned; "" where published numbers are of the same.
    """

    weights: str
    find: Callable[..., Any]
    extractor: Callable[[Any, Protocol], FeatureExtractor]
    warning: Callable[[Any], str]


def _of_file(numbers: str) -> Callable[[Any], str]:
    """Of a network that is known by the hash of its file."""

    def warning(found: Any) -> str:
        about = f"these are not the published weights (sha256 {found.sha256[:16]}). Do not compare this {numbers}"
        return "" if found.published else f"{about} with published ones."

    return warning


def _of_architecture(name: str, name_of: Callable[[Any], str] = lambda found: found.name) -> Callable[[Any], str]:
    """Of a network that is known by its architecture, whose features are called so."""

    def warning(found: Any) -> str:
        about = f"these numbers are of {name_of(found)}. Do not compare them with published ones of {name}."
        return "" if name_of(found) == name else about

    return warning


NETWORKS = {
    "inception": Network("file of the FID Inception", find_inception, inception_extractor, _of_file("FID")),
    "vgg16": Network("file of VGG16", find_vgg16, vgg16_extractor, _of_file("precision and recall")),
    "dinov2": Network("file or folder of DINOv2", find_dinov2, dinov2_extractor, _of_architecture(OF_DINOV2)),
    "clip": Network("file of CLIP", find_clip, clip_extractor, _of_architecture(OF_CLIP)),
    "clip_224": Network(
        "file of CLIP for 224 pixels", find_clip_224, clip_token_extractor, _of_architecture(CLIP_NAME, clip_token_name)
    ),
    "mae": Network("file of MAE", MAE.find, vit_extractor, _of_architecture(MAE.published)),
    "siglip2": Network("file of SigLIP 2", SIGLIP2.find, vit_extractor, _of_architecture(SIGLIP2.published)),
    "convnextv2": Network(
        "file of ConvNeXt V2", CONVNEXT.find, convnext_extractor, _of_architecture(CONVNEXT.published)
    ),
}


def of_protocols(
    protocols: Sequence[Protocol], weights: Mapping[str, str | Path | None], *, allow_other: bool
) -> list[FeatureExtractor]:
    """Returns the features of each protocol. The weights of a network are read once.

    Args:
      protocols: of the numbers.
      weights: those of `NETWORKS` by their names; None or none: where the environment says.
      allow_other: take other weights than the evaluators', with a warning.

    Raises:
      InputError: a network's weights are not found, or are others.
    """
    for name in weights:
        entry_of(NETWORKS, "weights", name)
    found: dict[str, Any] = {}
    for name in dict.fromkeys(protocol.network for protocol in protocols):
        given = weights.get(name)
        found[name] = NETWORKS[name].find(Path(given) if given else None, allow_other=allow_other)
        if warning := NETWORKS[name].warning(found[name]):
            print(f"Warning: {warning}")
    return [NETWORKS[protocol.network].extractor(found[protocol.network], protocol) for protocol in protocols]


def measured_by(
    names: Sequence[Any],
    features: Any,
    weights: Mapping[str, str | Path | None],
    *,
    allow_other: bool,
) -> list[tuple[Protocol, FeatureExtractor]]:
    """Returns protocols with their networks' features, or of None the plain one with the given features.

    Args:
      names: keys of `PROTOCOLS`, or None alone: the plain distances of `features`.
      features: a function from uint8 images (b, h, w, c) to vectors (b, d).
      weights: as of `of_protocols`.
      allow_other: as of `of_protocols`.

    Raises:
      InputError: both or neither are given, there is no such protocol, or no weights.
    """
    if list(names) == [None]:
        if features is None:
            raise InputError(
                "protocol=None measures features of yours: give features, a function from uint8 images (b, h, w, c) to "
                "vectors (b, d), or a protocol."
            )
        if not callable(features):
            raise InputError(f"features={quoted(features)}: expected a function of images.")
        return [(PLAIN, extractor_of(features))]
    if features is not None:
        shown = names[0] if len(names) == 1 else list(names)
        raise InputError(f"protocol={shown!r} measures a network's features: give protocol=None with your own.")
    for name in names:
        if not isinstance(name, str):
            raise InputError(f"protocol={name!r}: expected the name of one protocol, such as 'adm'.")
    protocols = [protocol_of(name) for name in names]
    return list(zip(protocols, of_protocols(protocols, weights, allow_other=allow_other), strict=True))
