"""`python -m score_jax convert`."""

from pathlib import Path

from absl import flags

from score_jax.cli import config_flags
from score_jax.cli.verb import parse_flags
from score_jax.convert import inception
from score_jax.convert.releases import RELEASES
from score_jax.errors import InputError
from score_jax.jobs.convert import convert

_DESCRIPTION = f"""Converts published weights. Nothing in the file is executed, and torch is not needed.

  python -m score_jax convert --from=score_sde_pytorch \\
      --config=configs/score_sde/ve/cifar10_ncsnpp_continuous.py checkpoint_24.pth runs/published
  python -m score_jax sample --workdir=runs/published

  python -m score_jax convert --from=fid_inception pt_inception-2015-12-05-6726825d.pth inception.safetensors

--from names the code that wrote the weights:
{", ".join(RELEASES)}, or {inception.RELEASE}.
The last is the network of FID, which needs no config and becomes one file.

Reads .pth, .pt and .ckpt of any PyTorch since 0.4, .pkl, .safetensors, .npz and Flax msgpack. Writes config.json,
params.safetensors and convert.json into the folder OUT. The results of the other verbs say whether the weights are
averaged over training ("ema"), "raw" or "unknown". If the file has one set of weights and does not say which, give
--weights."""

_KINDS = {
    "ema": "averaged over training",
    "raw": "not averaged",
    "unknown": "averaged or not, the file does not say: give --weights",
}


def _define(values: flags.FlagValues) -> None:
    flags.DEFINE_string("from", None, "Code that wrote the weights.", flag_values=values)
    flags.DEFINE_string("in", None, "The published file; it may also be given as the first word.", flag_values=values)
    flags.DEFINE_string(
        "out", None, "Folder for the result; it may also be given as the second word.", flag_values=values
    )
    flags.DEFINE_enum(
        "weights",
        "auto",
        ["auto", "ema", "raw"],
        "Which set of weights; auto: the averaged one if there is one.",
        flag_values=values,
    )


def _convert_inception(argv: list[str]) -> int:
    """The one network that no config describes."""
    values = flags.FlagValues()
    _define(values)
    flags.DEFINE_bool(
        "allow_other_weights", False, "Accept weights that are not the published ones.", flag_values=values
    )
    config_flags.parse(values, argv, ("in", "out"))
    source, out = values["in"].value, values["out"].value
    if source is None or out is None:
        raise InputError("Expected two files: convert --from=fid_inception FILE.pth OUT.safetensors.")
    count = inception.convert_inception(Path(source), Path(out), allow_other=values.allow_other_weights)
    print(f"{count:,} parameters: {out}. Next: export {inception.VARIABLE}={out}")
    return 0


def main(argv: list[str]) -> int:
    """Runs the verb."""
    if f"--from={inception.RELEASE}" in argv:
        return _convert_inception(argv)
    values = parse_flags(argv, _DESCRIPTION, _define, positional=("in", "out"))
    if values is None:
        return 0
    release, source, out = (values[name].value for name in ("from", "in", "out"))
    if release is None:
        raise InputError(f"--from is missing: give the code that wrote the weights, one of {', '.join(RELEASES)}.")
    if source is None or out is None:
        raise InputError("Expected a published file and a folder: convert --from=... --config=... FILE OUT.")
    found = convert(values.config, release, Path(source), Path(out), values.weights)
    print(f"{found.parameters:,} parameters ({_KINDS[found.weights]}): {out}.")
    print(f"Next: python -m score_jax sample --workdir={out}")
    return 0
