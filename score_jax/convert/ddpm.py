"""Names of DDPM's weights as pesser/pytorch_diffusion released them: `down.<level>.block.<i>.conv1.weight`."""

import re

from score_jax.convert.correspondence import CONV, LINEAR, POINTWISE_2D, SAME, Counterpart, Path

_MODULES = (
    (r"embedding_1", "temb.dense.0"),
    (r"embedding_2", "temb.dense.1"),
    (r"conv_in|conv_out|norm_out", r"\g<0>"),
    (r"(down|up)_(\d+)_block_(\d+)", r"\1.\2.block.\3"),
    (r"(down|up)_(\d+)_attention_(\d+)", r"\1.\2.attn.\3"),
    (r"(down|up)_(\d+)_resample", r"\1.\2.\1sample.conv"),
    (r"middle_block_0", "mid.block_1"),
    (r"middle_attention", "mid.attn_1"),
    (r"middle_block_1", "mid.block_2"),
)
_LAYERS = {
    "norm_1": "norm1",
    "conv_1": "conv1",
    "embedding": "temb_proj",
    "norm_2": "norm2",
    "conv_2": "conv2",
    "skip": "nin_shortcut",
    "norm": "norm",
    "query": "q",
    "key": "k",
    "value": "v",
    "out": "proj_out",
}


def _module(name: str) -> str:
    for pattern, replacement in _MODULES:
        match = re.fullmatch(pattern, name)
        if match:
            return match.expand(replacement)
    raise KeyError(name)


def table(path: Path) -> Counterpart:
    """The tensor of a parameter of `models.ddpm.DDPM`."""
    module, *layers, leaf = path
    inner = layers[0] if layers else ""
    words = [_module(module), *([_LAYERS[inner]] if inner else []), {"bias": "bias"}.get(leaf, "weight")]
    layout = SAME
    if leaf == "kernel" and (inner == "embedding" or module.startswith("embedding")):
        layout = LINEAR
    elif leaf == "kernel":
        layout = POINTWISE_2D if inner in ("skip", "query", "key", "value", "out") else CONV
    return Counterpart(".".join(words), layout)
