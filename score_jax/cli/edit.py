"""`python -m score_jax edit`."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import flags

from score_jax.cli.config_flags import results_folder
from score_jax.cli.verb import define_step, load_trained, parse_flags, with_aliases
from score_jax.errors import InputError, counted
from score_jax.evaluation.edit_page import EditPage, write_edit_page
from score_jax.evaluation.image_grid import save_png
from score_jax.evaluation.pictures import picture
from score_jax.jobs import blend
from score_jax.jobs.edit import Task, read_task
from score_jax.jobs.guide import load_classifier
from score_jax.jobs.prompts import TOKENS, Prompts, conditioned, with_embeddings
from score_jax.jobs.sample import Drawn, Given, draw
from score_jax.jobs.trained import Trained, measured
from score_jax.runtime.results import provenance, write_arrays, write_json
from score_jax.training.weights import parameters_name

_DESCRIPTION = """Edits an image with a trained model: --task=inpaint completes it where the mask is white,
colorize colours a grey image, blend paints what a text says where the mask is white, denoise removes noise, sdedit
changes an image by noising and denoising it.

  python -m score_jax edit --workdir=runs/mnist --image=digit.png --mask=mask.png
  python -m score_jax edit --workdir=runs/leaves --task=denoise --image=noisy.png --noise=40
  python -m score_jax edit --workdir=runs/cifar10 --task=colorize --image=grey.png --config.sampling.num_samples=8
  python -m score_jax edit --workdir=runs/sd --task=sdedit --image=sketch.png --strength=0.75 --prompt="a castle"
  python -m score_jax edit --workdir=runs/decoder --image=shape.png --mask=mask.png --prompt="a large blue circle" \\
    --embeddings=runs/prior/samples.npz
  python -m score_jax edit --workdir=runs/blend256 --task=blend --image=dog.png --mask=mask.png --clip=ViT-B-16.pt \\
    --prompt="a red collar"

Image and mask are resized to the model's size. For data that are no images, both are .npy files of one example, and
the mask is 1 where the value is unknown. denoise is only for models of configs/dpm2015: their reverse kernels are
multiplied by the likelihood of the observed image. Stochastic samplers and more steps fit the new part better to the
known part. --solver, --steps and --guidance.KEY are those of `sample`. --config.edit.KEY sets the weights of a blend.
Samples of a blend are sorted by their distance to the text, the nearest first (edit.npz: distance).

