"""The parts of a latent diffusion model: a UNet, its first stage, and what encodes its condition.

A file of latent diffusion or Stable Diffusion has them all, with a prefix for each; a folder of diffusers has a folder
for each (`diffusers.py`). Here they are called as latent diffusion calls them, without the prefixes.
"""

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import PyTree

from score_jax.convert import first_stage, latent
from score_jax.convert.correspondence import StateDict, to_ours, to_theirs
from score_jax.convert.readers import read_checkpoint
from score_jax.convert.state_dicts import UNKNOWN, WEIGHTS, state_dict
from score_jax.errors import InputError, named, unknown_name
from score_jax.models.autoencoders.first_stage import FIRST_STAGE, FirstStage
from score_jax.models.network import ENCODER, NETWORK, Network
from score_jax.models.unets.latent import LatentUNet

_UNET, _EMA, _AUTOENCODER, _CONDITION = (
    "model.diffusion_model.",
    "model_ema.",
    "first_stage_model.",
    "cond_stage_model.",
)
_SCALE = "scale_factor"
_BUFFERS = (
    r"(betas|alphas_cumprod(_prev)?|sqrt_\w+|log_one_minus_\w+|posterior_\w+|lvlb_weights|logvar)$|loss\.|"
    r"(decay|num_updates)$"
)
"""Tables that ours computes, and what a first stage was trained with."""
_OF_TRAINING = r"(loss|model_ema)\."
"""Within a first stage."""
_COUNTS = ("model_ema.decay", "model_ema.num_updates")
_OF_AUTOENCODER = ("encoder.", "decoder.", "quant_conv.", "post_quant_conv.", "quantize.")


@dataclasses.dataclass(frozen=True, eq=False)
class Parts:
    """Published tensors of a latent diffusion model, part by part; a part that is not there is empty.

    Attributes:
      unet: of the UNet.
      first_stage: of the autoencoder.
      encoder: of what encodes the condition.
      scale: of the latents, where it is written beside the tensors.
      weights: which ones those of the UNet are: "ema", "raw", or "unknown".
      sections: what is known of the networks, as sections of a config; None: nothing.
    """

    unet: StateDict
    first_stage: StateDict
    encoder: StateDict
    scale: float | None = None
    weights: str = UNKNOWN
    sections: Mapping[str, Any] | None = None


def read_parts(path: Path, weights: str = "auto") -> Parts:
    """The parts in a file: a checkpoint of latent diffusion's training, or Stable Diffusion's .ckpt or .safetensors.

    Args:
      path: the file, of which nothing is executed.
      weights: "ema", "raw", or "auto": the averaged ones where the file has them.

    Raises:
      InputError: the file cannot be read, or is none of them, or has no such weights.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder: give the file in it, or --from=diffusers for a folder of diffusers.")
    found = read_checkpoint(path)
    try:
        return parts_of(state_dict("latent_diffusion", found), weights)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def parts_of(state: StateDict, weights: str = "auto") -> Parts:
    """The parts of a state dict: of a whole model, or of a first stage alone.

    Raises:
      InputError: it is of neither, has other tensors too, or has no such weights.
    """
    if weights not in WEIGHTS:
        raise unknown_name("choice of weights", weights, WEIGHTS)
    whole = any(name.startswith(_UNET) for name in state)
    if not whole and not any(name.startswith(_OF_AUTOENCODER) for name in state):
        raise InputError(
            f"The file has no {_UNET}*, nor a first stage's encoder.*: expected a checkpoint of latent diffusion or of "
            "Stable Diffusion."
        )
    places = (_UNET, _AUTOENCODER, _CONDITION) if whole else _OF_AUTOENCODER
    stray = [
        name
        for name in state
        if not name.startswith((*places, _EMA)) and name != _SCALE and not re.match(_BUFFERS, name)
    ]
    if stray:
        listed = ", ".join(named(name) for name in sorted(stray)[:4])
        raise InputError(f"The file has tensors of no part of a latent model ({listed}): check --from.")
    autoencoder = _within(state, _AUTOENCODER) if whole else {n: t for n, t in state.items() if n.startswith(places)}
    autoencoder = {name: tensor for name, tensor in autoencoder.items() if not re.match(_OF_TRAINING, name)}
    raw, inside = (_within(state, _UNET), "diffusion_model.") if whole else (autoencoder, "")
    trained, name = _chosen(state, raw, inside, weights)
    scale = float(np.asarray(state[_SCALE]).reshape(())) if _SCALE in state and np.size(state[_SCALE]) == 1 else None
    if not whole:
        return Parts({}, trained, {}, scale, name)
    return Parts(trained, autoencoder, _within(state, _CONDITION), scale, name)


def _within(state: StateDict, prefix: str) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


def _chosen(state: StateDict, raw: StateDict, inside: str, weights: str) -> tuple[StateDict, str]:
    """The weights that are wanted, and what they are called.

    Averages are named as what they are of, without dots, after `inside` (LitEma).
    """
    averages = {name for name in state if name.startswith(_EMA)} - {*_COUNTS}
    if not averages:
        if weights == "ema" and any(name in state for name in _COUNTS):
            raise InputError("The file has no averaged weights: use --weights=raw, or auto.")
        return raw, UNKNOWN if weights == "auto" else weights
    if weights == "raw":
        return raw, "raw"
    places = {name: _EMA + f"{inside}{name}".replace(".", "") for name in raw}
    missing = [name for name, place in places.items() if place not in averages]
    strange = [name for name in averages - set(places.values()) if not name.startswith(f"{_EMA}loss")]
    if missing or strange:
        listed = ", ".join(named(name) for name in sorted([*missing, *strange])[:4])
        raise InputError(
            f"The averaged weights do not fit the raw ones ({len(missing)} missing, {len(strange)} of others: "
            f"{listed}): use --weights=raw."
        )
    return {name: state[place] for name, place in places.items()}, "ema"


def state_of(parts: Parts) -> dict[str, np.ndarray]:
    """The state dict of a file that has these parts, the UNet's as raw weights: `parts_of` backwards."""
    if not parts.unet:
        return dict(parts.first_stage)
    prefixed = ((_UNET, parts.unet), (_AUTOENCODER, parts.first_stage), (_CONDITION, parts.encoder))
    state = {prefix + name: tensor for prefix, part in prefixed for name, tensor in part.items()}
    return state if parts.scale is None else state | {_SCALE: np.asarray(parts.scale, np.float32)}


