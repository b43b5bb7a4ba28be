"""`python -m score_jax variations`."""

from pathlib import Path

import jax
import numpy as np
from absl import flags

from score_jax.cli.config_flags import results_folder
from score_jax.cli.verb import define_step, load_trained, parse_flags, with_aliases
from score_jax.errors import InputError, unknown_name
from score_jax.evaluation.image_grid import grid, save_png
from score_jax.jobs import variations
from score_jax.jobs.variations import Decoder, Rows
from score_jax.runtime.results import provenance, write_arrays, write_json
from score_jax.training.weights import parameters_name

_DESCRIPTION = """Makes other images of an image by an unCLIP's decoder (Ramesh et al. 2022, section 3).

  python -m score_jax variations --workdir=runs/small_decoder --image=a.png
  python -m score_jax variations --workdir=runs/small_decoder --task=interpolate --image=a.png --to=b.png
  python -m score_jax variations --workdir=runs/small_decoder --task=text_diff --image=a.png \\
    --text="a blue square" --from_text="a red square"
  python -m score_jax variations --workdir=runs/small_decoder --task=components --image=a.png --components=4,8,16,32

variations keeps the embedding of the image and adds noise to its path, more with a larger --eta; interpolate goes from
one image to another; text_diff turns the embedding towards what --text says and --from_text does not, by up to --theta
of the way; components draws the image from the first principal components of its embedding alone.

The noise from which the decoder draws the image is found by the probability-flow ODE, with the solver and the
tolerances of the section `likelihood`. Writes variations.png, variations.npz and variations.json (what each row of the
picture shows) into --out. Larger images of them: `sample --base=OUT/variations.npz` of an upsampler's run."""
_TASKS = ("variations", "interpolate", "text_diff", "components")
_OF_TASK = {"eta": "variations", "to": "interpolate", "text": "text_diff", "from_text": "text_diff"}
_OF_TASK |= {"theta": "text_diff", "components": "components"}


def _define(values: flags.FlagValues) -> None:
    define_step(values)
    flags.DEFINE_string("task", "variations", f"What to do: {', '.join(_TASKS)}.", flag_values=values)
    flags.DEFINE_string("image", None, "File of the image.", flag_values=values)
    flags.DEFINE_list(
        "eta", ["0.3", "0.6", "1"], "Of variations: noise in DDIM's steps, a row each.", flag_values=values
    )
    flags.DEFINE_string("to", None, "Of interpolate: file of the other image.", flag_values=values)
    flags.DEFINE_string("text", None, "Of text_diff: what the image is to show.", flag_values=values)
    flags.DEFINE_string("from_text", "", "Of text_diff: what it shows; by default nothing is said.", flag_values=values)
    flags.DEFINE_float("theta", 0.5, "Of text_diff: the largest share of the way to the text.", flag_values=values)
    flags.DEFINE_list(
        "components", ["4", "8", "16", "32"], "Of components: how many are kept, an image each.", flag_values=values
    )
    flags.DEFINE_string("out", None, "Folder for the results; by default the workdir.", flag_values=values)


def _numbers(values: flags.FlagValues, name: str, kind: type, least: float | int) -> list:
    """The numbers of a flag.

    Raises:
      InputError: there are none, or one is no number or too small.
    """
    words: list[str] = values[name].value or []
    try:
        found = [kind(word) for word in words]
    except ValueError:
        found = []
    if not found or any(not np.isfinite(each) or each < least for each in found):
        what = "whole numbers" if kind is int else "numbers"
        raise InputError(f"--{name}={','.join(words)}: give {what} of at least {least:g}, e.g. 1,2.")
    return found


def _check(values: flags.FlagValues) -> None:
    """Raises InputError where flags are missing, or are not of the task."""
    if values.task not in _TASKS:
        raise unknown_name("--task", values.task, _TASKS)
    if not values.image:
        raise InputError("--image is missing: give the file of an image.")
    for name, task in _OF_TASK.items():
        if values[name].present and values.task != task:
            raise InputError(f"--{name} is only for --task={task}: leave it out.")
    if values.task == "interpolate" and not values.to:
        raise InputError("--to is missing: give the file of the image at the end of the path.")
    if values.task == "text_diff" and not values.text:
        raise InputError("--text is missing: give what the image is to show.")
    if not 0 < values.theta <= 1:
        raise InputError(f"--theta={values.theta:g}: give a share of the way, more than 0 and at most 1.")


def _rows(decoder: Decoder, values: flags.FlagValues) -> Rows:
    c = decoder.experiment.config.sampling
    pair = variations.read(decoder, [values.image] + ([values.to] if values.to else []))
    if values.task == "variations":
        etas = _numbers(values, "eta", float, 0.0)
        return variations.variations(decoder, pair, etas, c.num_samples, c.seed)
    if values.task == "interpolate":
        return variations.interpolations(decoder, pair, 2, c.seed)
    if values.task == "text_diff":
        return variations.text_diff(decoder, pair, values.text, values.from_text, values.theta)
    counts = _numbers(values, "components", int, 1)
    return variations.components(decoder, pair, counts, Path(values.workdir), c.seed)


def main(argv: list[str]) -> int:
    """Runs the verb."""
    values = parse_flags(with_aliases(argv), _DESCRIPTION, _define)
    if values is None:
        return 0
    _check(values)
    out = results_folder(values)
    model = load_trained(values)
    rows = _rows(variations.decoder_of(model.experiment, model.params, model.mesh), values)
    if jax.process_index() > 0:
        return 0
    longest = max(len(images) for images in rows.values())
    padded = [
        np.pad(images, ((0, longest - len(images)), (0, 0), (0, 0), (0, 0)), constant_values=255)
        for images in rows.values()
    ]
    save_png(out / "variations.png", grid(np.concatenate(padded), columns=longest))
    write_arrays(out / "variations.npz", {"arr_0": np.concatenate(list(rows.values()))})
    facts = {"task": values.task, "image": values.image, "rows": {name: len(images) for name, images in rows.items()}}
    parameters = parameters_name(model.workdir)
    write_json(out / "variations.json", facts | provenance(step=model.step, parameters=parameters))
    print(f"{out / 'variations.png'}, its rows from above: {'; '.join(rows)}.")
    return 0
