"""`python -m score_jax convert`."""

from pathlib import Path

from absl import flags

from score_jax.cli.verb import parse_flags
from score_jax.convert.releases import RELEASES
from score_jax.errors import InputError
from score_jax.jobs.convert import convert

_DESCRIPTION = f"""Converts published weights; nothing in the file is executed, and torch is not needed.

  python -m score_jax convert --from=score_sde_pytorch \\
      --config=configs/score_sde/ve/cifar10_ncsnpp_continuous.py checkpoint_24.pth runs/published
  python -m score_jax sample --workdir=runs/published

--from is one of {", ".join(RELEASES)}.
Reads .pth, .pt and .ckpt of any PyTorch since 0.4, .pkl, .safetensors, .npz and Flax msgpack; writes config.json,
params.safetensors and convert.json into the folder OUT."""


def _define(values: flags.FlagValues) -> None:
    flags.DEFINE_string("from", None, "Whose weights they are.", flag_values=values)
    flags.DEFINE_string("in", None, "The published file; or the first bare word.", flag_values=values)
    flags.DEFINE_string("out", None, "Folder for the result; or the second bare word.", flag_values=values)
    flags.DEFINE_enum(
        "weights", "auto", ["auto", "ema", "raw"], "Which of them; auto: averaged ones if any.", flag_values=values
    )


def main(argv: list[str]) -> int:
    """Runs the verb."""
    values = parse_flags(argv, _DESCRIPTION, _define, positional=("in", "out"))
    if values is None:
        return 0
    release, source, out = (values[name].value for name in ("from", "in", "out"))
    if release is None:
        raise InputError(f"--from is missing: whose weights are they? One of {', '.join(RELEASES)}.")
    if source is None or out is None:
        raise InputError("Expected a published file and a folder: convert --from=... --config=... FILE OUT.")
    count = convert(values.config, release, Path(source), Path(out), values.weights)
    print(f"{count:,} parameters: {out}. Next: python -m score_jax sample --workdir={out}")
    return 0
