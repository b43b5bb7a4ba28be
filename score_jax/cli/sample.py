"""`python -m score_jax sample`."""

from pathlib import Path

import jax
from absl import flags

from score_jax.cli.verb import Trained, define_step, load_trained, parse_flags, with_aliases
from score_jax.evaluation.image_grid import grid, save_png
from score_jax.jobs.enlarge import enlarging
from score_jax.jobs.guide import load_classifier
from score_jax.jobs.sample import Drawn, draw
from score_jax.runtime.multihost import print_once
from score_jax.runtime.parts import Interrupted, parts_of
from score_jax.runtime.results import provenance, write_arrays, write_json
from score_jax.runtime.stop import stop_on_signals
from score_jax.training.weights import parameters_name

_DESCRIPTION = """Draws images from a trained model; image i depends on the seed and on i alone.

  python -m score_jax sample --workdir=runs/mnist --config.sampling.num_samples=64
  python -m score_jax sample --workdir=runs/mnist --config.sampler.name=ode --config.sampler.rtol=1e-4
  python -m score_jax sample --workdir=runs/mnist --solver=ddim --steps=25 --guidance.scale=2
  python -m score_jax sample --workdir=runs/upsampler --base=runs/base/samples.npz

--solver, --steps and --guidance.KEY stand for --config.sampler.name, --config.sampler.num_steps (of a chain that is
respaced: its respacing) and --config.guidance.KEY. --base names images to enlarge, for a super-resolution model, as
`sample` writes them (arr_0), with their classes (arr_1).

Writes samples.png (a grid), samples.npz (arr_0: uint8 n h w c; arr_1: classes, if any) and samples.json into --out. The
same command again goes on where it was stopped, by SIGTERM, Ctrl-C or worse."""


def _define(values: flags.FlagValues) -> None:
    define_step(values)
    flags.DEFINE_string("base", None, "Images to enlarge: an .npz file with arr_0, arr_1.", flag_values=values)
    flags.DEFINE_string("out", None, "Folder for the results; the workdir by default.", flag_values=values)


def main(argv: list[str]) -> int:
    """Runs the verb."""
    values = parse_flags(with_aliases(argv), _DESCRIPTION, _define)
    if values is None:
        return 0
    model = load_trained(values)
    c = model.config.sampling
    given = load_classifier(model.experiment, model.mesh)
    given, count = enlarging(given, model.experiment, values.base, c.num_samples)
    asked = {"config": model.config.to_dict(), "step": model.step, "devices": model.mesh.size, "count": count}
    parts = parts_of(model.workdir / "sample_parts", asked | {"given": given.digests(count)})
    trained = (model.experiment, model.params, model.mesh)
    with stop_on_signals() as stop:
        try:
            drawn = draw(
                *trained,
                range(count),
                batch_size=c.batch_size,
                seed=c.seed,
                label=c.label,
                given=given,
                parts=parts,
                stop=stop,
            )
        except Interrupted as interrupted:
            print_once(f"Sampling stopped on {stop.cause}: {interrupted}; the same command goes on.")
            return stop.exit_code
    if jax.process_index() == 0:
        labelled = bool(model.experiment.num_classes or given.classifier is not None)
        _write(Path(values.out or model.workdir), model, drawn, labelled=labelled)
        parts.remove()
    return 0


def _write(out: Path, model: Trained, drawn: Drawn, *, labelled: bool) -> None:
    save_png(out / "samples.png", grid(drawn.images[:256], columns=int(min(256, len(drawn.images)) ** 0.5)))
    write_arrays(out / "samples.npz", {"arr_0": drawn.images} | ({"arr_1": drawn.labels} if labelled else {}))
    sampler = model.config.sampler.to_dict() | {"guidance": model.config.guidance.to_dict()}
    summary = {
        "count": len(drawn.images),
        "nfe_mean": float(drawn.nfe.mean()),
        "nfe_max": int(drawn.nfe.max()),
    }
    seed = model.config.sampling.seed
    parameters = parameters_name(model.workdir)
    facts = provenance(step=model.step, seed=seed, sampler=sampler, parameters=parameters, rounding="truncated")
    write_json(out / "samples.json", summary | facts)
    print(f"{len(drawn.images)} samples, {drawn.nfe.mean():.0f} evaluations each: {out / 'samples.png'}")
