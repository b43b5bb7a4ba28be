"""`python -m score_jax edit`."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import flags

from score_jax.cli.verb import Trained, define_step, load_trained, parse_flags, with_aliases
from score_jax.errors import InputError
from score_jax.evaluation.image_grid import save_png
from score_jax.evaluation.pictures import picture
from score_jax.jobs import blend
from score_jax.jobs.edit import Task, read_task
from score_jax.jobs.guide import load_classifier
from score_jax.jobs.sample import Drawn, Given, draw
from score_jax.runtime.results import provenance, write_arrays, write_json
from score_jax.training.weights import parameters_name

_DESCRIPTION = """Completes an image where a mask is white, colours it, or paints what a text says where the mask is
white, in several ways, with an unconditional model.

  python -m score_jax edit --workdir=runs/mnist --image=digit.png --mask=mask.png
  python -m score_jax edit --workdir=runs/leaves --task=denoise --image=noisy.png --noise=40
  python -m score_jax edit --workdir=runs/cifar10 --task=colorize --image=grey.png --config.sampling.num_samples=8
  python -m score_jax edit --workdir=runs/blend256 --task=blend --image=dog.png --mask=mask.png --clip=ViT-B-16.pt \\
    --prompt="a red collar"

Image and mask are brought to the model's size; of data that are no images, both are .npy files of one example, and
the mask is 1 where it is unknown. To denoise is for models of configs/dpm2015, which are multiplied by the likelihood
of what was seen. Writes edit.png (the image as it is known, then the samples), edit.npz
(arr_0: uint8 n h w c) and edit.json into --out. Samplers with noise, and more steps, give more harmony between the
known and the new; --solver, --steps and --guidance.KEY are those of `sample`. A blend's samples come in the order of
their distance from the text, the nearest first (edit.npz: distance), and its strengths are --config.edit.KEY."""


def _define(values: flags.FlagValues) -> None:
    define_step(values)
    flags.DEFINE_string("image", None, "The image.", flag_values=values)
    flags.DEFINE_string("mask", None, "White where the image is to be painted anew.", flag_values=values)
    flags.DEFINE_string("task", "inpaint", "inpaint, colorize, blend or denoise.", flag_values=values)
    flags.DEFINE_float("noise", None, "Of denoise: deviation of the noise, levels.", flag_values=values)
    flags.DEFINE_string("prompt", "", "What a blend is to show.", flag_values=values)
    flags.DEFINE_string("clip", None, "CLIP's weights, of a blend.", flag_values=values)
    flags.DEFINE_string("lpips_vgg", None, "VGG16's weights, of config.edit.perceptual_scale.", flag_values=values)
    flags.DEFINE_string("lpips_heads", None, "LPIPS's weights, likewise.", flag_values=values)
    flags.DEFINE_string("out", None, "Folder for the results; the workdir by default.", flag_values=values)


def _given(model: Trained, task: Task, values: flags.FlagValues) -> Given:
    """The knowledge of the image, and what guides."""
    count = model.config.sampling.num_samples
    if values.task != "blend":
        return task.given(load_classifier(model.experiment, model.mesh), count)
    files = blend.Weights(*(Path(f) if f else None for f in (values.clip, values.lpips_vgg, values.lpips_heads)))
    guide = blend.load_guide(model.config, values.prompt, task, files)
    return dataclasses.replace(task.given(Given(), count), text=guide)


def _arrays(given: Given, task: Task, drawn: Drawn, batch_size: int) -> dict[str, Any]:
    """The results, with what is known of the image as it is; of a blend in order."""
    images = task.held(drawn.images)
    if given.text is None:
        return {"arr_0": images}
    distance = blend.distances(given.text, images, batch_size=batch_size)
    order = blend.ranking(distance)
    return {"arr_0": images[order], "distance": distance[order], "sample": order}


def main(argv: list[str]) -> int:
    """Runs the verb."""
    values = parse_flags(with_aliases(argv), _DESCRIPTION, _define)
    if values is None:
        return 0
    if not values.image:
        raise InputError("--image is missing: name the picture to edit.")
    model = load_trained(values)
    c = model.config.sampling
    task = read_task(model.config, values.task, values.image, values.mask, values.noise)
    given = _given(model, task, values)
    drawn = draw(
        model.experiment,
        model.params,
        model.mesh,
        range(c.num_samples),
        batch_size=c.batch_size,
        seed=c.seed,
        label=c.label,
        given=given,
        rounding="rounded",  # what is known is of whole levels
    )
    if jax.process_index() > 0:
        return 0
    out, arrays = Path(values.out or model.workdir), _arrays(given, task, drawn, c.batch_size)
    save_png(out / "edit.png", picture(np.concatenate([task.shown[None], arrays["arr_0"][:63]])))
    write_arrays(out / "edit.npz", arrays)
    facts = {"task": values.task, "image": values.image, "mask": values.mask, "count": len(drawn.images)}
    if task.noise:
        facts |= {"noise": task.noise}
    if given.text is not None:
        facts |= {"prompt": values.prompt, "clip": values.clip, "edit": model.config.edit.to_dict()}
        facts["distance"] = [round(float(d), 4) for d in arrays["distance"]]
    sampler = model.config.sampler.to_dict()
    parameters = parameters_name(model.workdir)
    facts |= provenance(step=model.step, seed=c.seed, sampler=sampler, parameters=parameters, rounding="rounded")
    write_json(out / "edit.json", facts)
    print(f"{len(drawn.images)} samples, {drawn.nfe.mean():.0f} evaluations each: {out / 'edit.png'}")
    return 0
