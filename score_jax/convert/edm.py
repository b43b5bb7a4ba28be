"""Names of EDM's weights: `model.enc.32x32_block0.conv0.weight`, and so on."""

import re

from score_jax.convert.correspondence import CONV, LINEAR, POINTWISE_2D, Counterpart, Path, Table
from score_jax.models.unets.edm_dhariwal import DhariwalUNet
from score_jax.models.unets.edm_song import SongUNet

BUFFERS = r"u$|.*\.resample_filter$"
"""Tensors that follow from the config: iDDPM's noise levels and the FIR filters."""

_LABELS = {
    "fourier": "map_noise",
    "class_embedding": "map_label",
    "augment_embedding": "map_augment",
    "embedding_1": "map_layer0",
    "embedding_2": "map_layer1",
}
_LAYERS = {
    "norm_1": "norm0",
    "conv_1": "conv0",
    "embedding": "affine",
    "norm_2": "norm1",
    "conv_2": "conv1",
    "skip": "skip",
    "norm_3": "norm2",
    "qkv": "qkv",
    "out": "proj",
}
_LEAVES = {"kernel": "weight", "scale": "weight", "bias": "bias", "W": "freqs"}


def song_unet_table(network: SongUNet, image_size: int) -> Table:
    """Of a SongUNet at this image size, under any preconditioning."""
    pyramid = {"skip": "aux_skip", "residual": "aux_residual"}.get(network.encoder, "")
    return _table(len(network.channel_mult), image_size, _LABELS, pyramid)


def dhariwal_unet_table(network: DhariwalUNet, image_size: int) -> Table:
    """Of a DhariwalUNet at this image size, under any preconditioning."""
    head = {"norm_out": "out_norm", "conv_out": "out_conv"}
    return _table(len(network.channel_mult), image_size, _LABELS | head, "")


def _table(levels: int, image_size: int, modules: dict[str, str], pyramid: str) -> Table:
    def name_of(module: str) -> str:
        if module in modules:
            return modules[module]
        way, level, what = _place(module, levels, pyramid)
        size = image_size >> level
        return f"{way}.{size}x{size}_{what}"

    def counterpart(path: Path) -> Counterpart:
        module, *layers, leaf = path
        name = ".".join(["model", name_of(module), *(_LAYERS[layer] for layer in layers), _LEAVES[leaf]])
        return Counterpart(name, _layout(name)) if leaf == "kernel" else Counterpart(name)

    return counterpart


def _place(module: str, levels: int, pyramid: str) -> tuple[str, int, str]:
    """Way, level and name: the original counts a change of resolution to where it leads, we to where it starts."""
    match module.split("_"):
        case ["conv", "in"]:
            return "enc", 0, "conv"
        case ["down", level, "block", i]:
            return "enc", int(level), f"block{i}"
        case ["down", level, "resample"]:
            return "enc", int(level) + 1, "down"
        case ["down", level, "pyramid"]:
            return "enc", int(level) + 1, pyramid
        case ["middle", "block", i]:
            return "dec", levels - 1, f"in{i}"
        case ["up", level, "block", i]:
            return "dec", int(level), f"block{i}"
        case ["up", level, "resample"]:
            return "dec", int(level) - 1, "up"
        case [kind, "out", level]:
            return "dec", int(level), f"aux_{kind}"
    raise KeyError(module)


def _layout(name: str) -> str:
    """Of a kernel: linear layers of embeddings, 1 x 1 convolutions, which are linear layers of ours, and others."""
    if re.search(r"map_|\.affine\.", name):
        return LINEAR
    return POINTWISE_2D if re.search(r"\.(skip|qkv|proj)\.|aux_skip\.", name) else CONV
