"""From the `meta` of a parity file to a config of ours: how the originals name what we name."""

from collections.abc import Callable
from typing import Any

from ml_collections import ConfigDict

from score_jax.configs import base

Shape = tuple[int, ...]


class UnknownCase(Exception):
    """A file that this version does not know how to run."""


def by_name(system: str, *handlers: Callable) -> dict[tuple[str, str], Callable]:
    """Handlers of the cases of a system that are called as they are."""
    return {(system, run.__name__): run for run in handlers}


def _config(network: dict[str, Any], image_shape: Shape, *, centered: bool, process: dict | None) -> ConfigDict:
    """A config with this network on images (h, w, c)."""
    config = base.get_config()
    base.replace_section(config, "network", dtype="float32", **network)
    base.replace_section(config, "process", **(process or {"name": "vp"}))
    config.data.update(image_size=image_shape[0], channels=image_shape[2])
    config.codec.value_range = (-1.0, 1.0) if centered else (0.0, 1.0)
    return config


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}


_NCSNPP = {
    "nf": "channels",
    "ch_mult": "channel_mult",
    "num_res_blocks": "num_res_blocks",
    "attn_resolutions": "attention_resolutions",
    "dropout": "dropout",
    "embedding_type": "embedding",
    "fourier_scale": "fourier_scale",
    "fir": "fir",
    "fir_kernel": "fir_taps",
    "progressive": "progressive",
    "progressive_input": "progressive_input",
    "progressive_combine": "progressive_combine",
    "resblock_type": "resblock",
    "resamp_with_conv": "resample_with_conv",
    "conditional": "conditional",
    "scale_by_sigma": "scale_by_sigma",
    "skip_rescale": "skip_rescale",
    "init_scale": "init_scale",
    "nonlinearity": "activation",
}
_DDPM = (
    "nf",
    "ch_mult",
    "num_res_blocks",
    "attn_resolutions",
    "dropout",
    "resamp_with_conv",
    "conditional",
    "scale_by_sigma",
)


def _ve_chain(model: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": "ve_chain",
        "sigma_min": float(model["sigma_min"]),
        "sigma_max": float(model["sigma_max"]),
        "num_levels": model["num_scales"],
    }


def _score_sde(meta: dict, image_shape: Shape) -> tuple[ConfigDict, str]:
    model, data = meta["config"]["model"], meta["config"]["data"]
    name = model["name"]
    process = None
    if name == "ncsnpp":
        network = {ours: model[theirs] for theirs, ours in _NCSNPP.items() if theirs in model}
        network["fourier_scale"] = float(model["fourier_scale"])
        process = _ve_chain(model) if model["embedding_type"] == "positional" else None
    elif name == "ddpm":
        network = {_NCSNPP[theirs]: model[theirs] for theirs in _DDPM}
        network |= {"attend_every_up_block": False, "linear_scale": 0.1}
        process = _ve_chain(model)
    elif name == "ncsn":
        network = {"channels": model["nf"], "num_levels": model["num_scales"], **_refinenet_options(model)}
    elif name in _NCSNV2_VARIANTS:
        network = {"channels": model["nf"], "variant": _NCSNV2_VARIANTS[name], **_refinenet_options(model)}
        process = _ve_chain(model)
        name = "ncsnv2"
    else:
        raise UnknownCase(f"score_sde model {name!r}")
    network = _tuples({"name": name, **network})
    return _config(network, image_shape, centered=data["centered"], process=process), "score_sde_pytorch"


_NCSNV2_VARIANTS = {"ncsnv2_64": "plain", "ncsnv2_128": "deeper", "ncsnv2_256": "deepest"}
_NORMALIZATIONS = {
    "InstanceNorm++": "instance_plus",
    "InstanceNorm": "instance",
    "VarianceNorm": "variance",
    "NoneNorm": "none",
}
_NCSNV2_CLASSES = {"NCSNv2": "plain", "NCSNv2Deeper": "deeper", "NCSNv2Deepest": "deepest"}


def _ddpm(meta: dict, image_shape: Shape) -> tuple[ConfigDict, str]:
    k = meta["config"]["kwargs"]
    network = {
        "name": "ddpm",
        "channels": k["ch"],
        "channel_mult": k["ch_mult"],
        "num_res_blocks": k["num_res_blocks"],
        "attention_resolutions": k["attn_resolutions"],
        "dropout": k.get("dropout", 0.0),
        "resample_with_conv": k.get("resamp_with_conv", True),
    }
    return _config(_tuples(network), image_shape, centered=True, process=None), "ddpm"


