"""Names of unCLIP's weights: Karlo's, and diffusers' as Karlo's.

Karlo fuses the projections of attention per head as [q, k, v]; diffusers has them apart.
"""

import dataclasses
import functools
import re

import numpy as np

from score_jax.convert import adm, diffusers_names
from score_jax.convert.correspondence import LINEAR, SAME, Counterpart, Path, StateDict, Table
from score_jax.convert.diffusers_names import renamed
from score_jax.models.priors.prior_transformer import PriorTransformer
from score_jax.models.unets.karlo_upsampler import KarloUpsampler, unet_of
from score_jax.models.unets.unclip import UnCLIPDecoder

_LEAVES = {"kernel": "weight", "scale": "weight", "bias": "bias"}
_PRIOR = {
    "time_1": "time_embed.0",
    "time_2": "time_embed.2",
    "text_tokens": "text_enc_proj",
    "text_embedding": "text_emb_proj",
    "image_embedding": "clip_img_proj",
    "norm_out": "final_ln",
    "out": "out_proj",
}
_BLOCK = {
    "norm_1": "ln_1",
    "qkv": "attn.c_qkv",
    "attention_out": "attn.c_proj",
    "norm_2": "ln_2",
    "hidden": "mlp.c_fc",
    "out": "mlp.c_proj",
}
PRIOR_BUFFERS = r"(causal_mask|clip_mean|clip_std|cf_token|cf_mask)$"
"""What is stored beside a prior's weights in some files, and is no parameter."""


def prior_table(network: PriorTransformer) -> Table:
    """Of the weights of Karlo's prior."""
    sizes = {"heads": network.heads, "qkv": 3}

    def counterpart(path: Path) -> Counterpart:
        if path == ("position",):
            return Counterpart("positional_embedding", "1 n c -> n c")
        if path == ("query",):
            return Counterpart("prd_emb", "1 1 c -> 1 c")
        module, *layers, leaf = path
        if not layers:
            return Counterpart(f"{_PRIOR[module]}.{_LEAVES[leaf]}", LINEAR if leaf == "kernel" else SAME)
        name = f"transformer.resblocks.{module.removeprefix('block_')}.{_BLOCK[layers[0]]}.{_LEAVES[leaf]}"
        if layers[0] == "qkv":
            layout = "(heads qkv d) i -> i (qkv heads d)" if leaf == "kernel" else "(heads qkv d) -> (qkv heads d)"
            return Counterpart(name, layout, sizes)
        return Counterpart(name, LINEAR if leaf == "kernel" else SAME)

    return counterpart


_CONDITIONS = {
    "image_to_time": "clip_emb",
    "image_to_tokens": "clip_tok_proj",
    "text_tokens": "text_seq_proj.0",
    "text_tokens_norm": "text_seq_proj.1",
    "text_to_time": "text_feat_proj",
}


def decoder_table(network: UnCLIPDecoder) -> Table:
    """Of the weights of Karlo's decoder, which are the same for images of any size."""
    plain = adm.table_of(network, lambda level: 2**level in network.attention_factors)

    def counterpart(path: Path) -> Counterpart:
        module, *layers, leaf = path
        if module != "conditions":
            return plain(path)
        if not layers:
            return Counterpart("cf_param")
        name = f"{_CONDITIONS[layers[0]]}.{_LEAVES[leaf]}"
        if layers[0] == "image_to_tokens":  # The token is the fastest axis there.
            layout = "(c token) i -> i (token c)" if leaf == "kernel" else "(c token) -> (token c)"
            return Counterpart(name, layout, {"token": network.extra_tokens})
        return Counterpart(name, LINEAR if leaf == "kernel" else SAME)

    return counterpart


def upsampler_table(network: KarloUpsampler) -> Table:
    """Of the weights of Karlo's upsampler, which is two networks without attention."""
    plain = adm.table_of(unet_of(network), lambda level: False)

    def counterpart(path: Path) -> Counterpart:
        which, *rest = path
        own = plain(tuple(rest))
        return dataclasses.replace(own, name=f"model_{which}.{own.name}")

    return counterpart


