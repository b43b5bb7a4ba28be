"""Names of the weights of latent diffusion's first stages, and of the discriminators that they are trained against.

They are those of an autoencoder's own state dict; the files of whole models have `first_stage_model.` before them, and
training checkpoints of first stages `loss.discriminator.` before those of the discriminator.
"""

import re

from score_jax.convert.correspondence import CONV, POINTWISE_2D, SAME, Counterpart, Path, Table
from score_jax.models.discriminators.patch import PatchDiscriminator

_MODULES = {
    "conv_in": "conv_in",
    "middle_block_0": "mid.block_1",
    "middle_attention": "mid.attn_1",
    "middle_block_1": "mid.block_2",
    "norm_out": "norm_out",
    "conv_out": "conv_out",
}
_KINDS = {"block": "block.{}", "attention": "attn.{}", "resample": "{}sample.conv"}
_RESIDUAL = {"norm_1": "norm1", "conv_1": "conv1", "norm_2": "norm2", "conv_2": "conv2", "skip": "nin_shortcut"}
_ATTENTION = {"norm": "norm", "query": "q", "key": "k", "value": "v", "out": "proj_out"}
_STATISTICS = {"mean": "running_mean", "var": "running_var"}
DISCRIMINATOR_BUFFERS = r".*num_batches_tracked$"
"""Regular expression of a discriminator's tensors that are nothing of ours."""


def _place(module: str) -> str:
    """The original's name of a module within the encoder or the decoder."""
    if module in _MODULES:
        return _MODULES[module]
    match = re.fullmatch(r"(down|up)_(\d+)_(block|attention|resample)_?(\d*)", module)
    if match is None:
        raise KeyError(module)
    way, level, kind, index = match.groups()
    return f"{way}.{level}.{_KINDS[kind].format(index or way)}"


def table(path: Path) -> Counterpart:
    """The tensor of a parameter of an `AutoencoderKL` or an `AutoencoderVQ`."""
    if path == ("codebook",):
        return Counterpart("quantize.embedding.weight")
    part, *modules, leaf = path
    names, attends = [part], False
    if modules:
        names.append(_place(modules[0]))
        attends = "attention" in modules[0]
    if len(modules) > 1:
        names.append((_ATTENTION if attends else _RESIDUAL)[modules[1]])
    name = ".".join(names)
    if leaf != "kernel":
        return Counterpart(f"{name}.{'weight' if leaf == 'scale' else leaf}", SAME)
    return Counterpart(f"{name}.weight", POINTWISE_2D if attends else CONV)


def discriminator_table(network: PatchDiscriminator) -> Table:
    """Of a discriminator's variables: paths begin with "params" or "batch_stats"."""
    places = {"conv_in": 0, "conv_out": 3 * network.num_layers + 2}
    for i in range(1, network.num_layers + 1):
        places |= {f"conv_{i}": 3 * i - 1, f"norm_{i}": 3 * i}

    def counterpart(path: Path) -> Counterpart:
        _, module, leaf = path
        name = f"main.{places[module]}"
        if leaf == "kernel":
            return Counterpart(f"{name}.weight", CONV)
        return Counterpart(f"{name}.{({'scale': 'weight'} | _STATISTICS).get(leaf, leaf)}", SAME)

    return counterpart
