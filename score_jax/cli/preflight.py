"""`python -m score_jax preflight`."""

from score_jax.cli.config_flags import required_workdir
from score_jax.cli.verb import parse_flags
from score_jax.jobs.preflight import preflight
from score_jax.runtime.exit_codes import DONE
from score_jax.runtime.multihost import print_once

_DESCRIPTION = """Looks at every machine of a job, and names the one that is bad, in less than a minute beside its data.

  launch/local.sh 2 -- preflight --config=configs/demo/mnist.py --workdir=runs/mnist
  python -m score_jax preflight --config=... --workdir=... --config.training.checkpoints=gs://BUCKET/RUN

Each process computes a known product of matrices on each of its devices, and looks at its memory, its disk and the
place of the checkpoints; then all sum over all devices, and read the first record of the training data. The exit code
is 0, or 2 where a person must mend something, or 75 where a device, a network or a service fails. `train` of several
processes does the same before its first step, but for the data, which it opens anyway. `doctor` looks at what is
installed on one machine."""


def main(argv: list[str]) -> int:
    """Runs the verb."""
    values = parse_flags(argv, _DESCRIPTION)
    if values is None:
        return 0
    report = preflight(values.config, required_workdir(values))
    print_once(report.table())
    report.require()
    return DONE
