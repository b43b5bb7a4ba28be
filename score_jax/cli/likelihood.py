"""`python -m score_jax likelihood`."""

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np

from score_jax.builder.likelihood_options import OfData, OfImages
from score_jax.cli.functions import likelihood_function, names_function
from score_jax.cli.verb import define_step, load_trained, parse_flags, with_aliases
from score_jax.codecs.latents import Latents
from score_jax.data.sources import Source
from score_jax.errors import InputError
from score_jax.evaluation.likelihood_page import ends_of, write_likelihood_page
from score_jax.jobs import likelihood
from score_jax.jobs.dequantizer import fitted
from score_jax.jobs.likelihood_calibration import calibrated
from score_jax.jobs.likelihood_latents import latents_of
from score_jax.jobs.likelihood_summary import headline
from score_jax.jobs.open_split import open_split
from score_jax.jobs.trained import Trained
from score_jax.runtime.multihost import print_once
from score_jax.runtime.parts import Interrupted
from score_jax.runtime.stop import stop_on_signals
from score_jax.training.weights import parameters_name

_DESCRIPTION = """Measures bits per dimension of the eval split, every example once.

  python -m score_jax likelihood --workdir=runs/mnist                  exact, by the probability-flow ODE
  python -m score_jax likelihood --workdir=runs/mnist --method=vlb     the variational bound of a chain
  python -m score_jax likelihood --workdir=runs/mnist --method=bound   the bound K of Sohl-Dickstein et al. 2015
  python -m score_jax likelihood --workdir=runs/ldm --method=images    images, under a model of latents
  python -m score_jax likelihood --workdir=runs/mnist --config.likelihood.num_examples=100
  python -m score_jax likelihood --workdir=runs/mnist --config.likelihood.probes=8
  python -m score_jax likelihood --model=my_package.my_module:model --help   of any function

Writes likelihood.json (mean, errors, conventions), .npz (each example) and .html (a page) into the workdir; for the
bounds likelihood_vlb.*, likelihood_bound.* and likelihood_images.*. Of a model of latents, ode and bound are densities
of latents, and are called so. If the command was stopped, by SIGTERM, Ctrl-C or a crash, the same command continues
there."""


def main(argv: list[str]) -> int:
    """Runs the verb."""
    if names_function(argv, "model"):
        return likelihood_function(argv)
    values = parse_flags(with_aliases(argv), _DESCRIPTION, define_step)
    if values is None:
        return 0
    model = load_trained(values)
    source = open_split(model.config, "eval_split", model.workdir)
    facts = {"step": model.step, "seed": model.experiment.likelihood.seed, "data": source.fingerprint}
    facts["parameters"] = parameters_name(model.workdir)
    parts = model.workdir / "likelihood_parts"
    dequantizer, calibration = _dequantizer(model), _calibration(model)
    with stop_on_signals() as stop:
        try:
            result = likelihood.measure(
                model.experiment,
                _params(model),
                model.mesh,
                source,
                parts=parts,
                facts=facts,
                stop=stop,
                dequantizer=dequantizer,
                calibration=calibration,
            )
        except Interrupted as interrupted:
            print_once(f"Likelihood stopped on {stop.cause}: {interrupted}. The same command continues it.")
            return stop.exit_code
    if jax.process_index() > 0:
        return 0
    path = likelihood.save(model.workdir, result, facts)
    print(table_of(model.workdir, model.step))
    page = _write_page(path, result, source)
    print(f"Written: {path}{page}")
    return 0


def _write_page(path: Path, result: likelihood.Likelihood, source: Source) -> str:
    """The page beside a result, and what is said of it; the numbers are written already."""
    try:
        ends = [
            np.stack([source[int(result.columns["index"][place])]["image"] for place in places])
            for places in ends_of(result.bits_per_dim)
        ]
        write_likelihood_page(path.with_suffix(".html"), json.loads(path.read_text()), result.bits_per_dim, *ends)
    except InputError as error:
        return f" (no page: {error})"
    return f", {path.with_suffix('.html').name}"


def _dequantizer(model: Trained):
    """Returns the dequantiser of this step, which is fitted where the workdir has none; None for uniform noise."""
    c = model.experiment.likelihood
    if not isinstance(c, OfData) or c.dequantization != "variational":
        return None
    if isinstance(model.experiment.codec, Latents):
        raise InputError(
            "likelihood.dequantization=variational is for pixels, and latents have no levels: leave it out."
        )
    folder = model.workdir / "dequantizer" / f"step_{model.step:08d}_of_{c.dequantizer_steps}"
    return fitted(
        model.experiment, model.params, model.mesh, open_split(model.config, "train_split", model.workdir), folder
    )


def _params(model: Trained):
    """Returns the parameters in the precision that the config states."""
    dtype = model.experiment.likelihood.dtype
    if dtype != "float32":
        jax.config.update("jax_enable_x64", True)
    if dtype != "float64":
        return model.params
    return jax.tree.map(lambda leaf: leaf.astype("float64"), model.params)


def _calibration(model: Trained):
    """Returns what the bound on images has fitted at this step, fitted now where the workdir has none; None for other
    methods."""
    if not isinstance(model.experiment.likelihood, OfImages):
        return None
    path = model.workdir / "images_bound" / f"step_{model.step:08d}.json"
    latents_of(model.experiment)
    source = open_split(model.config, "train_split", model.workdir)
    return calibrated(model.experiment, _params(model), model.mesh, source, path)


def table_of(workdir: Path, step: int) -> str:
    """Returns all methods' results for this step, side by side, and what they are of where that is not the data."""
    lines, notes = [f"{'method':<8}{'bits/dim':>10}{'+-':>9}{'examples':>10}{'evaluations':>13}"], []
    for name in likelihood.FILES.values():
        file = workdir / f"{name}.json"
        summary = json.loads(file.read_text()) if file.is_file() else {}
        if summary.get("step") == step and "method" in summary and not summary.get("failed"):
            mean, error = headline(summary)
            shown, of = "" if error is None else f"{error:.4f}", summary.get("of", "data")
            row = f"{summary['method']:<8}{mean:>10.4f}{shown:>9}{summary['count']:>10}{summary['nfe_mean']:>13.0f}"
            lines.append(row + ("  of latents" if of == "latents" else ""))
            notes.extend(_notes(summary, of))
    return "\n".join(lines + notes)


def _notes(summary: dict[str, Any], of: str) -> list[str]:
    """What a number is of, where that is not the data themselves, what it is made of, and how far a grid may be off."""
    missed = summary.get("solver_error")
    notes = []
    if missed is not None:
        error = f"{missed['mean']:.2g} bits/dim on average and {missed['largest']:.2g} at most"
        notes = [f"{summary['method']}: by the solver's own estimate the grid misses {error}."]
    if of == "latents":
        return [
            *notes,
            f"{summary['method']}: latent_bits_per_dim, of {summary['dimensions']} latents x0 = {summary['x0']}; "
            "no density of images.",
        ]
    if of != "images":
        return notes
    prior, entropy, reconstruction = (summary[f"bpd_of_{name}"] for name in ("prior", "entropy", "reconstruction"))
    together = f"bpd_images_bound_iw{summary['importance_samples']}"
    weighted = f"; of all draws together {summary[together]:.4f}" if together in summary else ""
    return [
        *notes,
        f"images: at most so many bits of each of {summary['dimensions']} pixels' channels: reconstruction "
        f"{reconstruction:.4f} + prior {prior:.4f} - entropy {entropy:.4f}{weighted}.",
    ]
