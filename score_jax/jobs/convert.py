"""`convert`: published weights into a workdir that the other verbs take."""

from pathlib import Path
from typing import NamedTuple

import jax
from ml_collections import ConfigDict

from score_jax.builder import build_network
from score_jax.convert.releases import read_published
from score_jax.errors import InputError
from score_jax.runtime.results import write_json
from score_jax.training.run_config import save_config
from score_jax.training.weights import save_params


class Converted(NamedTuple):
    """What was written.

    Attributes:
      parameters: their number.
      weights: "ema", "raw", or "unknown" of a file that has one set of weights and does not say which.
    """

    parameters: int
    weights: str


def convert(config: ConfigDict, release: str, source: Path, out: Path, weights: str = "auto") -> Converted:
    """Writes config.json, params.safetensors and convert.json into `out`.

    Args:
      config: of the network, and of how it is used.
      release: whose weights they are, a key of `convert.releases.RELEASES`.
      source: the published file.
      out: a folder, new or of an earlier conversion.
      weights: "ema", "raw", or "auto": the averaged ones where the file has them.

    Raises:
      InputError: the file cannot be read or does not fit the config's network, or `out` holds a training run.
    """
    if (out / "checkpoints").exists():
        raise InputError(f"{out} holds a training run: convert into another folder.")
    params, name = read_published(release, source, build_network(config), weights)
    save_config(out, config)
    save_params(out, params)
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    write_json(out / "convert.json", {"from": release, "file": source.name, "weights": name, "parameters": count})
    return Converted(count, name)