def _adm(meta: dict, image_shape: Shape) -> tuple[ConfigDict, str]:
    k, kind = meta["config"]["kwargs"], meta["config"]["class"]

    def optional(key: str) -> int | None:
        value = k.get(key, -1)
        return None if value in (-1, None) else value

    network = {
        "channels": k["model_channels"],
        "channel_mult": k.get("channel_mult", (1, 2, 4, 8)),
        "num_res_blocks": k["num_res_blocks"],
        "attention_resolutions": [image_shape[0] // rate for rate in k["attention_resolutions"]],
        "dropout": k.get("dropout", 0.0),
        "num_heads": k.get("num_heads", 1),
        "num_head_channels": optional("num_head_channels"),
        "scale_shift_norm": k.get("use_scale_shift_norm", False),
        "resblock_updown": k.get("resblock_updown", False),
        "resample_with_conv": k.get("conv_resample", True),
        "qkv_layout": "new" if k.get("use_new_attention_order", False) else "legacy",
    }
    if kind == "EncoderUNetModel":
        network |= {"name": "adm_classifier", "num_classes": k["out_channels"], "pool": k.get("pool", "adaptive")}
    elif kind in ("UNetModel", "SuperResModel"):
        network |= {
            "name": "adm",
            "learn_sigma": k["out_channels"] == 2 * image_shape[2],
            "num_classes": k.get("num_classes"),
            "num_heads_upsample": optional("num_heads_upsample"),
            "super_resolution": kind == "SuperResModel",
        }
    else:
        raise UnknownCase(f"class {kind!r}")
    return _config(_tuples(network), image_shape, centered=True, process=None), meta["system"]


_EDM = {
    "model_channels": "channels",
    "channel_mult": "channel_mult",
    "num_blocks": "num_res_blocks",
    "attn_resolutions": "attention_resolutions",
    "dropout": "dropout",
    "channel_mult_emb": "channel_mult_emb",
    "augment_dim": "augment_dim",
    "label_dropout": "label_dropout",
    "embedding_type": "embedding",
    "encoder_type": "encoder",
    "decoder_type": "decoder",
    "channel_mult_noise": "channel_mult_noise",
}
_EDM_NETWORKS = {"SongUNet": "edm_song", "DhariwalUNet": "edm_dhariwal"}
_EDM_PRECONDITIONINGS = {"EDMPrecond": "edm", "VPPrecond": "vp", "VEPrecond": "ve", "iDDPMPrecond": "iddpm"}
_EDM_CONSTANTS = {
    "edm": ("sigma_data", "sigma_min", "sigma_max"),
    "vp": ("beta_d", "beta_min", "M", "epsilon_t"),
    "ve": ("sigma_min", "sigma_max"),
    "iddpm": ("C_1", "C_2", "M"),
}


def _edm(meta: dict, image_shape: Shape) -> tuple[ConfigDict, str]:
    k = meta["config"]["kwargs"]
    if meta["config"]["class"] not in _EDM_PRECONDITIONINGS or k.get("model_type") not in _EDM_NETWORKS:
        raise UnknownCase(f"{meta['config']['class']!r} around {k.get('model_type')!r}")
    network = {ours: k[theirs] for theirs, ours in _EDM.items() if theirs in k}
    network |= {"name": _EDM_NETWORKS[k["model_type"]], "num_classes": k.get("label_dim", 0)}
    if "resample_filter" in k:
        network["resample_filter"] = [float(tap) for tap in k["resample_filter"]]
    name = _EDM_PRECONDITIONINGS[meta["config"]["class"]]
    network["learn_sigma"] = name == "iddpm"
    config = _config(_tuples(network), image_shape, centered=True, process=None)
    constants = {key: k[key] for key in _EDM_CONSTANTS[name] if key in k}
    base.replace_section(config, "prediction", preconditioning=name, **constants)
    return config, "edm"


_NCSN_CLASSES = {
    "NCSN": "plain",
    "NCSNdeeper": "deeper",
    "CondRefineNetDilated": "plain",
    "CondRefineNetDeeperDilated": "deeper",
    "RefineNetDilated": "plain",
}


def _refinenet_options(model: dict[str, Any]) -> dict[str, str]:
    if model["normalization"] not in _NORMALIZATIONS or model.get("spec_norm"):
        raise UnknownCase(f"normalization {model['normalization']!r}, spec_norm {model.get('spec_norm')}")
    normalization, activation = _NORMALIZATIONS[model["normalization"]], model["nonlinearity"].lower()
    return {"normalization": normalization, "activation": activation}


def _ncsn(meta: dict, image_shape: Shape) -> tuple[ConfigDict, str]:
    kind, model = meta["config"]["class"], meta["config"]["config"]["model"]
    data = meta["config"]["config"]["data"]
    centered, process = bool(data.get("logit_transform") or data.get("rescaled")), None
    if kind in _NCSN_CLASSES:
        topology = _NCSN_CLASSES[kind]
        network = {"name": "ncsn", "channels": model["ngf"], "topology": topology}
        network["num_levels"] = None if kind == "RefineNetDilated" else model["num_classes"]
        # Only ncsnv2's classes read their options; the five-stage class of v1 has plain instance norm.
        network |= _refinenet_options(model) if kind in ("NCSN", "NCSNdeeper") else {}
        network |= {"normalization": "instance"} if kind == "CondRefineNetDeeperDilated" else {}
    elif kind in _NCSNV2_CLASSES and model["normalization"] != "InstanceNorm":
        # NCSNv2 gives nn.InstanceNorm2d the number of levels as its epsilon, so its InstanceNorm is no model of ours.
        network = {"name": "ncsnv2", "channels": model["ngf"], "variant": _NCSNV2_CLASSES[kind]}
        network |= _refinenet_options(model)
        process = {
            "name": "ve_chain",
            "sigma_min": float(model["sigma_end"]),
            "sigma_max": float(model["sigma_begin"]),
            "num_levels": model["num_classes"],
            "spacing": model["sigma_dist"],
            "rounded": True,
        }
    else:
        raise UnknownCase(f"class {kind!r}")
    return _config(network, image_shape, centered=centered, process=process), meta["system"]


SYSTEMS = {
    "ncsn": _ncsn,
    "ncsnv2": _ncsn,
    "edm": _edm,
    "score_sde": _score_sde,
    "ddpm": _ddpm,
    "improved_diffusion": _adm,
    "guided_diffusion": _adm,
}


def network_config(meta: dict, image_shape: Shape) -> tuple[ConfigDict, str]:
    """The config of a network file on images (h, w, c), and the release that its weights are named after.

    Raises:
      UnknownCase: the system or its class is not known here.
    """
    if meta["system"] not in SYSTEMS:
        raise UnknownCase(f"system {meta['system']!r}")
    return SYSTEMS[meta["system"]](meta, image_shape)


def score_config(config: ConfigDict, score: dict[str, Any]) -> tuple[ConfigDict, float]:
    """The config that gives score_sde's `get_score_fn` of this setting, and our time at its time 1."""
    sde, continuous = score["sde"], score["continuous"]
    kind, last = sde["kind"], float(sde["N"] - 1)
    config = config.copy_and_resolve_references()
    if kind == "vesde":
        values = {"sigma_min": sde["sigma_min"], "sigma_max": sde["sigma_max"]}
    else:
        values = {"beta_min": sde["beta_min"], "beta_max": sde["beta_max"]}
    # score_sde's sub-VP is always continuous.
    if continuous or kind == "subvpsde":
        base.replace_section(
            config, "process", name={"vesde": "ve", "vpsde": "vp", "subvpsde": "sub_vp"}[kind], **values
        )
        prediction = {"output": "score", "label": "sigma"} if kind == "vesde" else {"output": "eps", "label": "999t"}
        config.prediction.update(prediction)
        return config, 1.0
    chain = {"vesde": {"name": "ve_chain"}, "vpsde": {"name": "vp_chain", "schedule": "linear"}}[kind]
    base.replace_section(config, "process", **chain, num_levels=sde["N"], **values)
    if kind == "vesde":
        config.prediction.update(output="score", label="descending_index")
    else:
        config.prediction.update(output="eps", label="index")
    return config, last
