"""`convert`: published weights into a workdir that the other verbs take."""

import types
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ml_collections import ConfigDict

from score_jax.builder import build_network
from score_jax.convert.releases import RELEASES as OF_ONE_NETWORK
from score_jax.convert.releases import read_published
from score_jax.errors import InputError, unknown_name
from score_jax.jobs.convert_karlo import KARLO, convert_karlo
from score_jax.jobs.convert_latent import DERIVED, READERS, convert_latent, write_record
from score_jax.models.autoencoders.first_stage import FirstStage
from score_jax.models.clip.image_text import ImageText
from score_jax.training.run_config import save_config
from score_jax.training.weights import save_params

RELEASES = (*OF_ONE_NETWORK, *READERS, KARLO)
"""Whose weights are known."""
WITHOUT_CONFIG = (*DERIVED, KARLO)
"""Of these, whose weights need no config."""


class Converted(NamedTuple):
    """What was written.

    Attributes:
      parameters: their number, without those of networks that are not trained in the run.
      weights: "ema", "raw", or "unknown" of a file that has one set of weights and does not say which.
      stages: of a cascade the number of each of its models, by name.
    """

    parameters: int
    weights: str
    stages: Mapping[str, int] = types.MappingProxyType({})


def convert(
    config: ConfigDict | None,
    release: str,
    source: Path,
    out: Path,
    weights: str = "auto",
    output: str | None = None,
) -> Converted:
    """Writes config.json, params.safetensors and convert.json into `out`.

    Of latent models see `convert_latent.py`, of Karlo `convert_karlo.py`.

    Args:
      config: of the network, and of how it is used; None: as the weights say, of those of `WITHOUT_CONFIG`.
      release: whose weights they are, one of `RELEASES`.
      source: the published file, or folder of diffusers.
      out: a folder, new or of an earlier conversion.
      weights: "ema", "raw", or "auto": the averaged ones where the file has them.
      output: of a network without a config, what it outputs, eps or v.

    Raises:
      InputError: the file cannot be read or does not fit the config's network, or `out` holds a training run.
    """
    if (out / "checkpoints").exists():
        raise InputError(f"{out} holds a training run: convert into another folder.")
    if release not in RELEASES:
        raise unknown_name("release", release, RELEASES)
    if release == KARLO:
        if config is not None or output is not None:
            raise InputError(f"--from={release} needs no --config and no --prediction: leave them out.")
        written = convert_karlo(source, out, weights)
        counts = {name: each.parameters for name, each in written.items()}
        return Converted(sum(counts.values()), next(iter(written.values())).weights, counts)
    if release in READERS:
        config, params, name = convert_latent(config, release, source, out, weights, output)
    else:
        if config is None:
            raise InputError(f"--from={release} needs --config: give the config that the weights were trained with.")
        network = build_network(config)
        if isinstance(network, FirstStage):
            raise InputError(f"--from={release} has no first stages: give --from=latent_diffusion.")
        if isinstance(network, ImageText):
            raise InputError(f"--from={release} has no CLIPs: give the config of another network.")
        params, name = read_published(release, source, network, weights)
        save_config(out, config)
        save_params(out, params)
    return Converted(write_record(out, release, source, name, params), name)
