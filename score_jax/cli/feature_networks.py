"""The flags of the networks that measure, for verbs with absl's flags and with argparse's."""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags

from score_jax.errors import InputError
from score_jax.evaluation.features import FeatureExtractor
from score_jax.evaluation.protocols import Protocol
from score_jax.jobs.extractors import NETWORKS, of_protocols

_ALLOW = "allow_other_weights"
_ALLOWED = "accept weights that are not the published ones"
_HELP = {
    f"{name}_weights": f"{network.weights}; by default $SCORE_JAX_{name.upper()}" for name, network in NETWORKS.items()
}
NETWORK_FLAGS = (*_HELP, _ALLOW)
"""Their names."""


def define_networks(values: flags.FlagValues) -> None:
    """Adds the flags."""
    for name, text in _HELP.items():
        flags.DEFINE_string(name, None, f"{text[0].upper()}{text[1:]}.", flag_values=values)
    flags.DEFINE_bool(_ALLOW, False, f"{_ALLOWED.capitalize()}.", flag_values=values)


def add_networks(parser: argparse.ArgumentParser) -> None:
    """Adds the flags."""
    for name, text in _HELP.items():
        parser.add_argument(f"--{name}", help=text)
    parser.add_argument(f"--{_ALLOW}", action="store_true", help=_ALLOWED)


def weights_given(values: Mapping[str, Any]) -> dict[str, str | None]:
    """Returns the values of the flags by the names of the networks."""
    return {name: values[f"{name}_weights"] for name in NETWORKS}


def check_features_alone(protocol: str | None, features: str | None) -> None:
    """Raises InputError where a protocol, which has its own features, is given beside features."""
    if protocol is not None and features:
        raise InputError(
            f"--protocol={protocol} measures a network's features, and --features={features} replaces them: leave one "
            "of the two out."
        )


def extractors_given(protocols: Sequence[Protocol], values: Mapping[str, Any]) -> list[FeatureExtractor]:
    """Returns the features of each protocol, with the weights that the flags name.

    Raises:
      InputError: see `of_protocols`.
    """
    return of_protocols(protocols, weights_given(values), allow_other=values[_ALLOW])
