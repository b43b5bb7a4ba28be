"""Names of the RefineNets' weights, in ermongroup/ncsn, ermongroup/ncsnv2 and score_sde_pytorch alike."""

import re

from score_jax.convert.correspondence import CONV, SAME, Counterpart, Path

BUFFERS = r"sigmas$"
"""The table of noise levels, which ours computes."""

_MODULES = {"conv_in": "begin_conv", "norm_out": "normalizer", "conv_out": "end_conv"}
_RESIDUAL = {
    "norm_1": "normalize1",
    "conv_1": "conv1",
    "norm_2": "normalize2",
    "conv_2": "conv2",
    "shortcut": "shortcut",
}


def _refine_layer(layer: str) -> str:
    """Within a refine block: units count from 1, and the numbers of inputs and stages from 0."""
    words = layer.split("_")
    match words:
        case ["adapt", i, unit, j, kind]:
            return f"adapt_convs.{i}.{int(unit) + 1}_{int(j) + 1}_{kind}"
        case ["output", unit, j, kind]:
            return f"output_convs.{int(unit) + 1}_{int(j) + 1}_{kind}"
        case [("fuse" | "pool") as part, i, kind]:
            return f"{ {'fuse': 'msf', 'pool': 'crp'}[part] }.{kind}s.{i}"
    raise KeyError(layer)


def table(halving_stages: tuple[str, ...]):
    """Of a RefineNet in which these stages halve the resolution: their convolutions lie a name deeper."""

    def counterpart(path: Path) -> Counterpart:
        module, *layers, leaf = path
        layer = layers[0] if layers else ""
        if module in _MODULES:
            prefix = _MODULES[module]
        elif match := re.fullmatch(r"res_(\d+)_(\d)", module):
            stage, i = match.groups()
            prefix = f"res{stage}.{i}.{_RESIDUAL[layer]}"
            if stage in halving_stages and i == "0" and layer in ("conv_2", "shortcut"):
                prefix += ".conv"
        else:
            prefix = f"{module.replace('_', '')}.{_refine_layer(layer)}"
        leaf = {"kernel": "weight", "table": "embed.weight"}.get(leaf, leaf)
        return Counterpart(f"{prefix}.{leaf}", CONV if path[-1] == "kernel" else SAME)

    return counterpart
