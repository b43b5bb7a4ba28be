"""The networks of a folder of diffusers by its config.json files, as sections of a config."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from score_jax.convert.latent_sections import SCALE, Section
from score_jax.errors import InputError, quoted

Json = Mapping[str, Any]
_MAX_BYTES = 2**20
_REST = object()
_UNET_ALONE: Json = {
    "act_fn": "silu",
    "center_input_sample": False,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "downsample_padding": 1,
    "mid_block_scale_factor": 1,
    "norm_eps": 1e-5,
    "resnet_time_scale_shift": "default",
    "dual_cross_attention": False,
    "only_cross_attention": False,
    "class_embed_type": None,
    "num_class_embeds": None,
    "addition_embed_type": None,
    "encoder_hid_dim_type": None,
    "time_embedding_type": "positional",
    "time_cond_proj_dim": None,
    "conv_in_kernel": 3,
    "conv_out_kernel": 3,
    "attention_type": "default",
    "mid_block_type": "UNetMidBlock2DCrossAttn",
}
_VAE_ALONE: Json = {
    "act_fn": "silu",
    "shift_factor": None,
    "use_quant_conv": True,
    "use_post_quant_conv": True,
    "latents_mean": None,
    "norm_type": "group",
}
_TEXT_ALONE: Json = {"layer_norm_eps": 1e-5}
_BERT_ALONE: Json = {"activation_function": "gelu"}
_SCHEDULER_ALONE: Json = {"trained_betas": None, "rescale_betas_zero_snr": False}
"""What the networks here have alone, where a file says it."""
_OUTPUTS = {"epsilon": "eps", "v_prediction": "v", "sample": "x0"}
_SCHEDULES = ("linear", "scaled_linear")


def read_json(path: Path) -> dict[str, Any]:
    """The object in a config.json.

    Raises:
      InputError: the file is missing or no JSON object.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise InputError(f"{path} is too large for a config.json: download the folder again.")
        found = json.loads(path.read_bytes())
    except OSError:
        raise InputError(f"{path} is missing: give the whole folder as `save_pretrained` wrote it.") from None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise InputError(f"{path} is no JSON object: download the folder again.")
    return found


def check_only(of: str, config: Json, possible: Json) -> None:
    """Raises InputError where the config.json in the folder `of` says other values than the possible ones."""
    for key, value in possible.items():
        if config.get(key, value) != value:
            raise InputError(f"{of}/config.json: {key}={quoted(config[key])} is not known here, only {value!r}.")


def whole(of: str, config: Json, key: str, otherwise: Any = _REST) -> int:
    """The whole number above 0 that a file says of a network; of a missing key `otherwise`.

    Raises:
      InputError: it says none.
    """
    value = config.get(key, otherwise)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        found = "missing" if value is _REST else quoted(value)
        raise InputError(f"{of}/config.json: {key} is {found}, expected a whole number above 0.")
    return value


def _list(of: str, config: Json, key: str, kind: type) -> list[Any]:
    value = config.get(key)
    if not isinstance(value, list) or not value or not all(isinstance(item, kind) for item in value):
        raise InputError(f"{of}/config.json: {key} is {quoted(value)}, expected a list.")
    return value


