"""Names of score_sde's weights: `all_modules.<i>` of the PyTorch port, `<Class>_<k>` of the Flax original.

Both number modules in the order of their creation, so one list of our modules in that order serves both.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

from score_jax.convert.correspondence import CONV, LINEAR, POINTWISE_2D, SAME, Counterpart, Path, Table
from score_jax.models.unets.ddpm import DDPM
from score_jax.models.unets.ncsnpp import NCSNpp


@dataclasses.dataclass(frozen=True)
class _Slot:
    """A module of the original: its Flax class, and the name of ours; None where it has no parameters."""

    flax_class: str
    ours: str | None


def _attends(network: NCSNpp | DDPM, image_size: int, level: int) -> bool:
    return image_size // 2**level in network.attention_resolutions


def _level_change(network: NCSNpp | DDPM, direction: str, level: int) -> _Slot:
    ours = f"{direction}_{level}_resample"
    if isinstance(network, NCSNpp) and network.resblock == "biggan":
        return _Slot("ResnetBlockBigGANpp", ours)
    sample = {"down": "Downsample", "up": "Upsample"}[direction]
    return _Slot(sample, ours if network.resample_with_conv else None)


def _slots(network: NCSNpp | DDPM, image_size: int) -> list[_Slot]:
    """The original's modules in order."""
    plusplus = isinstance(network, NCSNpp)
    block = (
        {"biggan": "ResnetBlockBigGANpp", "ddpm": "ResnetBlockDDPMpp"}[network.resblock]
        if plusplus
        else "ResnetBlockDDPM"
    )
    attention = "AttnBlockpp" if plusplus else "AttnBlock"
    progressive = network.progressive if plusplus else "none"
    progressive_input = network.progressive_input if plusplus else "none"
    levels, blocks = len(network.channel_mult), network.num_res_blocks

    slots = []
    if plusplus and network.embedding == "fourier":
        slots.append(_Slot("GaussianFourierProjection", "fourier"))
    if network.conditional:
        slots += [_Slot("Dense", "embedding_1"), _Slot("Dense", "embedding_2")]
    slots.append(_Slot("Conv", "conv_in"))
    for level in range(levels):
        for i in range(blocks):
            slots.append(_Slot(block, f"down_{level}_block_{i}"))
            slots += [_Slot(attention, f"down_{level}_attention_{i}")] if _attends(network, image_size, level) else []
        if level < levels - 1:
            slots.append(_level_change(network, "down", level))
            joined = {"residual": "Downsample", "input_skip": "Combine"}.get(progressive_input)
            slots += [_Slot(joined, f"down_{level}_pyramid")] if joined else []
    slots += [_Slot(block, "middle_block_0"), _Slot(attention, "middle_attention"), _Slot(block, "middle_block_1")]
    for level in reversed(range(levels)):
        last = "attention" if plusplus else f"attention_{blocks}"
        slots += [_Slot(block, f"up_{level}_block_{i}") for i in range(blocks + 1)]
        slots += [_Slot(attention, f"up_{level}_{last}")] if _attends(network, image_size, level) else []
        if progressive == "output_skip" or (progressive == "residual" and level == levels - 1):
            slots += [_Slot("GroupNorm", f"norm_pyramid_{level}"), _Slot("Conv", f"conv_pyramid_{level}")]
        elif progressive == "residual":
            slots.append(_Slot("Upsample", f"up_{level}_pyramid"))
        slots += [_level_change(network, "up", level)] if level else []
    if progressive != "output_skip":
        slots += [_Slot("GroupNorm", "norm_out"), _Slot("Conv", "conv_out")]
    return slots


_BLOCK = {
    "norm_1": "GroupNorm_0",
    "conv_1": "Conv_0",
    "embedding": "Dense_0",
    "norm_2": "GroupNorm_1",
    "conv_2": "Conv_1",
}
_ATTENTION = {"norm": "GroupNorm_0", "query": "NIN_0", "key": "NIN_1", "value": "NIN_2", "out": "NIN_3"}