Writes edit.png (the known part of the image, then the samples), edit.npz (arr_0: uint8 n h w c), edit.json, and
edit.html, a page with image, mask and results, and with how exactly the rest was kept, into --out."""


def _define(values: flags.FlagValues) -> None:
    define_step(values)
    flags.DEFINE_string("image", None, "Image to edit.", flag_values=values)
    flags.DEFINE_string(
        "mask", None, "Image of the mask: white where the picture is unknown or is to be replaced.", flag_values=values
    )
    flags.DEFINE_string(
        "task", "inpaint", "What to do: inpaint, colorize, blend, denoise or sdedit.", flag_values=values
    )
    flags.DEFINE_float(
        "noise",
        None,
        "For denoise: standard deviation of the image's noise, in grey levels of 255.",
        flag_values=values,
    )
    flags.DEFINE_float(
        "strength", None, "For sdedit: share of the steps that change the image, at most 1.", flag_values=values
    )
    flags.DEFINE_string(
        "prompt", "", "Text: for blend what is painted, for a model of texts what is drawn.", flag_values=values
    )
    flags.DEFINE_string(
        "negative_prompt", "", "Text that guidance leads a model of texts away from.", flag_values=values
    )
    flags.DEFINE_string("clip", None, "For blend: CLIP's weights, or a trained CLIP's workdir.", flag_values=values)
    flags.DEFINE_string(
        "embeddings", None, "For unCLIP's decoder: samples.npz of its prior, drawn of the prompt.", flag_values=values
    )
    flags.DEFINE_string(
        "lpips_vgg", None, "File of VGG16's weights, for config.edit.perceptual_scale.", flag_values=values
    )
    flags.DEFINE_string(
        "lpips_heads", None, "File of LPIPS's weights, for config.edit.perceptual_scale.", flag_values=values
    )
    flags.DEFINE_string("out", None, "Folder for the results; by default the workdir.", flag_values=values)


def _given(model: Trained, task: Task, values: flags.FlagValues) -> Given:
    """The knowledge of the image, and what guides."""
    count = model.config.sampling.num_samples
    if values.task != "blend":
        given = load_classifier(model.experiment, model.mesh)
        given = task.given(given, count, fills_holes=bool(model.config.data.holes))
        texts = (values.prompt,) if values.prompt or TOKENS in model.experiment.network.conditions else ()
        prompts = Prompts(texts, values.negative_prompt)
        if values.embeddings:
            given = with_embeddings(given, model.experiment, Path(values.embeddings), count)
        return conditioned(given, model.experiment, model.workdir, count, prompts)
    for flag in ("negative_prompt", "embeddings"):
        if values[flag].value:
            raise InputError(f"--{flag} is not read by --task=blend, where CLIP leads to --prompt: leave it out.")
    files = blend.Weights(*(Path(f) if f else None for f in (values.clip, values.lpips_vgg, values.lpips_heads)))
    guide = blend.load_guide(model.config, [values.prompt], task, files, model.mesh)
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
        raise InputError("--image is missing: give the image to edit.")
    out = results_folder(values)
    model = load_trained(values)
    model.experiment.part("sampler")
    c = model.config.sampling
    task = read_task(model.config, values.task, values.image, values.mask, values.noise, values.strength)
    given, model = _given(model, task, values), measured(model)
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
    arrays = _arrays(given, task, drawn, c.batch_size)
    save_png(out / "edit.png", picture(np.concatenate([task.shown[None], arrays["arr_0"][:63]])))
    write_arrays(out / "edit.npz", arrays)
    facts = {"task": values.task, "image": values.image, "mask": values.mask, "count": len(drawn.images)}
    if task.strength is not None:
        facts |= {"strength": task.strength}
    if task.noise:
        facts |= {"noise": task.noise}
    if TOKENS in given.conditions:
        facts |= {"prompt": values.prompt, "negative_prompt": values.negative_prompt}
    if given.text is not None:
        facts |= {"prompt": values.prompt, "clip": values.clip, "edit": model.config.edit.to_dict()}
        facts["distance"] = [round(float(d), 4) for d in arrays["distance"]]
    sampler = model.config.sampler.to_dict()
    parameters = parameters_name(model.workdir)
    facts |= provenance(step=model.step, seed=c.seed, sampler=sampler, parameters=parameters, rounding="rounded")
    changes = task.changes(drawn.images, task.held(drawn.images))
    write_json(out / "edit.json", facts | {"changes": changes})
    masked = values.task in ("inpaint", "blend") and not task.painted.all()
    page = EditPage(
        task=values.task,
        said=_said(values, task, model.config.data.image_size),
        image=task.image,
        known=task.shown,
        painted=task.painted if masked else None,
        results=arrays["arr_0"],
        changes=changes,
        facts=facts,
    )
    write_edit_page(out / "edit.html", page)
    print(f"{counted(len(drawn.images), 'sample')}, {drawn.nfe.mean():.0f} network evaluations each.")
    print(f"Written: {out / 'edit.png'}, edit.npz, edit.json, edit.html")
    return 0


def _said(values: flags.FlagValues, task: Task, size: int) -> str:
    """What the task is, in plain words."""
    painted = "The white part of the mask" if not task.painted.all() else "The whole image"
    said = {
        "inpaint": f"{painted} was drawn anew by the model, so that it fits to the rest, which is the image itself.",
        "colorize": "The model was given grey levels alone and drew colours to them. The sum of a pixel's colours is "
        "kept.",
        "blend": f'{painted} was painted so that CLIP finds it near to the text "{values.prompt}". The rest is the '
        "image itself. Results are sorted, the nearest to the text first.",
        "denoise": f"The image was taken as one with noise of standard deviation {task.noise:g}; each result is drawn "
        "from what the model finds likely without the noise.",
        "sdedit": f"The image was noised, and the last {task.strength or 0:.0%} of the sampler's steps were taken from "
        "there (SDEdit, Meng et al. 2022). Nothing is held: more strength changes more.",
    }[values.task]
    return f"{said} The image was brought to the model's size of {size} x {size} pixels first." if size > 1 else said
