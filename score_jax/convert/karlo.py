"""Karlo, a published unCLIP: its own files, and the folder of diffusers' UnCLIPPipeline (kakaobrain, 2022).

    FOLDER/prior-ckpt-step=01000000-of-01000000.ckpt        {state_dict: {model.*}}
    FOLDER/decoder-ckpt-step=01000000-of-01000000.ckpt      the same
    FOLDER/improved-sr-ckpt-step=1.2M.ckpt                  {state_dict: {model_first_steps.*, model_last_step.*}}
    FOLDER/ViT-L-14.pt                                      OpenAI's CLIP
    FOLDER/ViT-L-14_stats.th                                mean and standard deviation of its image embeddings

    FOLDER/model_index.json                                 of diffusers, with a folder for each network:
    FOLDER/prior/, decoder/, text_proj/, super_res_first/, super_res_last/, text_encoder/, image_encoder/

The last one is UnCLIPImageVariationPipeline's; without it there is no network of images, which sampling does not need.
"""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from score_jax.convert import unclip
from score_jax.convert.clip import clip_of, load_clip
from score_jax.convert.correspondence import StateDict
from score_jax.convert.diffusers import part_tensors
from score_jax.convert.diffusers_names import unet_state
from score_jax.convert.diffusers_sections import Json, check_only, read_json, whole
from score_jax.convert.readers import read_checkpoint
from score_jax.convert.state_dicts import UNKNOWN, named_weights
from score_jax.errors import InputError, quoted
from score_jax.models.clip.clip import CLIPNetwork

PRIOR = "prior-ckpt-step=01000000-of-01000000.ckpt"
DECODER = "decoder-ckpt-step=01000000-of-01000000.ckpt"
UPSAMPLER = "improved-sr-ckpt-step=1.2M.ckpt"
CLIP = "ViT-L-14.pt"
STATISTICS = "ViT-L-14_stats.th"
FILES = (PRIOR, DECODER, UPSAMPLER, CLIP, STATISTICS)
"""Of the release."""
FOLDERS = ("prior", "decoder", "text_proj", "super_res_first", "super_res_last", "text_encoder")
"""Of diffusers' pipeline."""
_INDEX, _IMAGES = "model_index.json", "image_encoder"
_PIPELINE = "UnCLIPPipeline"
_FIRST, _LAST = "model_first_steps.", "model_last_step."
_HEAD_CHANNELS, _GROUPS = 64, 32
"""Of all of Karlo's networks."""
_SIZES = (64, 256)
"""Height and width of the images of the decoder and of the upsampler."""
_BOUND = math.log(100.0)
"""At which CLIP's training holds `logit_scale` (Radford et al. 2021, section 2.5); diffusers' folders lack it."""
_BLOCKS: dict[str, Any] = {
    "act_fn": "silu",
    "norm_eps": 1e-5,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "center_input_sample": False,
    "mid_block_scale_factor": 1,
}
_ALONE: dict[str, Json] = {
    "prior": {
        "additional_embeddings": 4,
        "time_embed_act_fn": "silu",
        "norm_in_type": None,
        "embedding_proj_norm_type": None,
        "encoder_hid_proj_type": "linear",
        "added_emb_type": "prd",
    },
    "decoder": _BLOCKS
    | {
        "class_embed_type": "identity",
        "mid_block_type": "UNetMidBlock2DSimpleCrossAttn",
        "only_cross_attention": False,
        "cross_attention_norm": None,
        "resnet_skip_time_act": False,
        "resnet_out_scale_factor": 1.0,
    },
    "super_res_first": _BLOCKS | {"add_attention": False},
    "super_res_last": _BLOCKS | {"add_attention": False},
    "text_encoder": {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-5},
    _IMAGES: {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-5},
}
"""What the networks here have alone, where a config.json says it."""
_CHAIN: dict[str, Any] = {"num_train_timesteps": 1000, "clip_sample": True}
_SCHEDULERS: dict[str, Json] = {
    "prior_scheduler": _CHAIN | {"prediction_type": "sample", "variance_type": "fixed_small_log"},
    "decoder_scheduler": _CHAIN
    | {"prediction_type": "epsilon", "variance_type": "learned_range", "clip_sample_range": 1.0},
    "super_res_scheduler": _CHAIN
    | {"prediction_type": "epsilon", "variance_type": "fixed_small_log", "clip_sample_range": 1.0},
}


