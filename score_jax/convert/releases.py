"""The published releases: whose weights fit which networks, and how they are called."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import PyTree

from score_jax.convert import adm, ddpm, edm, ncsn, score_sde, wide_resnet
from score_jax.convert.correspondence import StateDict, Table, to_ours, to_theirs
from score_jax.convert.readers import read_checkpoint
from score_jax.convert.state_dicts import named_weights
from score_jax.errors import InputError, entry_of
from score_jax.models.classifiers.adm_classifier import ADMClassifier
from score_jax.models.classifiers.wide_resnet import WideResNet
from score_jax.models.network import Network
from score_jax.models.unets.adm import ADM
from score_jax.models.unets.ddpm import DDPM
from score_jax.models.unets.edm_dhariwal import DhariwalUNet
from score_jax.models.unets.edm_song import SongUNet
from score_jax.models.unets.ncsn import NCSN
from score_jax.models.unets.ncsnpp import NCSNpp
from score_jax.models.unets.ncsnv2 import NCSNv2
from score_jax.models.unets.refinenet import TOPOLOGIES

Tables = Mapping[type, Callable[[Any, int], Table]]


def _refinenet_table(module: NCSN | NCSNv2, image_size: int) -> Table:
    stages = TOPOLOGIES[module.topology if isinstance(module, NCSN) else module.variant]
    return ncsn.table(tuple(stage.name for stage in stages if stage.down and stage.dilation == 1))


_REFINENETS: Tables = {NCSN: _refinenet_table, NCSNv2: _refinenet_table}
RELEASES: dict[str, Tables] = {
    "score_sde_pytorch": {NCSNpp: score_sde.torch_table, DDPM: score_sde.torch_table, **_REFINENETS},
    "ncsn": _REFINENETS,
    "ncsnv2": _REFINENETS,
    "score_sde": {
        NCSNpp: score_sde.flax_table,
        DDPM: score_sde.flax_table,
        WideResNet: lambda module, image_size: wide_resnet.table,
    },
    "ddpm": {DDPM: lambda module, image_size: ddpm.table},
    "improved_diffusion": {ADM: adm.table},
    "guided_diffusion": {ADM: adm.table, ADMClassifier: adm.table},
    "edm": {SongUNet: edm.song_unet_table, DhariwalUNet: edm.dhariwal_unet_table},
}


def table_of(release: str, network: Network) -> Table:
    """The table of a release for a network.

    Raises:
      InputError: the release is unknown, or has no weights for such a network.
    """
    tables, kind = entry_of(RELEASES, "release", release), type(network.module)
    if kind not in tables:
        known = ", ".join(sorted(other.__name__ for other in tables))
        raise InputError(
            f"--from={release} is for weights of {known}, but the config's network is {kind.__name__}: choose a config "
            "of that release."
        )
    return tables[kind](network.module, network.image_shape[0])


def buffers_of(release: str, network: Network) -> str:
    """Regular expression of the release's tensors that are no parameters of this network; empty for none."""
    if isinstance(network.module, NCSNpp | DDPM) and release in ("score_sde_pytorch", "score_sde"):
        buffers = score_sde.torch_buffers if release == "score_sde_pytorch" else score_sde.flax_buffers
        return buffers(network.module)
    if isinstance(network.module, NCSNv2):
        return ncsn.BUFFERS
    if release == "edm":
        return edm.BUFFERS
    return ""


def read_published(release: str, path: Path, network: Network, weights: str = "auto") -> tuple[PyTree, str]:
    """A network's parameters from a published file, of which nothing is executed, and which ones they are.

    Args:
      release: whose weights they are, a key of `RELEASES`.
      path: the file: .pth, .pt, .ckpt, .pkl, .safetensors, .npz or Flax msgpack.
      network: built from the config that they were trained with.
      weights: "ema", "raw", or "auto": the averaged ones where the file has them.

    Returns:
      The parameters, and "ema", "raw", or "unknown" of a file that has one set and does not say which.

    Raises:
      InputError: the file cannot be read, or does not fit the network.
    """
    table_of(release, network)
    found = read_checkpoint(path)
    try:
        state, name = named_weights(release, found, weights)
        return params_from(release, state, network), name
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def load_published(release: str, path: Path, network: Network, weights: str = "auto") -> PyTree:
    """The parameters of `read_published` alone.

    Raises:
      InputError: see `read_published`.
    """
    return read_published(release, path, network, weights)[0]


def tensors_from(release: str, params: PyTree, network: Network) -> dict[str, np.ndarray]:
    """A release's tensors from a network's parameters: `params_from` backwards, without the release's buffers."""
    return to_theirs(params, table_of(release, network))


def params_from(release: str, state: StateDict, network: Network) -> PyTree:
    """A network's parameters from a release's tensors.

    Raises:
      InputError: the tensors do not fit the network.
    """
    return to_ours(state, network.shapes(), table_of(release, network), buffers=buffers_of(release, network))
