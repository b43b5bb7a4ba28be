"""Names of improved diffusion's and ADM's weights: `input_blocks.<i>.<j>`, and so on."""

import re
from collections.abc import Callable

from score_jax.convert.correspondence import CONV, LINEAR, POINTWISE_1D, POINTWISE_2D, SAME, Counterpart, Path, Table
from score_jax.models.classifiers.adm_classifier import ADMClassifier
from score_jax.models.unets.adm import ADM
from score_jax.models.unets.latent import LatentUNet
from score_jax.models.unets.unclip import UnCLIPDecoder

Network = ADM | ADMClassifier | LatentUNet | UnCLIPDecoder
_MODULES = {
    "embedding_1": "time_embed.0",
    "embedding_2": "time_embed.2",
    "class_embedding": "label_emb",
    "conv_in": "input_blocks.0.0",
    "middle_block_0": "middle_block.0",
    "middle_attention": "middle_block.1",
    "middle_block_1": "middle_block.2",
    "conv_out": "out.2",
    "pool": "out.2",
}
_HEADS = {
    "adaptive": {"norm_out": "out.0", "out": "out.3"},
    "spatial": {"hidden": "out.0", "out": "out.2"},
    "spatial_v2": {"hidden": "out.0", "norm_out": "out.1", "out": "out.3"},
}
_RESIDUAL = {
    "norm_1": "in_layers.0",
    "conv_1": "in_layers.2",
    "embedding": "emb_layers.1",
    "norm_2": "out_layers.0",
    "conv_2": "out_layers.3",
    "skip": "skip_connection",
}
_ATTENTION = {"norm": "norm", "qkv": "qkv", "context_kv": "encoder_kv", "out": "proj_out"}
_POOL = {"qkv": "qkv_proj", "out": "c_proj"}


def place(network: Network, attends: Callable[[int], bool], module: str) -> str:
    """The original's name of a module of the two ways or between them.

    Args:
      network: whose module it is.
      attends: whether attention follows the blocks of a level.
      module: our name of it.
    """
    if module == "middle_block_1" and isinstance(network, ADM) and not network.middle_attention:
        return _MODULES["middle_attention"]
    if module in _MODULES:
        return _MODULES[module]
    match = re.fullmatch(r"(down|up)_(\d+)_(block|attention|resample)_?(\d*)", module)
    if match is None:
        raise KeyError(module)
    way, level, kind, index = match.groups()
    per_level, depth = network.num_res_blocks + 1, int(level)
    if way == "down":
        i = 1 + depth * per_level + (int(index) if index else network.num_res_blocks)
        return f"input_blocks.{i}.{int(kind == 'attention')}"
    i = (len(network.channel_mult) - 1 - depth) * per_level + (int(index) if index else network.num_res_blocks)
    return f"output_blocks.{i}.{ {'block': 0, 'attention': 1, 'resample': 1 + attends(depth)}[kind] }"


def table(network: ADM | ADMClassifier, image_size: int) -> Table:
    """Of the released state dicts."""
    return table_of(network, lambda level: image_size // 2**level in network.attention_resolutions)


def table_of(network: Network, attends: Callable[[int], bool]) -> Table:
    """Of the state dicts of a network of these blocks; `attends(level)`: whether attention follows a level's blocks."""
    heads = {"norm_out": "out.0"} | (_HEADS.get(network.pool, {}) if isinstance(network, ADMClassifier) else {})

    def counterpart(path: Path) -> Counterpart:
        module, *layers, leaf = path
        layer = layers[0] if layers else ""
        prefix = heads[module] if module in heads else place(network, attends, module)
        if layer:
            names = _POOL if module == "pool" else _ATTENTION if "attention" in module else _RESIDUAL
            prefix = f"{prefix}.{names[layer]}"
        elif module.endswith("resample"):
            prefix = f"{prefix}.{'op' if module.startswith('down') else 'conv'}"
        if leaf == "position":
            return Counterpart(f"{prefix}.positional_embedding", "c n -> n c")
        if leaf != "kernel":
            return Counterpart(f"{prefix}.{ {'scale': 'weight', 'embedding': 'weight'}.get(leaf, leaf) }", SAME)
        return Counterpart(f"{prefix}.weight", _layout(network, module, layer))

    return counterpart


def _layout(network: Network, module: str, layer: str) -> str:
    """Of a kernel: attention's 1-d projections, linear layers, a head that is a 1 x 1 convolution, and convolutions."""
    if "attention" in module or module == "pool":
        return POINTWISE_1D
    if module.startswith("embedding") or layer == "embedding" or module == "hidden":
        return LINEAR
    if module == "out":
        return POINTWISE_2D if getattr(network, "pool", "") == "adaptive" else LINEAR
    return CONV