def params_of_parts(
    parts: Parts, network: Network | FirstStage, autoencoder: FirstStage | None = None
) -> tuple[PyTree, dict[str, PyTree]]:
    """The parameters of a network and of those beside it that are not trained.

    Args:
      parts: published tensors.
      network: a latent UNet with what encodes its condition, or a first stage alone.
      autoencoder: the first stage of a latent UNet.

    Returns:
      The parameters of the run, and by name those that are not trained: "first_stage" and "condition_encoder".

    Raises:
      InputError: a part is missing, or does not fit its network.
    """
    if isinstance(network, FirstStage):
        return _first_stage(parts, network), {}
    if not isinstance(network.module, LatentUNet):
        raise InputError(
            f"These weights are of a LatentUNet, but the config's network is {type(network.module).__name__}: choose a "
            "config of configs/ldm or configs/stable_diffusion."
        )
    if not parts.unet:
        raise InputError("It has a first stage alone, without a UNet: choose the config of a first stage.")
    table = latent.unet_table(network.module, network.image_shape[0])
    own = _named("unet", lambda: to_ours(parts.unet, _own_shapes(network), table))
    own = {NETWORK: own, **network.beside} if network.beside else own
    frozen = {} if autoencoder is None else {FIRST_STAGE: _first_stage(parts, autoencoder)}
    encoder = network.encoder
    if encoder is None:
        _refuse_encoder(parts)
        return own, frozen
    if not parts.encoder and encoder.shapes():
        raise InputError("The encoder of the condition (text encoder) is missing: give the file or folder with it.")
    encoded = _named("condition encoder", lambda: latent.encoder_params(encoder.module, parts.encoder))
    if encoder.trained:
        return {**(own if network.beside else {NETWORK: own}), ENCODER: encoded}, frozen
    return own, {**frozen, ENCODER: encoded}


def parts_from(
    params: PyTree, frozen: Mapping[str, PyTree], network: Network | FirstStage, scale: float | None = None
) -> Parts:
    """The parts of a run's parameters: `params_of_parts` backwards."""
    if isinstance(network, FirstStage):
        return Parts({}, to_theirs(params, first_stage.table), {})
    assert isinstance(network.module, LatentUNet)
    encoder = network.encoder
    trained = encoder is not None and encoder.trained
    table = latent.unet_table(network.module, network.image_shape[0])
    encoded = params[ENCODER] if trained else frozen.get(ENCODER)
    return Parts(
        to_theirs(params[NETWORK] if trained or network.beside else params, table),
        to_theirs(frozen[FIRST_STAGE], first_stage.table) if FIRST_STAGE in frozen else {},
        {} if encoder is None else latent.encoder_state(encoder.module, encoded),
        scale,
    )


def _own_shapes(network: Network) -> PyTree:
    return dataclasses.replace(network, encoder=None, beside={}).shapes()


def _first_stage(parts: Parts, network: FirstStage) -> PyTree:
    if not parts.first_stage:
        raise InputError("The first stage (VAE) is missing: give the file or folder with it.")
    return _named("first stage", lambda: to_ours(parts.first_stage, network.shapes(), first_stage.table))


def _named(part: str, make: Any) -> PyTree:
    """What `make` makes; an error says of which part."""
    try:
        return make()
    except InputError as error:
        raise InputError(f"{part}: {error}") from None


def _refuse_encoder(parts: Parts) -> None:
    """Raises InputError for an encoder that the config has not, but for the first stage under a second name."""
    same = parts.encoder.keys() <= parts.first_stage.keys() and all(
        np.array_equal(tensor, parts.first_stage[name]) for name, tensor in parts.encoder.items()
    )
    if not same:
        listed = ", ".join(named(name) for name in sorted(parts.encoder)[:4])
        raise InputError(
            f"The file has an encoder of the condition ({listed}), the config none: give it the section "
            "condition_encoder."
        )
