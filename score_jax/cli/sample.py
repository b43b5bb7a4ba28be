"""`python -m score_jax sample`."""

from pathlib import Path

import jax
from absl import flags

from score_jax.cli.config_flags import results_folder
from score_jax.cli.verb import define_prompts, define_step, load_drawing, parse_flags, with_aliases
from score_jax.errors import counted
from score_jax.jobs.sample_files import checked, remembered, sample_batches, write_samples
from score_jax.runtime.multihost import print_once
from score_jax.runtime.parts import Columns, Interrupted, parts_of
from score_jax.runtime.stop import stop_on_signals

_DESCRIPTION = """Draws images from a trained model or a cascade of models. Image i depends only on the seed and on i.

  python -m score_jax sample --workdir=runs/mnist --config.sampling.num_samples=64
  python -m score_jax sample --workdir=runs/mnist --config.sampler.name=ode --config.sampler.rtol=1e-4
  python -m score_jax sample --workdir=runs/mnist --solver=ddim --steps=25 --guidance.scale=2
  python -m score_jax sample --workdir=runs/sd --prompt="a red fox in the snow" --guidance.scale=7.5
  python -m score_jax sample --workdir=runs/upsampler --base=runs/base/samples.npz
  python -m score_jax sample --config=configs/adm/imagenet256_cascade.py --workdir=runs/imagenet256_cascade

--solver is short for --config.sampler.name, --steps for --config.sampler.num_steps (or for the respacing of a chain
that has one), and --guidance.KEY for --config.guidance.KEY. A model of texts draws what --prompt says, or each line of
--prompts, or else the captions of its eval split. A super-resolution model needs --base: a file that `sample`
wrote, with the images to enlarge (arr_0) and their classes (arr_1). A cascade draws images and enlarges them in one
command; --config.cascade.stage1.sampler.KEY and --config.cascade.stage1.guidance.KEY set how stage 1 is sampled.

Writes samples.png (a grid), samples.npz (arr_0: uint8 n h w c; arr_1: classes, if any) and samples.json into --out. If
the command was stopped, by SIGTERM, Ctrl-C or a crash, the same command continues there."""


def _define(values: flags.FlagValues) -> None:
    define_step(values)
    define_prompts(values)
    flags.DEFINE_string(
        "base", None, "Images to enlarge: an .npz file with images arr_0 and classes arr_1.", flag_values=values
    )
    flags.DEFINE_string("out", None, "Folder for the results; by default the workdir.", flag_values=values)


def main(argv: list[str]) -> int:
    """Runs the verb."""
    values = parse_flags(with_aliases(argv), _DESCRIPTION, _define)
    if values is None:
        return 0
    out = results_folder(values)
    models, count = load_drawing(values, values.config.sampling.num_samples)
    workdir = Path(values.workdir)
    parts = parts_of(workdir / "sample_parts", models.identity(count) | {"count": count})
    kept: list[Columns] = []
    with stop_on_signals() as stop:
        try:
            for columns in sample_batches(models, count, parts, stop):
                kept.append(remembered(columns, kept))
        except Interrupted as interrupted:
            print_once(f"Sampling stopped on {stop.cause}: {interrupted}. The same command continues it.")
            return stop.exit_code
    written = checked(models, kept)
    if jax.process_index() == 0:
        write_samples(out, models, written, parts)
        parts.remove()
        print(f"{counted(count, 'sample')}, {written.nfe.mean():.0f} network evaluations each: {out / 'samples.png'}")
    return 0
