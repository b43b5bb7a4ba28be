"""`python -m score_jax train`."""

from absl import flags

from score_jax.cli import own_images
from score_jax.cli.config_flags import argument, required_workdir
from score_jax.cli.verb import parse_flags
from score_jax.jobs.foretold import foretold
from score_jax.jobs.preflight import before_training
from score_jax.jobs.train import train
from score_jax.runtime.cluster import is_joined
from score_jax.runtime.exit_codes import DONE
from score_jax.runtime.multihost import print_once
from score_jax.runtime.stop import stop_on_signals
from score_jax.training.goodput import goodput, read_runs

_DESCRIPTION = """Trains a model. The same command again resumes the training from its newest checkpoint.

  python -m score_jax train --data=FOLDER
  python -m score_jax train --data=FOLDER --labels=FILE.csv --config.training.steps=5000
  python -m score_jax train --config=configs/demo/mnist.py --workdir=runs/mnist
  python -m score_jax train --config=... --workdir=... --config.training.batch_size=64
  python -m score_jax train --config=... --workdir=... --config.training.checkpoints=gs://BUCKET/RUN

--data is a folder or an archive of images; sub-folders are classes. Every image is looked at first. Without --config
one is chosen by the images' size and channels, and whether there is an accelerator, and printed as the command that it
stands for; docs/data.md has the rules.

SIGTERM and Ctrl-C save a checkpoint and end the training. The exit code is then 143 or 130, as the work
is not done; 75 says that a network, a service or another process failed, and that the same command may go on later."""


def _define(values: flags.FlagValues) -> None:
    own_images.define(values)
    flags.DEFINE_bool(
        "profile", False, "Write a profiler trace of a few steps into WORKDIR/profile.", flag_values=values
    )


def main(argv: list[str]) -> int:
    """Runs the verb."""
    is_own = argument(argv, "data") is not None
    values = parse_flags(own_images.expanded(argv), _DESCRIPTION, _define)
    if values is None:
        return 0
    workdir = required_workdir(values)
    with stop_on_signals() as stop:
        if is_joined():
            before_training(values.config, workdir)
        state = train(values.config, workdir, stop, profile=values.profile)
    step, total = int(state.step), values.config.training.steps
    finished = step >= total
    done = "done" if finished else f"stopped on {stop.cause} at step {step} of {total} (the same command resumes)"
    print_once(f"Training {done}. Checkpoint at step {step} in {workdir}.")
    runs = read_runs(workdir)
    if (cost := goodput(runs)) is not None:
        print_once(f"It took {cost}.")
    if (compared := foretold(workdir, runs)) is not None:
        print_once(f"{compared}.")
    if finished and is_own:
        print_once(own_images.next_commands(workdir, values.config))
    return DONE if finished else stop.exit_code
