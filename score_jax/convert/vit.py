"""Weights of MAE's encoders and of SigLIP 2's towers of images, in the names of timm and of their authors' codes."""

import functools
import math
from collections.abc import Mapping

import numpy as np

from score_jax.convert.correspondence import LINEAR, SAME, Counterpart, StateDict
from score_jax.convert.correspondence import Path as ParameterPath
from score_jax.convert.fused import joined
from score_jax.convert.scorers import Family, known_as, number_of, renamed_by, shape_of
from score_jax.errors import InputError
from score_jax.models.scorers import vit
from score_jax.models.scorers.vit import ViT

_PLACES = {"patches": "patch_embed.proj", "norm_out": "norm"}
_TOKENS = {"class_token": ("cls_token", "1 1 c -> c"), "position": ("pos_embed", "1 n c -> n c")}
_LAYERS = {"norm_1": "norm1", "qkv": "attn.qkv", "attention_out": "attn.proj", "norm_2": "norm2"}
_LAYERS |= {"hidden": "mlp.fc1", "out": "mlp.fc2"}
_POOL = {
    "query": "q",
    "key_value": "kv",
    "attention_out": "proj",
    "norm": "norm",
    "hidden": "mlp.fc1",
    "out": "mlp.fc2",
}
_LEAVES = {"kernel": "weight", "scale": "weight", "bias": "bias"}
_HEAD_CHANNELS = 64
_OTHER_HEADS = {1152: 16}
"""Of networks whose heads have other channels, by their width."""


def table(path: ParameterPath) -> Counterpart:
    """The tensor of a parameter of `models.scorers.vit.ViT`, in timm's names."""
    *modules, leaf = path
    layout = LINEAR if leaf == "kernel" else SAME
    match modules:
        case []:
            return Counterpart(*_TOKENS[leaf])
        case ["pool"]:
            return Counterpart("attn_pool.latent", "1 1 c -> c")
        case ["pool", layer]:
            return Counterpart(f"attn_pool.{_POOL[layer]}.{_LEAVES[leaf]}", layout)
        case [block, layer]:
            return Counterpart(f"blocks.{block.removeprefix('blocks_')}.{_LAYERS[layer]}.{_LEAVES[leaf]}", layout)
        case ["patches"] if leaf == "kernel":
            sizes = {"h": vit.PATCH, "w": vit.PATCH}
            return Counterpart(f"{_PLACES['patches']}.weight", "o i h w -> (h w i) o", sizes)
    return Counterpart(f"{_PLACES[modules[0]]}.{_LEAVES[leaf]}")


def _module(state: StateDict, network: str, pooled: bool) -> ViT:
    """The network that has these tensors, by their shapes."""
    _, positions, width = shape_of(state, "pos_embed", 3, network)
    hidden, _ = shape_of(state, "blocks.0.mlp.fc1.weight", 2, network)
    patches = positions - (not pooled)
    side = math.isqrt(patches)
    if side == 0 or side**2 != patches:
        raise InputError(f"The weights are no {network}'s: {patches} positions of patches are not a square number.")
    heads = _OTHER_HEADS.get(width, width // _HEAD_CHANNELS)
    if heads == 0 or width % heads:
        raise InputError(f"The weights are no {network}'s: a width of {width} does not split into {heads} heads.")
    return ViT(side * vit.PATCH, width, number_of(state, "blocks.{}.norm1.weight"), heads, hidden, pooled)


_SIGLIP_PARTS = tuple(f"self_attn.{part}_proj." for part in ("q", "k", "v"))
_SIGLIP_NAMES = {
    r"embeddings\.patch_embedding\.": "patch_embed.proj.",
    r"embeddings\.position_embedding\.weight$": "pos_embed",
    r"encoder\.layers\.(\d+)\.layer_norm": r"blocks.\1.norm",
    r"encoder\.layers\.(\d+)\.self_attn\.out_proj\.": r"blocks.\1.attn.proj.",
    r"encoder\.layers\.(\d+)\.": r"blocks.\1.",
    r"post_layernorm\.": "norm.",
    r"head\.probe$": "attn_pool.latent",
    r"head\.attention\.out_proj\.": "attn_pool.proj.",
    r"head\.layernorm\.": "attn_pool.norm.",
    r"head\.mlp\.": "attn_pool.mlp.",
}
"""From transformers' names within the tower of images to timm's."""
_TRUNK, _TOWER, _POOLED = "visual.trunk.", "vision_model.", "head.attention.in_proj_"


def _siglip_names(state: StateDict) -> StateDict:
    """Tensors of the tower of images as timm calls them: from timm's, OpenCLIP's and transformers' files."""
    if any(name.startswith(_TRUNK) for name in state):
        return {name.removeprefix(_TRUNK): tensor for name, tensor in state.items() if name.startswith(_TRUNK)}
    tower = {name.removeprefix(_TOWER): tensor for name, tensor in state.items() if name.startswith(_TOWER)}
    return _from_transformers(tower) if tower else state


def _from_transformers(tower: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for name, tensor in joined(tower, _SIGLIP_PARTS, "attn.qkv.").items():
        if name.startswith(_POOLED) and tensor.ndim and len(tensor) % 3 == 0:
            leaf = name.removeprefix(_POOLED)
            query, key_value = np.split(tensor, [len(tensor) // 3])
            found |= {f"attn_pool.q.{leaf}": query, f"attn_pool.kv.{leaf}": key_value}
            continue
        name = renamed_by(_SIGLIP_NAMES, name)
        found[name] = tensor[None] if name == "pos_embed" else tensor
    return found


_family = functools.partial(Family, shapes_of=vit.parameter_shapes, table=table)
MAE = _family(
    network="MAE",
    key="mae",
    where="mae_pretrain_vit_large.pth of https://github.com/facebookresearch/mae, or model.safetensors of "
    "timm/vit_large_patch16_224.mae of https://huggingface.co",
    published="mae_vitl16",
    module_of=lambda state: _module(state, "MAE", False),
    name_of=lambda module: known_as(module, vit.MAE, "mae"),
    renamed=lambda state: state,
    buffers=r"(decoder_|mask_token$)",
)
SIGLIP2 = _family(
    network="SigLIP 2",
    key="siglip2",
    where="model.safetensors of timm/vit_so400m_patch16_siglip_256.v2_webli or of google/siglip2-so400m-patch16-256 "
    "of https://huggingface.co",
    published="siglip2_vitso16",
    module_of=lambda state: _module(state, "SigLIP 2", True),
    name_of=lambda module: known_as(module, vit.SIGLIP2, "siglip2"),
    renamed=_siglip_names,
    buffers=r"embeddings\.position_ids$",
)