def _widths(of: str, config: Json) -> tuple[int, tuple[int, ...]]:
    """Channels and their multiples."""
    widths = _list(of, config, "block_out_channels", int)
    if widths[0] < 1 or any(width % widths[0] for width in widths):
        raise InputError(f"{of}/config.json: block_out_channels={quoted(widths)} are no multiples of the first.")
    return widths[0], tuple(width // widths[0] for width in widths)


def unet_section(config: Json, latent_channels: int, context_length: int) -> Section:
    """The section `network` of a UNet2DConditionModel.

    Raises:
      InputError: it is one that is not known here.
    """
    check_only("unet", config, _UNET_ALONE)
    channels, mult = _widths("unet", config)
    kinds = _list("unet", config, "down_block_types", str)
    if not {*kinds} <= {"CrossAttnDownBlock2D", "DownBlock2D"} or len(kinds) != len(mult):
        raise InputError(f"unet/config.json: down_block_types={quoted(kinds)} are not known here.")
    inputs = whole("unet", config, "in_channels", 4)
    return {
        "name": "latent_unet",
        "channels": channels,
        "channel_mult": mult,
        "num_res_blocks": whole("unet", config, "layers_per_block", 2),
        "attention_factors": tuple(2**i for i in reversed(range(len(kinds))) if kinds[i].startswith("Cross")),
        **_heads(config, [channels * each for each in mult], kinds),
        "context_width": whole("unet", config, "cross_attention_dim"),
        "context_length": context_length,
        "transformer_depth": whole("unet", config, "transformer_layers_per_block", 1),
        "linear_projection": bool(config.get("use_linear_projection", False)),
        "concat_channels": inputs - latent_channels,
        "norm_groups": whole("unet", config, "norm_num_groups", 32),
        "remat": (),
        "dtype": "float32",
    }


def _heads(config: Json, widths: list[int], kinds: list[str]) -> Section:
    """attention_head_dim is the number of heads, in spite of its name (diffusers issue 2011)."""
    given = config.get("num_attention_heads") or config.get("attention_head_dim", 8)
    heads = given if isinstance(given, list) else [given] * len(widths)
    if len(heads) != len(widths) or not all(isinstance(each, int) and each > 0 for each in heads):
        raise InputError(f"unet/config.json: attention_head_dim={quoted(given)} is no number of heads.")
    if len(set(heads)) == 1:
        return {"num_heads": heads[0], "num_head_channels": None}
    per_head = {width / each for width, each in zip(widths, heads, strict=True)}
    if len(per_head) > 1 or per_head != {int(next(iter(per_head)))}:
        raise InputError(f"unet/config.json: attention_head_dim={quoted(given)} gives heads of several widths.")
    return {"num_heads": 8, "num_head_channels": int(per_head.pop())}


def first_stage_section(of: str, config: Json) -> Section:
    """The section `first_stage` of an AutoencoderKL or a VQModel, in the folder `of`.

    Raises:
      InputError: it is one that is not known here.
    """
    check_only(of, config, _VAE_ALONE)
    channels, mult = _widths(of, config)
    kinds = _list(of, config, "down_block_types", str)
    if not {*kinds} <= {"DownEncoderBlock2D", "AttnDownEncoderBlock2D"} or len(kinds) != len(mult):
        raise InputError(f"{of}/config.json: down_block_types={quoted(kinds)} are not known here.")
    latent_channels = whole(of, config, "latent_channels", 4)
    section = {
        "name": "autoencoder_kl",
        "channels": channels,
        "channel_mult": mult,
        "num_res_blocks": whole(of, config, "layers_per_block", 1),
        "latent_channels": latent_channels,
        "embed_channels": latent_channels,
        "attention_factors": tuple(2**i for i, kind in enumerate(kinds) if kind.startswith("Attn")),
        "middle_attention": bool(config.get("mid_block_add_attention", True)),
        "image_channels": whole(of, config, "in_channels", 3),
        "dropout": 0.0,
        "dtype": "float32",
        "norm_groups": whole(of, config, "norm_num_groups", 32),
    }
    if "num_vq_embeddings" not in config:
        return section
    embed_channels = config.get("vq_embed_dim") or latent_channels
    codebook = whole(of, config, "num_vq_embeddings")
    return section | {"name": "autoencoder_vq", "codebook_size": codebook, "embed_channels": embed_channels}


def scale_of(of: str, config: Json) -> float:
    """The scale of latents; files of the first versions do not say it.

    Raises:
      InputError: it is no number above 0.
    """
    scale = config.get("scaling_factor", SCALE)
    if isinstance(scale, bool) or not isinstance(scale, int | float) or not 0 < scale < float("inf"):
        raise InputError(f"{of}/config.json: scaling_factor is {quoted(scale)}, expected a number above 0.")
    return float(scale)


def encoder_section(of: str, config: Json) -> Section:
    """The section `condition_encoder` of transformers' CLIPTextModel, or of latent diffusion's BERT.

    Raises:
      InputError: it is one that is not known here.
    """
    shared = {
        "vocabulary": whole(of, config, "vocab_size"),
        "length": whole(of, config, "max_position_embeddings"),
        "dtype": "float32",
    }
    if "encoder_layers" in config:
        check_only(of, config, _BERT_ALONE)
        return shared | {
            "name": "text_transformer",
            "width": whole(of, config, "d_model"),
            "layers": whole(of, config, "encoder_layers"),
            "heads": whole(of, config, "encoder_attention_heads"),
            "head_width": whole(of, config, "head_dim", 64),
        }
    check_only(of, config, {**_TEXT_ALONE, "intermediate_size": 4 * whole(of, config, "hidden_size")})
    return shared | {
        "name": "clip_text",
        "width": whole(of, config, "hidden_size"),
        "layers": whole(of, config, "num_hidden_layers"),
        "heads": whole(of, config, "num_attention_heads"),
        "activation": str(config.get("hidden_act", "quick_gelu")),
        "skip_last": 0,
    }


def scheduler_sections(config: Json) -> dict[str, Any]:
    """The sections `process` and `prediction`, and the levels of the sampler.

    Raises:
      InputError: the noise or the prediction is of a kind that is not known here.
    """
    check_only("scheduler", config, _SCHEDULER_ALONE)
    schedule, output = config.get("beta_schedule", "linear"), config.get("prediction_type", "epsilon")
    if schedule not in _SCHEDULES or output not in _OUTPUTS:
        raise InputError(
            f"scheduler_config.json: beta_schedule={quoted(schedule)}, prediction_type={quoted(output)}; expected one "
            f"of {', '.join(_SCHEDULES)}, and one of {', '.join(_OUTPUTS)}."
        )
    levels = whole("scheduler", config, "num_train_timesteps", 1000)
    limits = {key: config.get(f"beta_{name}", value) for key, name, value in _LIMITS}
    if not all(isinstance(beta, float) and 0 < beta < 1 for beta in limits.values()):
        raise InputError(f"scheduler_config.json: betas {quoted(list(limits.values()))} are not between 0 and 1.")
    betas = {key: round(levels * beta, 12) for key, beta in limits.items()}
    shifted = config.get("steps_offset", 0) == 1 and not config.get("set_alpha_to_one", False)
    return {
        "process": {"name": "vp_chain", "schedule": schedule, "num_levels": levels, **betas},
        "prediction": {"output": _OUTPUTS[output], "label": "index"},
        "discretisation": "latent_diffusion" if shifted else "exact",
    }


_LIMITS = (("beta_min", "start", 1e-4), ("beta_max", "end", 0.02))
