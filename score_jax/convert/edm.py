"""Names of EDM's weights: `model.enc.32x32_block0.conv0.weight`, and so on."""

import re

from score_jax.convert.correspondence import CONV, LINEAR, POINTWISE_2D, Counterpart, Path, Table
from score_jax.models.edm_dhariwal import DhariwalUNet
from score_jax.models.edm_song import SongUNet

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
    def at(level: int, way: str, what: str) -> str:
        size = image_size >> level
        return f"{way}.{size}x{size}_{what}"

    def place(module: str) -> str:
        """The original names a change of resolution by where it leads, we by where it starts."""
        if module in modules:
            return modules[module]
        if module == "conv_in":
            return at(0, "enc", "conv")
        way, *words = module.split("_")
        match [way, *words]:
            case ["down", level, "resample"]:
                return at(int(level) + 1, "enc", "down")
            case ["down", level, "pyramid"]:
                return at(int(level) + 1, "enc", pyramid)
            case ["down", level, "block", i]:
                return at(int(level), "enc", f"block{i}")
            case ["middle", "block", i]:
                return at(levels - 1, "dec", f"in{i}")
            case ["up", level, "resample"]:
                return at(int(level) - 1, "dec", "up")
            case ["up", level, "block", i]:
                return at(int(level), "dec", f"block{i}")
            case [("norm" | "conv") as kind, "out", level]:
                return at(int(level), "dec", f"aux_{kind}")
        raise KeyError(module)

    def counterpart(path: Path) -> Counterpart:
        module, *layers, leaf = path
        name = ".".join(["model", place(module), *(_LAYERS[layer] for layer in layers), _LEAVES[leaf]])
        return Counterpart(name, _layout(name)) if leaf == "kernel" else Counterpart(name)

    return counterpart


def _layout(name: str) -> str:
    """Of a kernel: linear layers of embeddings, 1 x 1 convolutions, which are linear layers of ours, and others."""
    if re.search(r"map_|\.affine\.", name):
        return LINEAR
    return POINTWISE_2D if re.search(r"\.(skip|qkv|proj)\.|aux_skip\.", name) else CONV
