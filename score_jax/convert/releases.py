"""The published releases: whose weights fit which networks, and how they are called."""

from collections.abc import Callable, Mapping
from typing import Any

from score_jax.convert import adm, ddpm, edm, score_sde
from score_jax.convert.correspondence import StateDict, Table, to_ours
from score_jax.errors import InputError, unknown_name
from score_jax.models.adm import ADM
from score_jax.models.adm_classifier import ADMClassifier
from score_jax.models.ddpm import DDPM
from score_jax.models.edm_dhariwal import DhariwalUNet
from score_jax.models.edm_song import SongUNet
from score_jax.models.ncsnpp import NCSNpp
from score_jax.models.network import Network
from score_jax.typing import Params

Tables = Mapping[type, Callable[[Any, int], Table]]

RELEASES: dict[str, Tables] = {
    "score_sde_pytorch": {NCSNpp: score_sde.torch_table, DDPM: score_sde.torch_table},
    "score_sde": {NCSNpp: score_sde.flax_table, DDPM: score_sde.flax_table},
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
    if release not in RELEASES:
        raise unknown_name("release", release, RELEASES)
    tables, kind = RELEASES[release], type(network.module)
    if kind not in tables:
        known = ", ".join(sorted(other.__name__ for other in tables))
        raise InputError(
            f"{release} has weights of {known}; the config's network is {kind.__name__}: choose its config."
        )
    return tables[kind](network.module, network.image_shape[0])


def buffers_of(release: str, network: Network) -> str:
    """Regular expression of the release's tensors that are no parameters of this network; empty for none."""
    if release == "score_sde_pytorch" and isinstance(network.module, NCSNpp | DDPM):
        return score_sde.torch_buffers(network.module)
    if release == "edm":
        return edm.BUFFERS
    return ""


def params_from(release: str, state: StateDict, network: Network) -> Params:
    """A network's parameters from a release's tensors.

    Raises:
      InputError: the tensors do not fit the network.
    """
    return to_ours(state, network.shapes(), table_of(release, network), buffers=buffers_of(release, network))
