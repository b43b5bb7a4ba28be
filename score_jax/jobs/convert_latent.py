"""`convert` of latent diffusion models, which are several networks: a workdir with a folder for each that is frozen.

WORKDIR/                       config.json, params.safetensors, convert.json of the UNet and what is trained with it
WORKDIR/first_stage/           the same of the autoencoder, a workdir of its own
WORKDIR/condition_encoder/     params.safetensors of a text encoder that is not trained
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
from jaxtyping import PyTree
from ml_collections import ConfigDict

from score_jax.builder import build_network, codec_of, completed
from score_jax.builder.sections import default_config
from score_jax.codecs.latents import Latents
from score_jax.convert.diffusers import read_folder
from score_jax.convert.latent_sections import stable_diffusion_sections
from score_jax.convert.parts import Parts, params_of_parts, read_parts
from score_jax.data.tokenizer import END
from score_jax.errors import InputError
from score_jax.models.autoencoders.first_stage import FIRST_STAGE, FirstStage
from score_jax.models.clip.image_text import ImageText
from score_jax.runtime.results import write_json
from score_jax.training.run_config import save_config
from score_jax.training.weights import save_params

READERS: dict[str, Callable[[Path, str], Parts]] = {
    "latent_diffusion": read_parts,
    "stable_diffusion": read_parts,
    "diffusers": read_folder,
}
"""Releases of latent models."""
DERIVED = ("stable_diffusion", "diffusers")
"""Those whose config follows from what is converted."""
_FIRST_STAGE_RUN = {"process": {"name": "none"}, "prediction": {}}


class Latent(NamedTuple):
    """What was written.

    Attributes:
      config: of the run.
      params: of the run, without those of other folders.
      weights: "ema", "raw", or "unknown".
    """

    config: ConfigDict
    params: PyTree
    weights: str


def convert_latent(
    config: ConfigDict | None, release: str, source: Path, out: Path, weights: str, output: str | None
) -> Latent:
    """Writes a latent model, or a first stage alone, into `out`.

    Args:
      config: of the run; None: what the weights and the files beside them say.
      release: key of `READERS`.
      source: file or folder.
      out: the workdir.
      weights: "ema", "raw", or "auto".
      output: what the network outputs, eps or v, where there is no config; None: what the files say.

    Raises:
      InputError: the source cannot be read or does not fit the config, or does not say enough without one.
    """
    parts = READERS[release](source, weights)
    try:
        config = completed(_derived(parts, release, output)) if config is None else _with_scale(config, parts)
        network, codec = build_network(config), codec_of(config)
        if isinstance(network, ImageText):
            raise InputError(f"--from={release} has no CLIPs: give the config of another network.")
        autoencoder: Any = codec.first_stage if isinstance(codec, Latents) else None
        params, frozen = params_of_parts(parts, network, autoencoder)
        _check_output(config, parts)
    except InputError as error:
        raise InputError(f"{source}: {error}") from None
    save_config(out, config)
    save_params(out, params)
    for name, own in frozen.items():
        save_params(out / name, own)
        write_record(out / name, release, source, parts.weights if isinstance(network, FirstStage) else "unknown", own)
    if autoencoder is not None:
        save_config(out / FIRST_STAGE, first_stage_config(config))
    return Latent(config, params, parts.weights)


def write_record(out: Path, release: str, source: Path, weights: str, params: PyTree) -> int:
    """Writes convert.json and returns the number of parameters."""
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    write_json(out / "convert.json", {"from": release, "file": source.name, "weights": weights, "parameters": count})
    return count


def first_stage_config(config: ConfigDict) -> ConfigDict:
    """The config of the first stage's own run, on the data of a model of its latents."""
    own = default_config()
    own.data.update(config.data.to_dict() | {"holes": "", "low_resolution": 0})
    own.loss.name = "first_stage"
    own.ema.decay = 0.0
    _set_sections(own, _FIRST_STAGE_RUN | {"network": config.first_stage.to_dict()})
    return completed(own)


def _derived(parts: Parts, release: str, output: str | None) -> ConfigDict:
    """The config of Stable Diffusion, or of a folder of diffusers."""
    if release not in DERIVED:
        raise InputError(f"--from={release} needs --config: give the model's, one of configs/ldm.")
    if parts.sections is None:
        sections = stable_diffusion_sections(parts, output)
    elif output in (None, parts.sections["prediction"]["output"]):
        sections = dict(parts.sections)
    else:
        stated = parts.sections["prediction"]["output"]
        raise InputError(f"--prediction={output}, but the folder's scheduler says {stated}: leave it out.")
    config = default_config()
    config.data.update(image_size=sections["image_size"], resize_filter="bicubic")
    config.codec.update(sections["codec"])
    config.data.update(_data_of(sections))
    config.guidance.scale = sections["guidance_scale"]
    # These models minimise the error of what they output.
    config.loss.update(weighting=sections["prediction"]["output"], condition_dropout=0.1)
    config.optimizer.update(name="adamw", learning_rate=1e-4, weight_decay=0.01, warmup_steps=10_000, clip_norm=0.0)
    config.ema.update(decay=0.9999, warmup=True)
    config.sampler.update(name="ddim", num_steps=50, discretisation=sections["discretisation"])
    config.sampling.update(num_samples=4, batch_size=4)
    names = ("network", "first_stage", "condition_encoder", "process", "prediction")
    _set_sections(config, {name: sections[name] for name in names})
    return config


def _data_of(sections: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of the section `data` that follow from the networks: the tokenizer, and how a hole is given."""
    encoder, found = sections["condition_encoder"], {}
    if encoder["name"] == "clip_text" and encoder["vocabulary"] > END:
        found = {"tokenizer": "clip" if encoder["activation"] == "quick_gelu" else "open_clip"}
        found |= {"max_tokens": encoder["length"]}
    if sections["network"]["concat_channels"] == 1 + sections["first_stage"]["embed_channels"]:
        found |= {"holes": "stable_diffusion"}
    return found


def _set_sections(config: ConfigDict, sections: Mapping[str, Mapping[str, Any]]) -> None:
    with config.unlocked():
        for name, values in sections.items():
            config[name] = ConfigDict(dict(values))


def _with_scale(config: ConfigDict, parts: Parts) -> ConfigDict:
    """The config with the scale of latents that is written beside the weights.

    Raises:
      InputError: neither says it.
    """
    config = completed(config)
    if config.codec.name != "latents":
        return config
    if parts.scale is not None:
        config.codec.scale = parts.scale
    elif parts.unet and not config.codec.scale:
        raise InputError("The scale of the latents is not in the file: give it as --config.codec.scale=NUMBER.")
    return config


def _check_output(config: ConfigDict, parts: Parts) -> None:
    """Raises InputError where a folder says of the network that it outputs something else."""
    if parts.sections is None or "output" not in config.prediction:
        return
    stated, given = parts.sections["prediction"]["output"], config.prediction.output
    if stated != given:
        raise InputError(f"prediction.output={given}, but the folder's scheduler says {stated}: give that.")