@dataclasses.dataclass(frozen=True, eq=False)
class Part:
    """Published tensors of one network, under Karlo's names.

    Attributes:
      source: the file or folder that they are of.
      state: the tensors.
      weights: which ones they are: "ema", "raw", or "unknown".
      head_channels: of an attention head, which no shape tells.
      norm_groups: groups of channels of a norm, likewise.
      image_size: height and width of the images that it draws, likewise.
    """

    source: Path
    state: StateDict
    weights: str = UNKNOWN
    head_channels: int = _HEAD_CHANNELS
    norm_groups: int = _GROUPS
    image_size: int = 1


def of_diffusers(folder: Path) -> bool:
    """Whether a folder is one of diffusers, and not of Karlo's own files."""
    return (folder / _INDEX).is_file() or (folder / "prior").is_dir()


def check_folder(folder: Path) -> None:
    """Raises InputError where a folder lacks a file or folder of the release, or is of another pipeline."""
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "is not there"
        raise InputError(f"{folder} {what}: give the folder with Karlo's {PRIOR} and so on, or diffusers' {_INDEX}.")
    names = FOLDERS if of_diffusers(folder) else FILES
    missing = [name for name in names if not (folder / name).exists()]
    if missing:
        raise InputError(f"{folder} has no {missing[0]}: give the folder with all of {', '.join(names)}.")
    if not of_diffusers(folder):
        return
    kind = read_json(folder / _INDEX).get("_class_name", _PIPELINE)
    if kind != _PIPELINE:
        raise InputError(f"{folder / _INDEX}: _class_name={quoted(kind)} is not known here, only {_PIPELINE}.")
    for name, possible in _SCHEDULERS.items():
        if (folder / name).is_dir():
            check_only(name, read_json(folder / name / "scheduler_config.json"), possible)


def read_prior(folder: Path, weights: str = "auto") -> Part:
    """The prior's tensors.

    Args:
      folder: of the release.
      weights: what the files' weights are called, "ema" or "raw"; "auto": unknown. Each file has one set.

    Raises:
      InputError: a file is damaged, or holds something else.
    """
    if not of_diffusers(folder):
        return _of_file(folder / PRIOR, ("model.",), weights)
    config, tensors = _read(folder, "prior")
    heads = whole("prior", config, "attention_head_dim", _HEAD_CHANNELS)
    state = _split(folder / "prior", lambda: unclip.prior_state(tensors, heads))
    return Part(folder / "prior", state, _said(weights), head_channels=heads)


def read_statistics(folder: Path, prior: Part) -> dict[str, Float[np.ndarray, "_"]]:
    """The mean and the standard deviation of image embeddings, each (d,), by the names "mean" and "std".

    Args:
      folder: of the release.
      prior: the prior, which has them in diffusers.

    Raises:
      InputError: they are missing or damaged, or no such numbers.
    """
    source, found = folder / STATISTICS, None
    if of_diffusers(folder):
        source = prior.source
        found = [prior.state.get(name) for name in ("clip_mean", "clip_std")]
    else:
        found = read_checkpoint(source)
    pair = list(found) if isinstance(found, list | tuple) else []
    if len(pair) != 2 or not all(isinstance(each, np.ndarray) and each.dtype.kind == "f" for each in pair):
        raise InputError(f"{source} holds no mean and standard deviation of embeddings: expected two arrays of them.")
    mean, std = (np.asarray(each, np.float32).reshape(-1) for each in pair)
    if mean.shape != std.shape or not (np.isfinite(mean).all() and np.isfinite(std).all() and (std > 0).all()):
        raise InputError(
            f"{source}: the mean and the standard deviation of embeddings are of different length, or not finite, or "
            "not above 0: download it again."
        )
    return {"mean": mean, "std": std}