def _inner(slot: _Slot, layer: str, fir: bool) -> str:
    """The original's name of a layer within a module; empty where the module is the layer."""
    if slot.flax_class.startswith("ResnetBlock"):
        skip = "Conv_2" if slot.flax_class == "ResnetBlockBigGANpp" else "NIN_0"
        return (_BLOCK | {"skip": skip})[layer]
    if slot.flax_class.startswith("AttnBlock"):
        return _ATTENTION[layer]
    if slot.flax_class in ("Downsample", "Upsample"):
        return "Conv2d_0" if fir else "Conv_0"
    return "Conv_0" if slot.flax_class == "Combine" else ""


class _Place(NamedTuple):
    """Where the original has a module: its number among all modules, its number within its Flax class, and its slot."""

    number: int
    within: int
    slot: _Slot


def _located(network: NCSNpp | DDPM, image_size: int) -> dict[str, _Place]:
    """Where the original has each module of ours."""
    counts: dict[str, int] = {}
    located = {}
    for index, slot in enumerate(_slots(network, image_size)):
        within = counts.get(slot.flax_class, 0)
        counts[slot.flax_class] = within + 1
        if slot.ours is not None:
            located[slot.ours] = _Place(index, within, slot)
    return located


def _nested(prefix: str, *rest: str, separator: str) -> str:
    return separator.join(word for word in (prefix, *rest) if word)


def _is_nin(inner: str) -> bool:
    return inner.startswith("NIN")


def _table(
    network: NCSNpp | DDPM, image_size: int, original: Callable[[_Place, str, list[str], str], Counterpart]
) -> Table:
    """The table of `original(place, inner, layers, leaf)`, where `inner` is the original's name of our `layers`."""
    located, fir = _located(network, image_size), isinstance(network, NCSNpp) and network.fir

    def counterpart(path: Path) -> Counterpart:
        module, *layers, leaf = path
        place = located[module]
        return original(place, _inner(place.slot, layers[0] if layers else "", fir), layers, leaf)

    return counterpart


def torch_table(network: NCSNpp | DDPM, image_size: int) -> Table:
    """Of score_sde_pytorch's `model` and EMA: kernels OIHW, NIN weights [in, out]."""
    return _table(network, image_size, _in_torch)


def _in_torch(place: _Place, inner: str, layers: list[str], leaf: str) -> Counterpart:
    if _is_nin(inner):
        leaf, layout = {"kernel": "W", "bias": "b"}[leaf], SAME
    elif leaf == "kernel":
        dense = place.slot.flax_class == "Dense" or inner == "Dense_0"
        leaf, layout = "weight", LINEAR if dense else POINTWISE_2D if layers == ["skip"] else CONV
    else:
        leaf, layout = {"scale": "weight"}.get(leaf, leaf), SAME
    return Counterpart(_nested("all_modules", str(place.number), inner, leaf, separator="."), layout)


def flax_table(network: NCSNpp | DDPM, image_size: int) -> Table:
    """Of the Flax original, names joined by `/`: kernels as ours, except that the skip of a block is a convolution."""
    return _table(network, image_size, _in_flax)


def _in_flax(place: _Place, inner: str, layers: list[str], leaf: str) -> Counterpart:
    layout = SAME
    if _is_nin(inner):
        leaf = {"kernel": "W", "bias": "b"}[leaf]
    elif inner == "Conv2d_0":
        leaf = {"kernel": "weight"}.get(leaf, leaf)
    elif layers == ["skip"] and leaf == "kernel":
        layout = "1 1 i o -> i o"
    return Counterpart(_nested(f"{place.slot.flax_class}_{place.within}", inner, leaf, separator="/"), layout)


def flax_buffers(network: NCSNpp | DDPM) -> str:
    """Parameters of the Flax original that ours has not: the embedding of an unconditional network."""
    return "" if network.conditional else r"GaussianFourierProjection_0/W$"


def torch_buffers(network: NCSNpp | DDPM) -> str:
    """Tensors of score_sde_pytorch that ours has no parameter for: the table of noise levels, which ours computes, and
    what an unconditional network keeps of its embedding without using it.
    """
    return r"sigmas$" if network.conditional else r"sigmas$|all_modules\.0\.W$|.*\.Dense_0\."
