"""Karlo's upsampler of unCLIP: two UNets, one of which takes the last step of sampling alone."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from score_jax.models.blocks.normalization import GROUPS
from score_jax.models.conditions import Condition, DeclaredConditions
from score_jax.models.unets.adm import ADM
from score_jax.typing import Image, Resized, Time


class KarloUpsampler(nn.Module):
    """Two of ADM's UNets without attention (Ramesh et al. 2022, section 2.3; Karlo's `improved_sr_64_256`).

    `first_steps` is a denoising model as any other. `last_step` was tuned from it by Karlo's authors with an
    adversarial and a perceptual loss; it takes the level 0 of the chain, where sampling ends.

    Attributes:
      channels: base channels, which set the width of the time embedding.
      channel_mult: multiple of `channels` at each level.
      num_res_blocks: residual blocks per level on the way down (one more on the way up).
      dropout: rate before the second convolution of a block.
      scale_shift_norm: the embedding scales and shifts normalised activations; otherwise it is added before the norm.
      norm_groups: groups of channels of a norm; 32 of the published model.
      remat: kinds of blocks to recompute in the backward pass: "residual".
      dtype: compute dtype; parameters, norms, embedding and output stay float32.
    """

    channels: int
    channel_mult: tuple[int, ...]
    num_res_blocks: int
    dropout: float = 0.0
    scale_shift_norm: bool = False
    norm_groups: int = GROUPS
    remat: tuple[str, ...] = ()
    dtype: Any = None

    def setup(self) -> None:
        """Makes the two networks, which are alike."""
        self.first_steps, self.last_step = unet_of(self), unet_of(self)

    def conditions(self, image_shape: tuple[int, int, int]) -> DeclaredConditions:
        """The image to enlarge."""
        return {"low_res": Condition(image_shape)}

    def __call__(self, x: Image, time_label: Time, *, low_res: Float[Array, "b _ _ c"], train: bool = False) -> Resized:
        """(b, h, w, c) for x (b, h, w, c), the indices of its levels (b,) and low_res (b, h', w', c).

        One network answers a batch, because all examples of a batch that is sampled are at one level: `last_step` where
        all levels are 0, and else `first_steps`.
        """
        if self.is_initializing():  # both have parameters, whatever the level is
            self.last_step(x, time_label, low_res=low_res, train=train)
            return self.first_steps(x, time_label, low_res=low_res, train=train)
        return nn.cond(
            jnp.all(time_label == 0),
            lambda own, *given: own.last_step(*given[:2], low_res=given[2], train=train),
            lambda own, *given: own.first_steps(*given[:2], low_res=given[2], train=train),
            self,
            x,
            time_label,
            low_res,
        )


def unet_of(upsampler: KarloUpsampler) -> ADM:
    """Either of its two networks, alone."""
    return ADM(
        channels=upsampler.channels,
        channel_mult=upsampler.channel_mult,
        num_res_blocks=upsampler.num_res_blocks,
        attention_resolutions=(),
        dropout=upsampler.dropout,
        learn_sigma=False,
        scale_shift_norm=upsampler.scale_shift_norm,
        resblock_updown=True,
        super_resolution=True,
        low_res_filter="cubic",
        middle_attention=False,
        norm_groups=upsampler.norm_groups,
        remat=upsampler.remat,
        dtype=upsampler.dtype,
        parent=None,  # it is no part of the module that asks for it
    )
