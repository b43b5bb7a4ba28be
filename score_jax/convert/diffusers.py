"""A folder as diffusers' `save_pretrained` writes it: one folder for each part, its config.json and its tensors.

    FOLDER/unet/              config.json, diffusion_pytorch_model.safetensors
    FOLDER/vae/               the same; vqvae/ in the folders of latent diffusion
    FOLDER/text_encoder/      config.json, model.safetensors; bert/ in those of latent diffusion
    FOLDER/scheduler/         scheduler_config.json

Half precision (`*.fp16.*`), older files (`*.bin`) and tensors in several files (`*.index.json`) are read too.
"""

from pathlib import Path

import numpy as np

from score_jax.convert import diffusers_names, diffusers_sections
from score_jax.convert.diffusers_sections import read_json
from score_jax.convert.parts import Parts
from score_jax.convert.readers import read_tensors
from score_jax.convert.state_dicts import UNKNOWN
from score_jax.errors import InputError, named, quoted

_STEMS = ("diffusion_pytorch_model", "model", "pytorch_model")
_FORMS = ("safetensors", "fp16.safetensors", "bin", "fp16.bin")
_INDICES = (
    "{}.safetensors.index.json",
    "{}.safetensors.index.fp16.json",
    "{}.bin.index.json",
    "{}.bin.index.fp16.json",
)
_RAW = ("non_ema.safetensors", "non_ema.bin")
_ADVICE = "expected the tensors of diffusers"
_FIRST_STAGES, _ENCODERS = ("vae", "vqvae"), ("text_encoder", "bert")


def read_folder(folder: Path, weights: str = "auto") -> Parts:
    """The parts in a folder, under latent diffusion's names, with the sections that its config.json files say.

    Args:
      folder: as `save_pretrained` wrote it; nothing in it is executed.
      weights: "raw" for unet/*.non_ema.*, where the folder has it; "ema" and "auto" for the other file.

    Raises:
      InputError: a part is missing, damaged, or of a kind that is not known here.
    """
    if not folder.is_dir():
        what = "is a file: give --from=stable_diffusion" if folder.exists() else "is not there: give the folder"
        raise InputError(f"{folder} {what}, or a folder of diffusers with unet/, vae/ and text_encoder/.")
    if not (folder / "unet").is_dir():
        raise InputError(
            f"{folder} has no unet/: give the folder that holds unet/, vae/, text_encoder/ and scheduler/."
        )
    try:
        return _parts(folder, weights)
    except InputError as error:
        raise InputError(str(error) if str(error).startswith(str(folder)) else f"{folder}: {error}") from None


def _parts(folder: Path, weights: str) -> Parts:
    vae, text = _part(folder, _FIRST_STAGES, "first stage"), _part(folder, _ENCODERS, "text encoder")
    described = read_json(vae / "config.json")
    first_stage = diffusers_sections.first_stage_section(vae.name, described)
    encoder = diffusers_sections.encoder_section(text.name, read_json(text / "config.json"))
    unet = read_json(folder / "unet" / "config.json")
    network = diffusers_sections.unet_section(unet, first_stage["embed_channels"], encoder["length"])
    scale = diffusers_sections.scale_of(vae.name, described)
    noise = diffusers_sections.scheduler_sections(read_json(folder / "scheduler" / "scheduler_config.json"))
    of_unet, name = _unet_tensors(folder / "unet", weights)
    of_text = part_tensors(text)
    return Parts(
        unet=diffusers_names.unet_state(of_unet),
        first_stage=diffusers_names.first_stage_state(part_tensors(vae)),
        encoder=diffusers_names.bert_state(of_text) if encoder["name"] == "text_transformer" else of_text,
        scale=scale,
        weights=name,
        sections={
            "network": network,
            "first_stage": first_stage,
            "condition_encoder": encoder,
            "codec": {"name": "latents", "scale": scale},
            "image_size": _image_size(unet, first_stage),
            "guidance_scale": 9.0 if network["linear_projection"] else 7.5,
            **noise,
        },
    )


def _image_size(unet: diffusers_sections.Json, first_stage: diffusers_sections.Section) -> int:
    """In pixels; the config.json has that of the latents, or none."""
    factor, size = 2 ** (len(first_stage["channel_mult"]) - 1), unet.get("sample_size")
    return factor * (size if isinstance(size, int) and size > 0 else 64)


def _part(folder: Path, names: tuple[str, ...], what: str) -> Path:
    found = [folder / name for name in names if (folder / name).is_dir()]
    if not found:
        raise InputError(f"The {what} is missing: expected the folder {names[0]}/ beside unet/.")
    return found[0]


def _unet_tensors(folder: Path, weights: str) -> tuple[dict[str, np.ndarray], str]:
    """The tensors, and which ones they are: a file of raw weights says so in its name, and the other is averaged."""
    raw = [folder / f"{stem}.{form}" for stem in _STEMS for form in _RAW]
    raw = [path for path in raw if path.is_file()]
    if weights == "raw" and raw:
        return read_tensors(raw[0], _ADVICE), "raw"
    return part_tensors(folder), "ema" if raw else UNKNOWN if weights == "auto" else weights


def part_tensors(folder: Path) -> dict[str, np.ndarray]:
    """The tensors of a part's folder: of the first file there is, in full precision where there is a choice.

    Raises:
      InputError: there is no file of tensors, or it is damaged.
    """
    names = [f"{stem}.{form}" for form in _FORMS for stem in _STEMS]
    for path in (folder / name for name in names):
        if path.is_file():
            return read_tensors(path, _ADVICE)
    for path in (folder / name.format(stem) for name in _INDICES for stem in _STEMS):
        if path.is_file():
            return _in_pieces(path)
    raise InputError(f"{folder} has no {_STEMS[0]}.safetensors or its like: download the folder again.")


def _in_pieces(index: Path) -> dict[str, np.ndarray]:
    """Tensors in several files, of which an index says who has what."""
    read = read_json(index).get("weight_map")
    where = read if isinstance(read, dict) else {}
    files = list(where.values())
    if not files or not all(isinstance(name, str) and Path(name).name == name for name in files):
        raise InputError(f"{index} has no weight_map of files beside it: {quoted(read)}.")
    found: dict[str, np.ndarray] = {}
    for name in sorted(set(files)):
        found |= read_tensors(index.parent / name, _ADVICE)
    odd = sorted(found.keys() ^ where.keys())
    if odd:
        raise InputError(f"{index} does not fit its files ({named(odd[0])} is in one alone): download them again.")
    return found
