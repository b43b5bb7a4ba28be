"""`python -m score_jax edit`."""

from pathlib import Path

import jax
import numpy as np
from absl import flags

from score_jax.cli.verb import define_step, load_trained, parse_flags, with_aliases
from score_jax.errors import InputError
from score_jax.evaluation.image_grid import grid, save_png
from score_jax.jobs.edit import read_task
from score_jax.jobs.guide import load_classifier
from score_jax.jobs.results import provenance, write_arrays, write_json
from score_jax.jobs.sample import draw

_DESCRIPTION = """Completes an image where a mask is white, or colours it, in several ways, with an unconditional model.

  python -m score_jax edit --workdir=runs/mnist --image=digit.png --mask=mask.png
  python -m score_jax edit --workdir=runs/cifar10 --task=colorize --image=grey.png --config.sampling.num_samples=8

Image and mask are brought to the model's size. Writes edit.png (the image as it is known, then the samples), edit.npz
(arr_0: uint8 n h w c) and edit.json into --out. Samplers with noise, and more steps, give more harmony between the
known and the new; --solver, --steps and --guidance.KEY are those of `sample`."""


def _define(values: flags.FlagValues) -> None:
    define_step(values)
    flags.DEFINE_string("image", None, "The image.", flag_values=values)
    flags.DEFINE_string("mask", None, "White where the image is to be painted anew.", flag_values=values)
    flags.DEFINE_string("task", "inpaint", "inpaint or colorize.", flag_values=values)
    flags.DEFINE_string("out", None, "Folder for the results; the workdir by default.", flag_values=values)


def main(argv: list[str]) -> int:
    """Runs the verb."""
    values = parse_flags(with_aliases(argv), _DESCRIPTION, _define)
    if values is None:
        return 0
    if not values.image:
        raise InputError("--image is missing: name the picture to edit.")
    model = load_trained(values)
    c = model.config.sampling
    task = read_task(model.config, values.task, values.image, values.mask)
    given = task.given(load_classifier(model.experiment, model.mesh), c.num_samples)
    drawn = draw(
        model.experiment,
        model.params,
        model.mesh,
        range(c.num_samples),
        batch_size=c.batch_size,
        seed=c.seed,
        label=c.label,
        given=given,
    )
    if jax.process_index() > 0:
        return 0
    out = Path(values.out or model.workdir)
    pictures = np.concatenate([task.shown[None], drawn.images[:63]])
    save_png(out / "edit.png", grid(pictures, columns=max(1, int(len(pictures) ** 0.5))))
    write_arrays(out / "edit.npz", {"arr_0": drawn.images})
    facts = {"task": values.task, "image": values.image, "mask": values.mask, "count": len(drawn.images)}
    sampler = model.config.sampler.to_dict()
    write_json(out / "edit.json", facts | provenance(step=model.step, seed=c.seed, sampler=sampler, parameters="ema"))
    print(f"{len(drawn.images)} samples, {drawn.nfe.mean():.0f} evaluations each: {out / 'edit.png'}")
    return 0
