"""`python -m score_jax inspect`."""

import json

from score_jax.cli.arguments import VerbParser
from score_jax.jobs.inspect import arrays_of, inspect, table

_DESCRIPTION = """Lists the checkpoints of a run, and checks that none is damaged: every array is read and compared with
the fingerprint that was taken before it was written.

  python -m score_jax inspect runs/mnist
  python -m score_jax inspect gs://BUCKET/RUN --step=4000
  python -m score_jax inspect runs/mnist --arrays          names, shapes and dtypes
  python -m score_jax inspect params.safetensors --arrays"""


def main(argv: list[str]) -> int:
    """Runs the verb; returns 0 where no checkpoint is damaged, else 1."""
    parser = VerbParser("inspect", _DESCRIPTION)
    parser.add_argument(
        "path", metavar="CKPT", help="a workdir, a folder of checkpoints, one checkpoint, or a file of weights"
    )
    parser.add_argument("--step", type=int, help="look only at the checkpoint of this step")
    parser.add_argument("--arrays", action="store_true", help="list the arrays of the newest checkpoint, or of --step")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    options = parser.parse_args(argv[1:])
    if options.arrays:
        for name, shape, dtype in arrays_of(options.path, options.step):
            print(f"{name}  {list(shape)}  {dtype}")
        return 0
    found = inspect(options.path, options.step)
    print(json.dumps(found, indent=2) if options.json else table(found))
    return 0 if all(row["whole"] for row in found["checkpoints"]) else 1