def read_decoder(folder: Path, weights: str = "auto") -> Part:
    """The decoder's tensors; arguments and errors as of `read_prior`."""
    if not of_diffusers(folder):
        return _of_file(folder / DECODER, ("model.",), weights, image_size=_SIZES[0])
    config, tensors = _read(folder, "decoder")
    heads = whole("decoder", config, "attention_head_dim", _HEAD_CHANNELS)
    projections = part_tensors(folder / "text_proj")
    state = _split(folder / "decoder", lambda: unclip.decoder_state(projections, tensors, heads))
    groups = whole("decoder", config, "norm_num_groups", _GROUPS)
    size = whole("decoder", config, "sample_size", _SIZES[0])
    return Part(folder / "decoder", state, _said(weights), heads, groups, size)


def read_upsampler(folder: Path, weights: str = "auto") -> Part:
    """The tensors of the upsampler's two networks; arguments and errors as of `read_prior`."""
    if not of_diffusers(folder):
        return _of_file(folder / UPSAMPLER, (_FIRST, _LAST), weights, image_size=_SIZES[1], stripped=False)
    state: dict[str, np.ndarray] = {}
    found = set()
    for name, prefix in (("super_res_first", _FIRST), ("super_res_last", _LAST)):
        config, tensors = _read(folder, name)
        found.add((whole(name, config, "norm_num_groups", _GROUPS), whole(name, config, "sample_size", _SIZES[1])))
        state |= {prefix + own: tensor for own, tensor in unet_state(tensors).items()}
    if len(found) != 1:
        raise InputError(
            f"{folder}: super_res_first/ and super_res_last/ have another norm_num_groups or sample_size: check both."
        )
    ((groups, size),) = found
    return Part(folder / "super_res_first", state, _said(weights), norm_groups=groups, image_size=size)


def read_clip(folder: Path) -> CLIPNetwork:
    """The CLIP that texts are read by; of diffusers without an image_encoder/ its network of texts alone.

    Raises:
      InputError: it is missing, damaged, or no CLIP.
    """
    if not of_diffusers(folder):
        return load_clip(folder / CLIP)
    config, state = _read(folder, "text_encoder")
    heads = {"text": whole("text_encoder", config, "num_attention_heads")}
    alone = not (folder / _IMAGES).is_dir()
    if not alone:
        config, images = _read(folder, _IMAGES)
        heads["vision"] = whole(_IMAGES, config, "num_attention_heads")
        state = {**state, **images, "logit_scale": np.asarray(_BOUND, np.float32)}
    try:
        return clip_of(state, heads=heads, text_alone=alone)
    except InputError as error:
        raise InputError(f"{folder / 'text_encoder'}: {error}") from None


def clip_source(folder: Path) -> Path:
    """The file or folder of `read_clip`."""
    return folder / ("text_encoder" if of_diffusers(folder) else CLIP)


def _said(weights: str) -> str:
    return UNKNOWN if weights == "auto" else weights


def _of_file(
    path: Path, prefixes: tuple[str, ...], weights: str, *, image_size: int = 1, stripped: bool = True
) -> Part:
    """The tensors of one of Karlo's files, where all have one of the prefixes, which is taken away if `stripped`."""
    found = read_checkpoint(path)
    try:
        state, name = named_weights("karlo", found, weights)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    for prefix in prefixes:
        if not any(own.startswith(prefix) for own in state):
            raise InputError(f"{path} has no tensors {prefix}*: give Karlo's file, with its own name.")
    if stripped:
        state = {own.removeprefix(prefixes[0]): tensor for own, tensor in state.items()}
    return Part(path, state, name, image_size=image_size)


def _read(folder: Path, name: str) -> tuple[Json, StateDict]:
    """What a folder within a folder of diffusers says of its network, and the tensors."""
    config = read_json(folder / name / "config.json")
    check_only(name, config, _ALONE.get(name, {}))
    return config, part_tensors(folder / name)


def _split(source: Path, rename: Callable[[], StateDict]) -> StateDict:
    """Renamed tensors, some of which are joined head by head."""
    try:
        return rename()
    except ValueError:
        raise InputError(
            f"{source}: queries, keys and values of an attention do not split into the heads that its config.json says "
            "(attention_head_dim): download the folder again."
        ) from None
