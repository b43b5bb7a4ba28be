"""`python -m score_jax sample`."""

from pathlib import Path

from absl import flags

from score_jax.cli.verb import define_step, load_trained, parse_flags
from score_jax.evaluation.image_grid import grid, save_png
from score_jax.jobs.results import provenance, write_arrays, write_json
from score_jax.jobs.sample import draw

_DESCRIPTION = """Draws images from a trained model; image i depends on the seed and on i alone.

  python -m score_jax sample --workdir=runs/mnist --config.sampling.num_samples=64
  python -m score_jax sample --workdir=runs/mnist --config.sampler.name=ode --config.sampler.rtol=1e-4

Writes samples.png (a grid), samples.npz (arr_0: uint8 n h w c; arr_1: classes, if any) and samples.json into --out."""


def _define(values: flags.FlagValues) -> None:
    define_step(values)
    flags.DEFINE_string("out", None, "Folder for the results; the workdir by default.", flag_values=values)


def main(argv: list[str]) -> int:
    """Runs the verb."""
    values = parse_flags(argv, _DESCRIPTION, _define)
    if values is None:
        return 0
    model = load_trained(values)
    c = model.config.sampling
    trained = (model.experiment, model.params, model.mesh)
    drawn = draw(*trained, range(c.num_samples), batch_size=c.batch_size, seed=c.seed, label=c.label)
    out = Path(values.out or model.workdir)
    save_png(out / "samples.png", grid(drawn.images[:256], columns=int(min(256, c.num_samples) ** 0.5)))
    labels = {"arr_1": drawn.labels} if model.experiment.network.num_classes else {}
    write_arrays(out / "samples.npz", {"arr_0": drawn.images} | labels)
    sampler = model.config.sampler.to_dict()
    summary = {
        "count": len(drawn.images),
        "nfe_mean": float(drawn.nfe.mean()),
        "nfe_max": int(drawn.nfe.max()),
    }
    facts = provenance(step=model.step, seed=c.seed, sampler=sampler, parameters="ema", rounding="truncated")
    write_json(out / "samples.json", summary | facts)
    print(f"{len(drawn.images)} samples, {drawn.nfe.mean():.0f} evaluations each: {out / 'samples.png'}")
    return 0
