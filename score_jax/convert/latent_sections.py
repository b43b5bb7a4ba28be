"""The networks of latent diffusion and Stable Diffusion by the shapes of their tensors, as sections of a config.

Shapes do not tell heads, which are those of Stable Diffusion here, nor what the network outputs.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from score_jax.convert.correspondence import StateDict
from score_jax.convert.parts import Parts
from score_jax.errors import InputError, quoted

SCALE = 0.18215
"""Of Stable Diffusion's latents."""
PROCESS = {"name": "vp_chain", "schedule": "scaled_linear", "num_levels": 1000, "beta_min": 0.85, "beta_max": 12.0}
_HEADS, _HEAD_CHANNELS = 8, 64
"""Of version 1 at every level, and of version 2 and both text encoders."""
OUTPUTS = ("eps", "v")
Section = dict[str, Any]


def stable_diffusion_sections(parts: Parts, output: str | None = None) -> dict[str, Any]:
    """The sections of a Stable Diffusion model, version 1 or 2.

    Args:
      parts: its tensors.
      output: what the network outputs, "eps" or "v"; None: eps of version 1, which is the only one there.

    Raises:
      InputError: it is none, or lacks a part; or it is of version 2, and `output` is not given.
    """
    if output is not None and output not in OUTPUTS:
        raise InputError(f"--prediction={output}: give eps or v.")
    if not parts.unet:
        raise InputError("It is a first stage alone: give --config=configs/ldm/kl_f8.py, or that of another one.")
    if not parts.first_stage:
        raise InputError("The first stage (VAE) is missing: give the file of the whole model.")
    if not parts.encoder:
        raise InputError("The text encoder (cond_stage_model.*) is missing: give the file of the whole model.")
    first, network = first_stage_section(parts.first_stage), unet_section(parts.unet)
    encoder = clip_section(parts.encoder)
    second = network["linear_projection"]
    if output is None and second:
        raise InputError(
            "Whether Stable Diffusion 2 outputs eps or v is not in its file: give --prediction=eps for 512-base "
            "models, --prediction=v for those of 768 pixels."
        )
    network |= {"context_length": encoder["length"]}
    network["concat_channels"] = network["concat_channels"] - first["embed_channels"]
    return {
        "network": network,
        "first_stage": first,
        "condition_encoder": encoder,
        "codec": {"name": "latents", "scale": parts.scale or SCALE},
        "process": PROCESS,
        "prediction": {"output": output or "eps", "label": "index"},
        "image_size": 768 if second and output == "v" else 512,
        "guidance_scale": 9.0 if second else 7.5,
        "discretisation": "latent_diffusion",
    }


def _shape(state: StateDict, name: str, axes: int) -> tuple[int, ...]:
    if name not in state or np.ndim(state[name]) != axes:
        found = quoted(np.shape(state[name])) if name in state else "not there"
        raise InputError(f"The weights are no Stable Diffusion's: {name} is {found}. Give --config of the model.")
    return np.shape(state[name])


def _count(state: StateDict, pattern: str) -> int:
    return max((int(match[1]) + 1 for name in state if (match := re.match(pattern, name))), default=0)


def unet_section(state: StateDict) -> Section:
    """The section `network` of a UNet with transformers.

    `concat_channels` are all of the input's: those of the latent are to be taken off.

    Raises:
      InputError: it is no such UNet.
    """
    channels, inputs, *_ = _shape(state, "input_blocks.0.0.weight", 4)
    halvings = sorted(int(m[1]) for name in state if (m := re.match(r"input_blocks\.(\d+)\.0\.op\.weight", name)))
    per_level = halvings[0] if halvings else _count(state, r"input_blocks\.(\d+)\.")
    if halvings != [per_level * (i + 1) for i in range(len(halvings))] or per_level < 2:
        raise InputError("The weights are no Stable Diffusion's: its blocks are others. Give --config of the model.")
    starts = [1 + level * per_level for level in range(len(halvings) + 1)]
    widths = [_shape(state, f"input_blocks.{i}.0.out_layers.3.weight", 4)[0] for i in starts]
    attending = [level for level, i in enumerate(starts) if f"input_blocks.{i}.1.norm.weight" in state]
    block = "middle_block.1.transformer_blocks"
    _, context = _shape(state, f"{block}.0.attn2.to_k.weight", 2)
    linear = np.ndim(state.get("middle_block.1.proj_in.weight", 0)) == 2
    return {
        "name": "latent_unet",
        "channels": channels,
        "channel_mult": tuple(width // channels for width in widths),
        "num_res_blocks": per_level - 1,
        "attention_factors": tuple(2**level for level in reversed(attending)),
        "num_heads": _HEADS,
        "num_head_channels": _HEAD_CHANNELS if linear else None,
        "context_width": context,
        "transformer_depth": _count(state, rf"{re.escape(block)}\.(\d+)\."),
        "linear_projection": linear,
        "concat_channels": inputs,
        "remat": (),
        "dtype": "float32",
    }


def first_stage_section(state: StateDict) -> Section:
    """The section `first_stage` of an autoencoder.

    Raises:
      InputError: it is none.
    """
    channels, image_channels, *_ = _shape(state, "encoder.conv_in.weight", 4)
    levels = _count(state, r"encoder\.down\.(\d+)\.")
    widths = [_shape(state, f"encoder.down.{i}.block.0.conv2.weight", 4)[0] for i in range(levels)]
    latent_channels, embed_channels, *_ = _shape(state, "post_quant_conv.weight", 4)
    attending = tuple(2**i for i in range(levels) if f"encoder.down.{i}.attn.0.norm.weight" in state)
    section = {
        "name": "autoencoder_kl",
        "channels": channels,
        "channel_mult": tuple(width // channels for width in widths),
        "num_res_blocks": _count(state, r"encoder\.down\.0\.block\.(\d+)\."),
        "latent_channels": latent_channels,
        "embed_channels": embed_channels,
        "attention_factors": attending,
        "middle_attention": "encoder.mid.attn_1.norm.weight" in state,
        "image_channels": image_channels,
        "dropout": 0.0,
        "dtype": "float32",
    }
    if "quantize.embedding.weight" not in state:
        return section
    return section | {"name": "autoencoder_vq", "codebook_size": _shape(state, "quantize.embedding.weight", 2)[0]}


def clip_section(state: StateDict) -> Section:
    """The section `condition_encoder` of CLIP's text encoder, in transformers' names or OpenCLIP's.

    Raises:
      InputError: it is neither's.
    """
    places: Mapping[str, tuple[str, str, str, int]] = {
        "quick_gelu": ("embeddings.token_embedding.weight", "embeddings.position_embedding.weight", "layers", 0),
        "gelu": ("token_embedding.weight", "positional_embedding", "resblocks", 1),
    }
    for activation, (tokens, position, blocks, skipped) in places.items():
        prefix = next((name.removesuffix(tokens) for name in state if f".{name}".endswith(f".{tokens}")), None)
        if prefix is None:
            continue
        vocabulary, width = _shape(state, prefix + tokens, 2)
        length, _ = _shape(state, prefix + position, 2)
        if width % _HEAD_CHANNELS:
            raise InputError(f"The text encoder's width {width} does not split into heads of 64: give --config.")
        return {
            "name": "clip_text",
            "vocabulary": vocabulary,
            "length": length,
            "width": width,
            "layers": _count(state, rf".*{blocks}\.(\d+)\."),
            "heads": width // _HEAD_CHANNELS,
            "activation": activation,
            "skip_last": skipped,
            "dtype": "float32",
        }
    raise InputError("The text encoder is no CLIP's: give --from=latent_diffusion and the --config of the model.")
