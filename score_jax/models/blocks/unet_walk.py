"""The way down and up a UNet, whatever its blocks are: DDPM, NCSN++ and ADM have it in common."""

import dataclasses
from collections.abc import Callable

import jax.numpy as jnp

from score_jax.typing import Image, Resized


@dataclasses.dataclass(frozen=True)
class UNetBlocks:
    """How a UNet's blocks are made, in the scope of its module.

    What they are given beside activations (a level embedding, a context, tokens) is theirs: the walk does not see it.

    Attributes:
      residual: `residual(h, channels, name)`.
      attend: `attend(h, name)`: attention over pixels, and over a context where the network has one.
      halve: `halve(h, name)`, to half the resolution.
      double: `double(h, name)`, to twice the resolution.
    """

    residual: Callable[[Image, int, str], Resized]
    attend: Callable[[Image, str], Image]
    halve: Callable[[Image, str], Resized]
    double: Callable[[Image, str], Resized]


def _unchanged(h: Resized, level: int) -> Resized:
    return h


def walk_down(
    blocks: UNetBlocks,
    h: Image,
    level_channels: tuple[int, ...],
    num_res_blocks: int,
    attention_resolutions: tuple[int, ...],
    halved: Callable[[Resized, int], Resized] = _unchanged,
) -> list[Resized]:
    """The activations from the input's resolution to the lowest: the skips of a UNet, `h` first.

    Args:
      blocks: how blocks are made.
      h: (b, h, w, c), after the first convolution.
      level_channels: channels of each level.
      num_res_blocks: residual blocks per level.
      attention_resolutions: heights at which each of them is followed by attention.
      halved: `halved(h, level)`: what is done to an activation that comes from this level, before it is kept.
    """
    skips = [h]
    for level, channels in enumerate(level_channels):
        for i in range(num_res_blocks):
            h = blocks.residual(h, channels, f"down_{level}_block_{i}")
            if h.shape[1] in attention_resolutions:
                h = blocks.attend(h, f"down_{level}_attention_{i}")
            skips.append(h)
        if level < len(level_channels) - 1:
            h = halved(blocks.halve(h, f"down_{level}_resample"), level)
            skips.append(h)
    return skips


def middle(blocks: UNetBlocks, h: Image) -> Image:
    """Residual block, attention, residual block at the lowest resolution."""
    h = blocks.residual(h, h.shape[-1], "middle_block_0")
    h = blocks.attend(h, "middle_attention")
    return blocks.residual(h, h.shape[-1], "middle_block_1")


def walk_up(
    blocks: UNetBlocks,
    h: Image,
    skips: list[Resized],
    level_channels: tuple[int, ...],
    num_res_blocks: int,
    attention_resolutions: tuple[int, ...],
    *,
    attend_every_block: bool = True,
) -> Resized:
    """From the lowest resolution to the input's, over the skips.

    Args:
      blocks: how blocks are made.
      h: at the lowest resolution.
      skips: of `walk_down`.
      level_channels: channels of each level.
      num_res_blocks: residual blocks per level, less one.
      attention_resolutions: heights with attention.
      attend_every_block: it follows every block of a level; otherwise the last one.
    """
    skips = list(skips)
    for level, channels in reversed(list(enumerate(level_channels))):
        for i in range(num_res_blocks + 1):
            h = jnp.concatenate([h, skips.pop()], axis=-1)
            h = blocks.residual(h, channels, f"up_{level}_block_{i}")
            if h.shape[1] in attention_resolutions and (attend_every_block or i == num_res_blocks):
                h = blocks.attend(h, f"up_{level}_attention_{i}")
        if level > 0:
            h = blocks.double(h, f"up_{level}_resample")
    return h
