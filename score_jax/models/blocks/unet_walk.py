"""The way down and up a UNet, whatever its blocks are: DDPM, NCSN++, ADM and EDM's networks have it in common."""

import dataclasses
from collections.abc import Callable

import jax.numpy as jnp

from score_jax.typing import Image, Resized


@dataclasses.dataclass(frozen=True)
class UNetBlocks:
    """How a UNet's blocks are made, in the scope of its module.

    What they are given beside activations (a level embedding, a context, tokens) is theirs: the walk does not see it.

    Attributes:
      block: `block(h, channels, name, attention)`: a residual block, and unless `attention` is None attention over
        pixels (and over a context where the network has one), within the block or behind it in a module of that name.
      halve: `halve(h, name)`, to half the resolution.
      double: `double(h, name)`, to twice the resolution.
    """

    block: Callable[[Image, int, str, str | None], Resized]
    halve: Callable[[Image, str], Resized]
    double: Callable[[Image, str], Resized]


def followed_by(
    residual: Callable[[Image, int, str], Resized], attend: Callable[[Image, str], Image]
) -> Callable[[Image, int, str, str | None], Resized]:
    """The `block` of a network whose attention is a module of its own.

    Args:
      residual: `residual(h, channels, name)`.
      attend: `attend(h, name)`.
    """

    def block(h: Image, channels: int, name: str, attention: str | None) -> Resized:
        h = residual(h, channels, name)
        return h if attention is None else attend(h, attention)

    return block


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
      attention_resolutions: heights at which each of them has attention.
      halved: `halved(h, level)`: what is done to an activation that comes from this level, before it is kept.
    """
    skips = [h]
    for level, channels in enumerate(level_channels):
        for i in range(num_res_blocks):
            attention = f"down_{level}_attention_{i}" if h.shape[1] in attention_resolutions else None
            h = blocks.block(h, channels, f"down_{level}_block_{i}", attention)
            skips.append(h)
        if level < len(level_channels) - 1:
            h = halved(blocks.halve(h, f"down_{level}_resample"), level)
            skips.append(h)
    return skips


def middle(blocks: UNetBlocks, h: Image, *, attends: bool = True) -> Image:
    """A block, with attention if it `attends`, and one without, at the lowest resolution."""
    h = blocks.block(h, h.shape[-1], "middle_block_0", "middle_attention" if attends else None)
    return blocks.block(h, h.shape[-1], "middle_block_1", None)


def walk_up(
    blocks: UNetBlocks,
    h: Image,
    skips: list[Resized],
    level_channels: tuple[int, ...],
    num_res_blocks: int,
    attention_resolutions: tuple[int, ...],
    *,
    attend_every_block: bool = True,
    finished: Callable[[Resized, int], Resized] = _unchanged,
) -> Resized:
    """From the lowest resolution to the input's, over the skips.

    Args:
      blocks: how blocks are made.
      h: at the lowest resolution.
      skips: of `walk_down`.
      level_channels: channels of each level.
      num_res_blocks: residual blocks per level, less one.
      attention_resolutions: heights with attention.
      attend_every_block: every block of a level has it; otherwise the last one.
      finished: `finished(h, level)`: what is done to the last activation of a level before its resolution is doubled.
    """
    skips = list(skips)
    for level, channels in reversed(list(enumerate(level_channels))):
        for i in range(num_res_blocks + 1):
            attends = h.shape[1] in attention_resolutions and (attend_every_block or i == num_res_blocks)
            h = jnp.concatenate([h, skips.pop()], axis=-1)
            h = blocks.block(h, channels, f"up_{level}_block_{i}", f"up_{level}_attention_{i}" if attends else None)
        if level > 0:
            h = blocks.double(finished(h, level), f"up_{level}_resample")
    return h
