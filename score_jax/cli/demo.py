"""`python -m score_jax demo`."""

from pathlib import Path

import jax

from score_jax.cli.verb import parse_flags
from score_jax.errors import InputError
from score_jax.jobs.demo import demo

_DESCRIPTION = """Trains a small model on real images, samples it, measures it, and writes report.html.

  python -m score_jax demo
  python -m score_jax demo --workdir=runs/other --config.training.steps=4000

The same command again resumes the demo, or says that it is done. It takes less than 15 minutes on 2 CPU cores. On an
accelerator it trains a larger model on larger images."""


def main(argv: list[str]) -> int:
    """Runs the verb."""
    config = "configs/demo/mnist.py" if jax.default_backend() == "cpu" else "configs/demo/mnist_accelerator.py"
    values = parse_flags(argv, _DESCRIPTION, default_config=config)
    if values is None:
        return 0
    if jax.process_count() > 1:
        raise InputError("The demo runs in one process: for several use train, sample, likelihood and evaluate.")
    workdir = Path(values.workdir or "runs/demo")
    stop = demo(values.config, workdir)
    if stop is None:
        return 0
    print(f"Stopped on {stop.cause}. The same command resumes the demo.")
    return stop.exit_code
