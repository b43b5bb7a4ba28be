"""Weights of ConvNeXt V2, in the names of timm and of facebookresearch/ConvNeXt-V2."""

import numpy as np

from score_jax.convert.correspondence import CONV, LINEAR, SAME, Counterpart, StateDict
from score_jax.convert.correspondence import Path as ParameterPath
from score_jax.convert.scorers import Family, known_as, number_of, renamed_by, shape_of
from score_jax.errors import InputError
from score_jax.models.scorers import convnext
from score_jax.models.scorers.convnext import ConvNeXtV2

_NETWORK = "ConvNeXt V2"
_LAYERS = {"depthwise": "conv_dw", "norm": "norm", "hidden": "mlp.fc1", "out": "mlp.fc2"}
_RESPONSE = {"response_scale": "mlp.grn.weight", "response_shift": "mlp.grn.bias"}
_LEAVES = {"kernel": "weight", "scale": "weight", "bias": "bias"}
_AUTHORS_NAMES = {
    r"downsample_layers\.0\.": "stem.",
    r"downsample_layers\.(\d+)\.": r"stages.\1.downsample.",
    r"stages\.(\d+)\.(\d+)\.dwconv\.": r"stages.\1.blocks.\2.conv_dw.",
    r"stages\.(\d+)\.(\d+)\.pwconv": r"stages.\1.blocks.\2.mlp.fc",
    r"stages\.(\d+)\.(\d+)\.grn\.gamma$": r"stages.\1.blocks.\2.mlp.grn.weight",
    r"stages\.(\d+)\.(\d+)\.grn\.beta$": r"stages.\1.blocks.\2.mlp.grn.bias",
    r"stages\.(\d+)\.(\d+)\.": r"stages.\1.blocks.\2.",
}
"""From the authors' names to timm's."""


def table(path: ParameterPath) -> Counterpart:
    """The tensor of a parameter of `models.scorers.convnext.ConvNeXtV2`, in timm's names."""
    module, *rest, leaf = path
    if module in ("stem", "stem_norm"):
        return Counterpart(f"stem.{int(module == 'stem_norm')}.{_LEAVES[leaf]}", CONV if leaf == "kernel" else SAME)
    _, stage, kind, *number = module.split("_")
    if kind != "block":
        name = f"stages.{stage}.downsample.{int(kind == 'halve')}.{_LEAVES[leaf]}"
        return Counterpart(name, CONV if leaf == "kernel" else SAME)
    place = f"stages.{stage}.blocks.{number[0]}"
    if leaf in _RESPONSE:
        return Counterpart(f"{place}.{_RESPONSE[leaf]}")
    (layer,) = rest
    kernel = CONV if layer == "depthwise" else LINEAR
    return Counterpart(f"{place}.{_LAYERS[layer]}.{_LEAVES[leaf]}", kernel if leaf == "kernel" else SAME)


def _module(state: StateDict) -> ConvNeXtV2:
    """The network that has these tensors, by their shapes."""
    depths: list[int] = []
    while depth := number_of(state, f"stages.{len(depths)}.blocks.{{}}.conv_dw.weight"):
        depths.append(depth)
    if not depths:
        raise InputError(f"The weights are no {_NETWORK}'s: stages.0.blocks.0.conv_dw.weight is missing.")
    names = (f"stages.{stage}.blocks.0.conv_dw.weight" for stage in range(len(depths)))
    return ConvNeXtV2(tuple(shape_of(state, name, 4, _NETWORK)[0] for name in names), tuple(depths))


def _timm_names(state: StateDict) -> StateDict:
    """Tensors as timm calls them; responses' scale and shift have axes of one more there in the authors' code."""
    if not any(name.startswith("downsample_layers.") for name in state):
        return state
    found: dict[str, np.ndarray] = {}
    for name, tensor in state.items():
        name = renamed_by(_AUTHORS_NAMES, name)
        found[name] = tensor.reshape(-1) if ".grn." in name else tensor
    return found


CONVNEXT = Family(
    network=_NETWORK,
    key="convnextv2",
    where="model.safetensors of timm/convnextv2_base.fcmae_ft_in22k_in1k of https://huggingface.co, or "
    "convnextv2_base_22k_224_ema.pt of https://github.com/facebookresearch/ConvNeXt-V2",
    published="convnextv2_base",
    module_of=_module,
    name_of=lambda module: known_as(module, convnext.ARCHITECTURES, "convnextv2"),
    shapes_of=convnext.parameter_shapes,
    table=table,
    renamed=_timm_names,
    buffers=r"(head|norm)\.",
)
