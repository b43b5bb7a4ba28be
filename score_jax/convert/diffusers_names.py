"""diffusers' names of Stable Diffusion's weights, as the names of the originals (see `latent.py`, `first_stage.py`).

A name that is not known stays as it is, so that the tables of the originals refuse it.
"""

import re
from collections.abc import Mapping

import numpy as np

from score_jax.convert.correspondence import StateDict

_UNET = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "mid_block.resnets.0": "middle_block.0",
    "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
}
_UNET_RESIDUAL = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_UNET_BLOCK = re.compile(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)")


def unet_state(state: StateDict) -> dict[str, np.ndarray]:
    """The original's tensors of a UNet2DConditionModel's."""
    per_level = _blocks(state, r"down_blocks\.0\.resnets\.(\d+)\.") + 1
    attending = {int(match[1]) for name in state if (match := re.match(r"up_blocks\.(\d+)\.attentions\.", name))}
    names = {name: _unet_name(name, per_level, attending) for name in state}
    if not any(name.startswith("mid_block.attentions.") for name in state):
        names = {name: re.sub(r"^middle_block\.2\.", "middle_block.1.", own) for name, own in names.items()}
    return {names[name]: tensor for name, tensor in state.items()}


def _blocks(state: StateDict, pattern: str) -> int:
    """How many blocks there are whose number the pattern's group is."""
    return max((int(match[1]) + 1 for name in state if (match := re.match(pattern, name))), default=0)


def _unet_name(name: str, per_level: int, attending: set[int]) -> str:
    if match := _UNET_BLOCK.fullmatch(name):
        way, level, kind, index, rest = match[1], int(match[2]), match[3], int(match[4]), match[5]
        resamples = kind.endswith("samplers")
        i = level * per_level + (per_level - 1 if resamples else index) + (way == "down")
        place = f"{'input' if way == 'down' else 'output'}_blocks.{i}"
        if resamples:
            inside, inner = 0 if way == "down" else 1 + (level in attending), rest.removeprefix("conv.")
            if inner == rest:  # a residual block that resamples
                return f"{place}.{inside}.{renamed(rest, _UNET_RESIDUAL)}"
            return f"{place}.{inside}.{'op' if way == 'down' else 'conv'}.{inner}"
        return f"{place}.0.{renamed(rest, _UNET_RESIDUAL)}" if kind == "resnets" else f"{place}.1.{rest}"
    for theirs, ours in _UNET.items():
        if name.startswith(f"{theirs}."):
            rest = name.removeprefix(f"{theirs}.")
            return f"{ours}.{renamed(rest, _UNET_RESIDUAL) if 'resnets' in theirs else rest}"
    return name


def renamed(name: str, names: Mapping[str, str]) -> str:
    """A name of which the beginning, or all, is called otherwise."""
    for theirs, ours in names.items():
        if name == theirs or name.startswith(f"{theirs}."):
            return ours + name.removeprefix(theirs)
    return name


_AUTOENCODER_MIDDLE = {"resnets.0": "block_1", "attentions.0": "attn_1", "resnets.1": "block_2"}
_AUTOENCODER_KINDS = {"resnets": "block", "attentions": "attn"}
_AUTOENCODER_BLOCK = re.compile(
    r"(encoder\.down|decoder\.up)_blocks\.(\d+)\.(?:(resnets|attentions)\.(\d+)|(down|up)samplers\.0)\.(.+)"
)
_ATTENTION = {
    "group_norm": "norm",
    "to_q": "q",
    "to_k": "k",
    "to_v": "v",
    "to_out.0": "proj_out",
    "query": "q",
    "key": "k",
    "value": "v",
    "proj_attn": "proj_out",
}
"""With the names of earlier versions."""


def first_stage_state(state: StateDict) -> dict[str, np.ndarray]:
    """The original's tensors of an AutoencoderKL's or a VQModel's; attention has 1 x 1 convolutions there."""
    levels, found = _blocks(state, r"decoder\.up_blocks\.(\d+)\."), {}
    for name, tensor in state.items():
        new = _first_stage_name(name, levels)
        attends = re.search(r"\.(attn_1|attn\.\d+)\.(q|k|v|proj_out)\.weight$", new)
        found[new] = tensor[:, :, None, None] if attends and np.ndim(tensor) == 2 else tensor
    return found


def _first_stage_name(name: str, levels: int) -> str:
    if match := _AUTOENCODER_BLOCK.fullmatch(name):
        way, number, kind, index, resample, rest = match.groups()
        level = int(number) if way == "encoder.down" else levels - 1 - int(number)
        if resample:
            return f"{way}.{level}.{resample}sample.{rest}"
        return f"{way}.{level}.{_AUTOENCODER_KINDS[kind]}.{index}.{_in_block(rest, kind)}"
    part, _, rest = name.partition(".mid_block.")
    if rest:
        for theirs, ours in _AUTOENCODER_MIDDLE.items():
            if rest.startswith(f"{theirs}."):
                return f"{part}.mid.{ours}.{_in_block(rest.removeprefix(f'{theirs}.'), theirs)}"
    return re.sub(r"^(encoder|decoder)\.conv_norm_out\.", r"\1.norm_out.", name)


def _in_block(name: str, kind: str) -> str:
    return renamed(name, _ATTENTION if kind.startswith("attentions") else {"conv_shortcut": "nin_shortcut"})


_BERT = {"model.embed_tokens": "token_emb", "model.embed_positions": "pos_emb.emb", "model.layer_norm": "norm"}
_BERT_LAYER = {
    "self_attn_layer_norm": (0, "0"),
    "self_attn.q_proj": (0, "1.to_q"),
    "self_attn.k_proj": (0, "1.to_k"),
    "self_attn.v_proj": (0, "1.to_v"),
    "self_attn.out_proj": (0, "1.to_out"),
    "final_layer_norm": (1, "0"),
    "fc1": (1, "1.net.0.0"),
    "fc2": (1, "1.net.2"),
}


def bert_state(state: StateDict) -> dict[str, np.ndarray]:
    """The original's tensors of an LDMBertModel's."""
    return {_bert_name(name): tensor for name, tensor in state.items()}


def _bert_name(name: str) -> str:
    if match := re.fullmatch(r"model\.layers\.(\d+)\.(.+)\.(weight|bias)", name):
        layer, module, leaf = match.groups()
        if module in _BERT_LAYER:
            half, place = _BERT_LAYER[module]
            return f"attn_layers.layers.{2 * int(layer) + half}.{place}.{leaf}"
    return renamed(name, _BERT)
