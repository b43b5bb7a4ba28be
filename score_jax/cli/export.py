"""`python -m score_jax export`."""

from pathlib import Path

from score_jax.cli.arguments import VerbParser
from score_jax.jobs.export import FORMATS, export

_DESCRIPTION = """Writes only the parameters of a trained model, with its config, into a folder for sharing.

  python -m score_jax export runs/mnist shared/mnist
  python -m score_jax export runs/mnist shared/mnist --format=orbax --parameters=raw --step=4000
  python -m score_jax sample --workdir=shared/mnist

Writes config.json, params.safetensors (or the orbax folder params/) and export.json into OUT. `train --workdir=OUT`
starts from these parameters."""


def main(argv: list[str]) -> int:
    """Runs the verb."""
    parser = VerbParser("export", _DESCRIPTION)
    parser.add_argument("workdir", type=Path, metavar="WORKDIR", help="folder of a `train` run")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for the parameters")
    parser.add_argument("--format", default="safetensors", choices=FORMATS)
    parser.add_argument(
        "--parameters",
        default="ema",
        choices=["ema", "raw"],
        help="ema: the averaged parameters, raw: the others (default: ema)",
    )
    parser.add_argument("--step", type=int, help="step of the checkpoint (default: the newest)")
    options = parser.parse_args(argv[1:])
    averaged = options.parameters == "ema"
    count = export(options.workdir, options.out, options.format, step=options.step, averaged=averaged)
    print(f"{count:,} parameters: {options.out}")
    return 0
