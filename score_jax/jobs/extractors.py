"""Which features metrics compare: Inception's by a protocol, or a function of the user's, by its name too."""

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from score_jax.convert.inception import find_inception
from score_jax.errors import InputError
from score_jax.evaluation.features import FeatureExtractor, plain_features
from score_jax.evaluation.inception import inception_extractor
from score_jax.evaluation.protocols import PLAIN, Protocol, protocol_of


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
    return extractor_of(imported(path, "features"))


def extractor_of(features: Callable[..., Any]) -> FeatureExtractor:
    """Returns the extractor of a function from uint8 images (b, h, w, c) to vectors (b, d), named as it is."""
    name = getattr(features, "__name__", type(features).__name__)
    return plain_features(name if name.isidentifier() else "features", features)


def inception(protocol: Protocol, weights: str | None, *, allow_other: bool) -> FeatureExtractor:
    """Returns the FID Inception under a protocol.

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


def measured_by(
    protocol: str | None, features: Callable[..., Any] | None, weights: str | None, *, allow_other: bool
) -> tuple[Protocol, FeatureExtractor]:
    """Returns the protocol of this name with Inception's features, or of None the plain one with the given features.

    Args:
      protocol: a key of `PROTOCOLS`; None: the plain distances of `features`.
      features: a function from uint8 images (b, h, w, c) to vectors (b, d).
      weights: file of Inception's; None: $SCORE_JAX_INCEPTION.
      allow_other: accept weights that are not the published ones.

    Raises:
      InputError: both or neither are given, there is no such protocol, or no weights.
    """
    if protocol is None:
        if features is None:
            raise InputError(
                "protocol=None measures features of yours: give features, a function from uint8 images (b, h, w, c) to "
                "vectors (b, d), or a protocol."
            )
        return PLAIN, extractor_of(features)
    if features is not None:
        raise InputError(f"protocol={protocol!r} measures Inception's features: give protocol=None with your own.")
    found = protocol_of(protocol)
    return found, inception(found, weights, allow_other=allow_other)
