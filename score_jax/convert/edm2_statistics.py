"""EDM2's files of reference statistics, such as img512.pkl: FID's and FD-DINOv2's of one data set."""

from pathlib import Path
from typing import Any

import numpy as np

from score_jax.convert.readers import read_checkpoint
from score_jax.errors import InputError, named, quoted
from score_jax.evaluation.dinov2 import NAME
from score_jax.evaluation.feature_set import FeatureSet
from score_jax.evaluation.protocols import PROTOCOLS, Protocol
from score_jax.evaluation.statistics import Moments, checked_statistics

_KEYS = {"inception": ("fid", PROTOCOLS["edm"]), "dinov2": ("fd_dinov2", PROTOCOLS["edm2_dinov2"])}
"""What EDM2 calls a network's statistics, and the protocol that they are by."""


def read_edm2_statistics(path: Path, protocol: Protocol) -> FeatureSet:
    """The moments of the protocol's network; nothing in the file is executed.

    Raises:
      InputError: the file cannot be read, has no such statistics, or they are no moments.
    """
    if protocol.network not in _KEYS:
        raise InputError(
            f"{path}: EDM2's statistics are of Inception and DINOv2, and the protocol {protocol.name!r} is of "
            f"{protocol.network}: give an .npz file of statistics, or images."
        )
    tree: Any = read_checkpoint(path)
    key, made_by = _KEYS[protocol.network]
    found = tree.get(key) if isinstance(tree, dict) else None
    mu, sigma = (found.get(name) if isinstance(found, dict) else None for name in ("mu", "sigma"))
    if not isinstance(mu, np.ndarray) or not isinstance(sigma, np.ndarray):
        held = ", ".join(named(str(name)) for name in list(tree)[:8]) if isinstance(tree, dict) else "no dictionary"
        raise InputError(f"{path} holds {held}: expected EDM2's statistics, with mu and sigma in {key!r}.")
    count = tree.get("num_images")
    if not isinstance(count, int) or isinstance(count, bool) or count < 2:
        raise InputError(f"{path} has num_images={quoted(count)}: expected EDM2's statistics, of 2 images or more.")
    mean, covariance = checked_statistics(mu, sigma, f"{path}: mu and sigma of {key!r}")
    facts: dict[str, Any] = {"n": count, "resize": made_by.resize}
    facts |= {"centre": made_by.centre} if protocol.network == "inception" else {"features": NAME}
    return FeatureSet({"features": Moments(count, mean, covariance * (count - 1))}, None, None, facts)
