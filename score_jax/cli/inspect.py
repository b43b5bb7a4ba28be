"""`python -m score_jax inspect`."""

import argparse
import json

from score_jax.jobs.inspect import arrays_of, inspect, table

_DESCRIPTION = """Says what a run's checkpoints hold, and whether each is whole: every array is read and compared with
the fingerprint that was taken before it was written.

  python -m score_jax inspect runs/mnist
  python -m score_jax inspect gs://BUCKET/RUN --step=4000
  python -m score_jax inspect runs/mnist --arrays          names, shapes and dtypes
  python -m score_jax inspect params.safetensors --arrays"""


def main(argv: list[str]) -> int:
    """Runs the verb; returns 0 where all that was looked at is whole, else 1."""
    parser = argparse.ArgumentParser(
        prog="score_jax inspect", description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("path", metavar="CKPT", help="a workdir, a folder of checkpoints, or one of them")
    parser.add_argument("--step", type=int, help="look at this one alone")
    parser.add_argument("--arrays", action="store_true", help="list the arrays of the newest, or of --step")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    options = parser.parse_args(argv[1:])
    if options.arrays:
        for name, shape, dtype in arrays_of(options.path, options.step):
            print(f"{name}  {list(shape)}  {dtype}")
        return 0
    found = inspect(options.path, options.step)
    print(json.dumps(found, indent=2) if options.json else table(found))
    return 0 if all(row["whole"] for row in found["checkpoints"]) else 1