_PRIOR_OF_DIFFUSERS = {
    "prd_embedding": "prd_emb",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "proj_in": "clip_img_proj",
    "embedding_proj": "text_emb_proj",
    "encoder_hidden_states_proj": "text_enc_proj",
    "norm_out": "final_ln",
    "proj_to_clip_embeddings": "out_proj",
}
_BLOCK_OF_DIFFUSERS = {
    "norm1": "ln_1",
    "norm3": "ln_2",
    "attn1.to_out.0": "attn.c_proj",
    "ff.net.0.proj": "mlp.c_fc",
    "ff.net.2": "mlp.c_proj",
}
_TEXT_OF_DIFFUSERS = {
    "learned_classifier_free_guidance_embeddings": "cf_param",
    "clip_image_embeddings_project_to_time_embeddings": "clip_emb",
    "embedding_proj": "text_feat_proj",
    "clip_extra_context_tokens_proj": "clip_tok_proj",
    "encoder_hidden_states_proj": "text_seq_proj.0",
    "text_encoder_hidden_states_norm": "text_seq_proj.1",
}
_ATTENTION_OF_DIFFUSERS = {"group_norm": "norm", "to_out.0": "proj_out"}


def _fused(state: StateDict, names: tuple[str, ...], fused: str, head_channels: int) -> dict[str, np.ndarray]:
    """Projections that are called `names` at the end of a module, as one, per head one after the other."""
    found = {name: tensor for name, tensor in state.items() if not any(f".{own}." in name for own in names)}
    for name in state:
        place, first, leaf = name.partition(f".{names[0]}.")
        others = [f"{place}.{own}.{leaf}" for own in names]
        if first and all(other in state for other in others):
            stacked = [np.asarray(state[other]) for other in others]
            parted = [x.reshape(len(x) // head_channels, head_channels, *x.shape[1:]) for x in stacked]
            found[f"{place}.{fused}.{leaf}"] = np.stack(parted, axis=1).reshape(-1, *stacked[0].shape[1:])
        elif first:
            found[name] = state[name]
    return found


def prior_state(state: StateDict, head_channels: int) -> dict[str, np.ndarray]:
    """Karlo's tensors of diffusers' `PriorTransformer`, with heads of so many channels."""
    return {
        _prior_name(name): tensor
        for name, tensor in _fused(state, ("to_q", "to_k", "to_v"), "c_qkv", head_channels).items()
    }


def _prior_name(name: str) -> str:
    if match := re.fullmatch(r"transformer_blocks\.(\d+)\.(.+)", name):
        rest = match[2].replace("attn1.c_qkv", "attn.c_qkv")
        return f"transformer.resblocks.{match[1]}.{renamed(rest, _BLOCK_OF_DIFFUSERS)}"
    return renamed(name, _PRIOR_OF_DIFFUSERS)


def decoder_state(text_proj: StateDict, unet: StateDict, head_channels: int) -> dict[str, np.ndarray]:
    """Karlo's tensors of diffusers' `UnCLIPTextProjModel` and `UNet2DConditionModel`."""
    fuse = functools.partial(_fused, head_channels=head_channels)
    parts = fuse(unet, ("to_q", "to_k", "to_v"), "qkv")
    parts = diffusers_names.unet_state(fuse(parts, ("add_k_proj", "add_v_proj"), "encoder_kv"))
    found = {renamed(name, _TEXT_OF_DIFFUSERS): np.asarray(tensor) for name, tensor in text_proj.items()}
    for name, tensor in parts.items():
        match = re.fullmatch(r"((?:(?:in|out)put_blocks\.\d+|middle_block)\.1)\.(.+)", name)
        own = f"{match[1]}.{renamed(match[2], _ATTENTION_OF_DIFFUSERS)}" if match else name
        of_attention = re.search(r"\.1\.(qkv|encoder_kv|proj_out)\.weight$", own)
        found[own] = tensor[:, :, None] if of_attention and np.ndim(tensor) == 2 else tensor
    return found
