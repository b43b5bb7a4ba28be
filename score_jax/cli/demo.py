"""`python -m score_jax demo`."""

from pathlib import Path

import jax

from score_jax.cli.verb import parse_flags
from score_jax.errors import InputError
from score_jax.jobs.demo import demo

_DESCRIPTION = """Trains a small model on real images, samples it, measures it, and writes report.html.

  python -m score_jax demo
  python -m score_jax demo --workdir=runs/other --config.training.steps=4000

Run again it resumes, or says that it is done. Less than 15 minutes on 2 CPU cores; on an accelerator it takes a
larger model of larger images by itself."""


def main(argv: list[str]) -> int:
    """Runs the verb."""
    config = "configs/demo/mnist.py" if jax.default_backend() == "cpu" else "configs/demo/mnist_accelerator.py"
    values = parse_flags(argv, _DESCRIPTION, default_config=config)
    if values is None:
        return 0
    if jax.process_count() > 1:
        raise InputError("The demo is for one process: use train, sample, likelihood and evaluate for several.")
    workdir = Path(values.workdir or "runs/demo")
    stop = demo(values.config, workdir)
    if stop is None:
        return 0
    print(f"Stopped on {stop.cause}; the same command resumes.")
    return stop.exit_code
