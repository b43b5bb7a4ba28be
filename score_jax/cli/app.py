"""`python -m score_jax app`."""

import os

from absl import flags

from score_jax.app.serve import LOOPBACK, load_gradio, served, wait_for
from score_jax.cli.verb import define_step, load_trained, parse_flags, with_aliases
from score_jax.runtime.jax_versions import refuse_known_wrong
from score_jax.runtime.stop import stop_on_signals

_DESCRIPTION = """Opens a page to play with a trained model in a browser: draw samples and watch them come out of noise,
measure bits/dim of an image, encode and decode it, paint over a part and have it drawn anew, compare samplers at equal
evaluations. What is shown can be downloaded as one HTML file.

  python -m score_jax app --workdir=runs/mnist
  python -m score_jax app --workdir=runs/mnist --port=0                  on any free port
  python -m score_jax app --workdir=runs/mnist --config.likelihood.rtol=1e-3

A model that cannot do a thing has no tab for it. The page is served to this machine alone; on a remote machine, forward
the port: ssh -L 7860:127.0.0.1:7860 HOST. Nothing is sent to any other machine. Writes nothing into the workdir. Needs
gradio: pip install 'score_jax[app]'. Ctrl-C ends it."""


def _define(values: flags.FlagValues) -> None:
    define_step(values)
    flags.DEFINE_integer("port", 7860, "Port of the page; 0: any that is free.", lower_bound=0, flag_values=values)
    flags.DEFINE_string(
        "host",
        LOOPBACK,
        "Address to listen on. Whoever reaches another one than the default can use the page: there is no password.",
        flag_values=values,
    )


def main(argv: list[str]) -> int:
    """Runs the verb."""
    values = parse_flags(with_aliases(argv), _DESCRIPTION, _define)
    if values is None:
        return 0
    gradio = load_gradio()
    refuse_known_wrong(os.environ)
    model = load_trained(values)
    with stop_on_signals() as stop, served(gradio, model, host=values.host, port=values.port) as address:
        print(f"Open {address} in a browser. Ctrl-C ends the page.", flush=True)
        wait_for(stop)
    return 0
