"""The sizes of Karlo's networks by their tensors, as sections of a config."""

import itertools
from typing import Any

import numpy as np

from score_jax.convert.karlo import Part
from score_jax.convert.latent_sections import Section
from score_jax.errors import InputError
from score_jax.models.clip.clip import CLIP
from score_jax.models.clip.clip_vision import VisionTransformer
from score_jax.models.priors.prior_transformer import EXTRA_TOKENS

_SEEN = 224
"""Height and width of the images that unCLIP's published CLIP sees, where its network of images is not there."""


def clip_section(module: CLIP) -> Section:
    """The section `clip`.

    Raises:
      InputError: its network of images is no transformer.
    """
    text, vision = module.text, module.vision
    section: dict[str, Any] = {
        "name": "clip",
        "image_size": _SEEN,
        "features": text.features,
        "vocabulary": text.vocabulary,
        "length": text.context,
        "text_width": text.width,
        "text_layers": text.layers,
        "text_heads": text.heads,
        "text_pool": text.pool,
    }
    if vision is None:
        return section
    if not isinstance(vision, VisionTransformer):
        raise InputError(
            "The CLIP sees images by a residual network, where Karlo's has a transformer: give ViT-L-14.pt."
        )
    sizes = {"patch": vision.patch, "width": vision.width, "layers": vision.layers, "heads": vision.heads}
    return section | {"image_size": vision.image_size} | sizes


def prior_section(part: Part) -> Section:
    """The section `network` of a prior.

    Raises:
      InputError: the tensors are no prior's.
    """
    _, tokens, width = _shape(part, "positional_embedding", 3)
    if width % part.head_channels:
        raise _not_karlos(part, f"a width of {width} does not split into heads of {part.head_channels} channels")
    return {
        "name": "prior_transformer",
        "width": width,
        "layers": _count(part, "transformer.resblocks.{}.ln_1.weight"),
        "heads": width // part.head_channels,
        "text_length": max(1, tokens - EXTRA_TOKENS),
        "text_width": _shape(part, "text_enc_proj.weight", 2)[1],
        "text_features": _shape(part, "text_emb_proj.weight", 2)[1],
        "norm_out": "final_ln.weight" in part.state,
        "dtype": "float32",
    }


def features_of(prior: Part) -> int:
    """Numbers of an embedding that a prior draws."""
    return _shape(prior, "out_proj.weight", 2)[0]


def decoder_section(part: Part, text_length: int) -> Section:
    """The section `network` of a decoder; no tensor of it tells how many tokens a text has.

    Raises:
      InputError: the tensors are no decoder's.
    """
    sizes, per_level = _unet(part)
    context_width, text_width = _shape(part, "text_seq_proj.0.weight", 2)
    tokens, image_features = _shape(part, "clip_tok_proj.weight", 2)
    attends = [f"input_blocks.{1 + level * per_level}.1.qkv.weight" for level in range(len(sizes["channel_mult"]))]
    scaled, _ = _shape(part, "input_blocks.1.0.emb_layers.1.weight", 2)
    return {
        "name": "unclip_decoder",
        **sizes,
        "attention_factors": tuple(2**level for level, name in enumerate(attends) if name in part.state),
        "image_features": image_features,
        "context_width": context_width,
        "extra_tokens": tokens // context_width,
        "text_length": text_length,
        "text_width": text_width,
        "text_features": _shape(part, "text_feat_proj.weight", 2)[1],
        "dropout": 0.1,
        "learn_sigma": _shape(part, "out.2.weight", 4)[0] == 2 * _shape(part, "input_blocks.0.0.weight", 4)[1],
        "num_head_channels": part.head_channels,
        "scale_shift_norm": scaled == 2 * sizes["channels"] * sizes["channel_mult"][0],
    }


def upsampler_section(part: Part) -> Section:
    """The section `network` of an upsampler.

    Raises:
      InputError: the tensors are no upsampler's.
    """
    prefix = "model_first_steps."
    sizes, _ = _unet(part, prefix)
    scaled, _ = _shape(part, f"{prefix}input_blocks.1.0.emb_layers.1.weight", 2)
    twice = scaled == 2 * sizes["channels"] * sizes["channel_mult"][0]
    return {"name": "karlo_upsampler", **sizes, "dropout": 0.0, "scale_shift_norm": twice}


def _unet(part: Part, prefix: str = "") -> tuple[dict[str, Any], int]:
    """The sizes of one of ADM's UNets that resample in residual blocks, and its entries a level.

    On the way up the last entry of each level, but of the last level, holds two residual blocks: that tells the levels.
    """
    channels = _shape(part, f"{prefix}input_blocks.0.0.weight", 4)[0]
    entries = _count(part, prefix + "output_blocks.{}.0.in_layers.2.weight")
    doubles = [
        i
        for i in range(entries)
        if any(f"{prefix}output_blocks.{i}.{place}.in_layers.2.weight" in part.state for place in (1, 2))
    ]
    per_level = doubles[0] + 1 if doubles else entries
    if per_level < 2 or entries % per_level:
        raise _not_karlos(part, f"{entries} blocks on the way up do not split into levels of {per_level}")
    firsts = [
        f"{prefix}input_blocks.{1 + level * per_level}.0.out_layers.3.weight" for level in range(entries // per_level)
    ]
    widths = [_shape(part, name, 4)[0] for name in firsts]
    if any(width % channels for width in widths):
        raise _not_karlos(part, f"widths {widths} of the levels are no multiples of {channels} channels")
    return {
        "channels": channels,
        "channel_mult": tuple(width // channels for width in widths),
        "num_res_blocks": per_level - 1,
        "norm_groups": part.norm_groups,
        "remat": (),
        "dtype": "float32",
    }, per_level


def _shape(part: Part, name: str, axes: int) -> tuple[int, ...]:
    if name not in part.state:
        raise _not_karlos(part, f"{name} is missing")
    shape = np.shape(part.state[name])
    if len(shape) != axes or 0 in shape:
        raise _not_karlos(part, f"{name} has the shape {shape}")
    return shape


def _count(part: Part, name: str) -> int:
    """How many tensors there are of a name with a place for their number."""
    return next(i for i in itertools.count() if name.format(i) not in part.state)


def _not_karlos(part: Part, why: str) -> InputError:
    return InputError(f"{part.source}: these are not the weights of Karlo's network ({why}): download it again.")
