"""`python -m score_jax likelihood`."""

from score_jax.cli.verb import define_step, load_trained, parse_flags
from score_jax.jobs import likelihood
from score_jax.jobs.train import open_split

_DESCRIPTION = """Exact bits per dimension of the eval split via the probability-flow ODE, every example once.

  python -m score_jax likelihood --workdir=runs/mnist
  python -m score_jax likelihood --workdir=runs/mnist --config.likelihood.num_examples=100

Writes likelihood.json (mean, standard error, how) and likelihood.npz (per example) into the workdir."""


def main(argv: list[str]) -> int:
    """Runs the verb."""
    values = parse_flags(argv, _DESCRIPTION, define_step)
    if values is None:
        return 0
    model = load_trained(values)
    source = open_split(model.config, "eval_split")
    result = likelihood.measure(model.experiment, model.params, model.mesh, source, model.config)
    path = model.workdir / "likelihood"
    summary = likelihood.save(path, result, model.config, model.step, source.fingerprint)
    mean, error = summary["bpd_ode_uniform"], summary["bpd_ode_uniform_standard_error"]
    print(f"{mean:.4f} +- {error:.4f} bits/dim over {summary['count']} examples: {path}.json")
    return 0
