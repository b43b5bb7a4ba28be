"""`python -m score_jax convert`."""

import re
from pathlib import Path

from absl import flags

from score_jax.cli import config_flags
from score_jax.cli.verb import parse_flags
from score_jax.convert import dinov2, inception, vgg16
from score_jax.convert.convnext import CONVNEXT
from score_jax.convert.vit import MAE, SIGLIP2
from score_jax.errors import InputError
from score_jax.jobs.convert import RELEASES, WITHOUT_CONFIG, convert

_OF_FEATURES = {dinov2.RELEASE: (dinov2.convert_dinov2, dinov2.VARIABLE)} | {
    family.key: (family.convert, family.variable) for family in (MAE, SIGLIP2, CONVNEXT)
}
"""Networks of a metric that are known by their architecture: what converts them, and where their file is named."""
_DESCRIPTION = f"""Converts published weights. Nothing in the file is executed, and torch is not needed.

  python -m score_jax convert --from=score_sde_pytorch \\
      --config=configs/score_sde/ve/cifar10_ncsnpp_continuous.py checkpoint_24.pth runs/published
  python -m score_jax sample --workdir=runs/published

  python -m score_jax convert --from=diffusers FOLDER --workdir=runs/sd
  python -m score_jax convert --from=stable_diffusion sd-v1-4.ckpt --workdir=runs/sd
  python -m score_jax convert --from=latent_diffusion --config=configs/ldm/ffhq.py model.ckpt --workdir=runs/ffhq
  python -m score_jax convert --from=karlo FOLDER --workdir=runs/karlo

  python -m score_jax convert --from=fid_inception pt_inception-2015-12-05-6726825d.pth inception.safetensors
  python -m score_jax convert --from=vgg16 vgg16-397923af.pth vgg16.safetensors
  python -m score_jax convert --from=dinov2 dinov2_vitl14_pretrain.pth dinov2.safetensors

--from names the code that wrote the weights:
{", ".join(RELEASES)}, {inception.RELEASE},
{vgg16.RELEASE}, {", ".join(_OF_FEATURES)}. The last six are the networks of FID, of torch-fidelity's precision and
recall, of FD-DINOv2 and of FD-loss, which need no config and become one file; the weights of dinov2 are the hub's file
or a folder of transformers. {", ".join(WITHOUT_CONFIG)} need none
either: the networks follow from the weights. Of Stable Diffusion 2 give --prediction=eps or --prediction=v. karlo, of
its own files or a folder of diffusers, becomes a cascade of three workdirs.

Reads .pth, .pt and .ckpt of any PyTorch since 0.4, .pkl, .safetensors, .npz and Flax msgpack. Writes config.json,
params.safetensors and convert.json into the folder OUT, which is also called --workdir. The results of the other verbs
say whether the weights are averaged over training ("ema"), "raw" or "unknown". If the file has one set of weights and
does not say which, give --weights."""

_KINDS = {
    "ema": "averaged over training",
    "raw": "not averaged",
    "unknown": "averaged or not, the file does not say: give --weights",
}
_KNOWN_FILES = {
    inception.RELEASE: (inception.convert_inception, inception.VARIABLE),
    vgg16.RELEASE: (vgg16.convert_vgg16, vgg16.VARIABLE),
}


def _define(values: flags.FlagValues) -> None:
    flags.DEFINE_string("from", None, "Code that wrote the weights.", flag_values=values)
    flags.DEFINE_string("in", None, "The published file; it may also be given as the first word.", flag_values=values)
    flags.DEFINE_string(
        "out",
        None,
        "Folder for the result; it may also be given as the second word, or as --workdir.",
        flag_values=values,
    )
    flags.DEFINE_enum(
        "prediction",
        None,
        ["eps", "v"],
        "What the network outputs, where neither the weights nor a config say it.",
        flag_values=values,
    )
    flags.DEFINE_enum(
        "weights",
        "auto",
        ["auto", "ema", "raw"],
        "Which set of weights; auto: the averaged one if there is one.",
        flag_values=values,
    )


def _convert_known(argv: list[str], release: str) -> int:
    """A network of a metric, which no config describes and all evaluators take from one file."""
    convert_file, variable = _KNOWN_FILES[release]
    values = flags.FlagValues()
    _define(values)
    flags.DEFINE_bool(
        "allow_other_weights", False, "Accept weights that are not the published ones.", flag_values=values
    )
    config_flags.parse(values, argv, ("in", "out"))
    source, out = values["in"].value, values["out"].value
    if source is None or out is None:
        raise InputError(f"Expected two files: convert --from={release} FILE.pth OUT.safetensors.")
    count = convert_file(Path(source), Path(out), allow_other=values.allow_other_weights)
    print(f"{count:,} parameters: {out}. Next: export {variable}={out}")
    return 0


def _convert_of_features(argv: list[str], release: str) -> int:
    """A network of a metric that is known by its architecture; DINOv2's weights may be a folder of transformers."""
    convert_file, variable = _OF_FEATURES[release]
    values = flags.FlagValues()
    _define(values)
    config_flags.parse(values, argv, ("in", "out"))
    source, out = values["in"].value, values["out"].value
    if source is None or out is None:
        kinds = "a file or folder, and a file" if release == dinov2.RELEASE else "two files"
        raise InputError(f"Expected {kinds}: convert --from={release} FILE.pth OUT.safetensors.")
    count = convert_file(Path(source), Path(out))
    print(f"{count:,} parameters: {out}. Next: export {variable}={out}")
    return 0


def _parsed(argv: list[str]) -> flags.FlagValues | None:
    """The flags, without a config where the weights need none and none is given; None where only help was asked for."""
    derived = any(f"--from={release}" in argv for release in WITHOUT_CONFIG)
    if "--help" in argv or not derived or any(re.match("--config(=|$)", word) for word in argv):
        return parse_flags(argv, _DESCRIPTION, _define, positional=("in", "out"))
    values = flags.FlagValues()
    _define(values)
    flags.DEFINE_string("workdir", None, "Folder for the result.", flag_values=values)
    config_flags.parse(values, argv, ("in", "out"))
    return values


def main(argv: list[str]) -> int:
    """Runs the verb."""
    for known in _KNOWN_FILES:
        if f"--from={known}" in argv:
            return _convert_known(argv, known)
    for known in _OF_FEATURES:
        if f"--from={known}" in argv:
            return _convert_of_features(argv, known)
    values = _parsed(argv)
    if values is None:
        return 0
    release, source, out = (values[name].value for name in ("from", "in", "out"))
    out = out or values.workdir
    if release is None:
        raise InputError(f"--from is missing: give the code that wrote the weights, one of {', '.join(RELEASES)}.")
    if source is None or out is None:
        raise InputError("Expected a published file and a folder: convert --from=... --config=... FILE OUT.")
    config = values.config if "config" in values else None
    if config is not None and values.prediction:
        raise InputError("--prediction is only for weights without --config: give --config.prediction.output.")
    found = convert(config, release, Path(source), Path(out), values.weights, values.prediction)
    for name, count in found.stages.items():
        print(f"{name}: {count:,} parameters")
    print(f"{found.parameters:,} parameters ({_KINDS[found.weights]}): {out}.")
    print(f"Next: python -m score_jax sample --workdir={out}{' --prompt=TEXT' if found.stages else ''}")
    return 0
