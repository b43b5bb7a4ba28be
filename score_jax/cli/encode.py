"""`python -m score_jax encode`."""

from pathlib import Path

import jax
from absl import flags

from score_jax.builder.options import Values
from score_jax.cli.config_flags import checked_folder
from score_jax.cli.verb import define_step, load_trained, parse_flags
from score_jax.errors import InputError, counted, plural
from score_jax.evaluation.image_grid import grid, save_png
from score_jax.jobs import encode
from score_jax.jobs.encode_latents import encode_latents
from score_jax.jobs.open_split import open_split
from score_jax.jobs.trained import Trained, trained_of
from score_jax.runtime.results import check_result, provenance, write_arrays, write_json
from score_jax.training.weights import parameters_name

_DESCRIPTION = """Encodes held-out images along the probability-flow ODE, decodes them, and interpolates between them.

  python -m score_jax encode --workdir=runs/mnist
  python -m score_jax encode --workdir=runs/mnist --against=runs/other    compare the latents of two models

Takes the first likelihood.num_examples images of the eval split (64 if that is 0), with the solver and the tolerances
of the section `likelihood`. Writes encode.json (errors of the reconstructions), encode.npz (latents and
reconstructions) and interpolation.png (each row goes from one image to another) into the workdir.

  python -m score_jax encode --workdir=runs/first_stage --split=train --out=data/latents

Of an autoencoder's run, writes its latents of a split (train or eval) into a new folder --out, as files of array_record
with means and variances, labels and captions: with --config.training.latents=data/latents models train from them."""
_DEFAULT_COUNT, _PAIRS = 64, 6


def _define(values: flags.FlagValues) -> None:
    define_step(values)
    flags.DEFINE_string(
        "against", None, "Workdir of another model of the same data, whose latents are compared.", flag_values=values
    )
    flags.DEFINE_enum(
        "split", "train", ("train", "eval"), "Of an autoencoder: split that is encoded.", flag_values=values
    )
    flags.DEFINE_string("out", None, "Of an autoencoder: new folder for the latents.", flag_values=values)
    flags.DEFINE_integer("batch_size", 64, "Of an autoencoder: images at the same time.", flag_values=values)


def main(argv: list[str]) -> int:
    """Runs the verb."""
    values = parse_flags(argv, _DESCRIPTION, _define)
    if values is None:
        return 0
    model = load_trained(values)
    if "autoencoder" in model.experiment.parts:
        return _write_latents(model, values)
    source = open_split(model.config, "eval_split", model.workdir)
    count = min(model.experiment.likelihood.num_examples or _DEFAULT_COUNT, len(source))
    coder = encode.coder(model.experiment, model.params)
    other = _other(model, Path(values.against)) if values.against else None
    columns = encode.encode(coder, model.mesh, source, count)
    found = encode.summary(columns)
    whole = not found["failed"]
    if other is not None and whole:
        latents = encode.encode(encode.coder(other.experiment, other.params), other.mesh, source, count)["latents"]
        found |= {"against": values.against} | encode.agreement(columns["latents"], latents)
        check_result(found)
    pairs = min(_PAIRS, count // 2)
    arcs = encode.interpolate(coder, columns, pairs) if pairs and whole else None
    if jax.process_index() > 0:
        return 0
    out, parameters = model.workdir, parameters_name(model.workdir)
    write_arrays(out / "encode.npz", columns)
    write_json(out / "encode.json", found | provenance(step=model.step, data=source.fingerprint, parameters=parameters))
    if not whole:
        raise InputError(
            f"{found['failed']} of {counted(count, 'image')} "
            f"{plural(found['failed'], 'is', 'are')} not reconstructed (the first is number {found['first_failed']}; "
            f"`ok` in {out / 'encode.npz'} marks the others): check that the weights are finite, or give larger "
            "likelihood.rtol and likelihood.atol."
        )
    if arcs is not None:
        save_png(out / "interpolation.png", grid(arcs, columns=len(encode.WEIGHTS)))
    print(
        f"Reconstruction error: {found['rms_error_levels']:.3f} grey levels of 255 (rms), "
        f"{found['nfe_mean']:.0f} network evaluations."
    )
    if values.against:
        print(f"Correlation of the latents with those of {values.against}: {found['correlation']:.3f}.")
    print(f"Written: {out / 'encode.json'}, encode.npz{', interpolation.png' if arcs is not None else ''}")
    return 0


def _write_latents(model: Trained, values: flags.FlagValues) -> int:
    if not values.out:
        raise InputError("--out is missing: give a new folder for the latents.")
    Values(least=1).check("--batch_size", values.batch_size)
    out = checked_folder(values.out, "out")
    source = open_split(model.config, f"{values.split}_split")
    facts = encode_latents(model.experiment, model.params, model.mesh, source, out, batch_size=values.batch_size)
    if jax.process_index() == 0:
        print(f"{counted(facts.count, 'latent')} of {source.name}, {facts.shape} numbers each: {out}")
    return 0


def _other(model: Trained, workdir: Path) -> Trained:
    """Returns the model to compare with, after a check that its images have the same shape."""
    other = trained_of(workdir)
    if other.experiment.image_shape != model.experiment.image_shape:
        raise InputError(
            f"{workdir} is a model of images {other.experiment.image_shape}, but this one of "
            f"{model.experiment.image_shape}: give a model of the same data."
        )
    return other
