"""`python -m score_jax reconstruct`."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import flags

from score_jax.builder.options import Values
from score_jax.cli.feature_networks import define_networks, extractors_given
from score_jax.cli.verb import define_step, load_trained, parse_flags
from score_jax.errors import InputError, counted
from score_jax.evaluation import metrics
from score_jax.evaluation.image_grid import grid, save_png
from score_jax.evaluation.pictures import picture
from score_jax.evaluation.protocols import PLAIN, PROTOCOLS, protocol_of
from score_jax.evaluation.reconstruction_page import write_reconstruction_page
from score_jax.jobs import reconstruct
from score_jax.jobs.extractors import imported_features
from score_jax.jobs.open_split import open_split
from score_jax.runtime.parts import Columns
from score_jax.runtime.results import check_result, measurement, write_arrays, write_json
from score_jax.training.weights import parameters_name

_DESCRIPTION = """Encodes held-out images by an autoencoder, decodes them, and measures what is lost.

  python -m score_jax reconstruct --workdir=runs/first_stage
  python -m score_jax reconstruct --workdir=runs/first_stage --fid --count=0
  python -m score_jax reconstruct --workdir=runs/first_stage --latents=data/latents

Takes the first --count images of the eval split. Writes reconstruct.json (PSNR and SSIM of 8-bit images, PSNR where
latents have noise of 0.3 of their standard deviation, with --fid the FID between reconstructions and images, with the
files of LPIPS its mean, and how a codebook is used), reconstructions.npz, reconstructions.png (each image above its
reconstruction) and reconstruct.html (a page with pairs, errors and plots) into the workdir. With --latents it decodes
what `encode` wrote into that folder, into decoded.npz (arr_0: uint8 n h w c; arr_1: labels) and decoded.png."""
_COUNT, _SHOWN, _ROW = 256, 32, 16


def _define(values: flags.FlagValues) -> None:
    define_step(values)
    define: Any = {"flag_values": values}
    flags.DEFINE_integer("count", _COUNT, "Number of images; 0: all.", **define)
    flags.DEFINE_integer("batch_size", 32, "Images at the same time, over all devices together.", **define)
    flags.DEFINE_string("latents", None, "Folder of latents that `encode` wrote, to be decoded.", **define)
    flags.DEFINE_bool("fid", False, "Also measure FID between reconstructions and images.", **define)
    flags.DEFINE_string("protocol", "torch_fidelity", f"Protocol of FID, one of {', '.join(PROTOCOLS)}.", **define)
    define_networks(values)
    flags.DEFINE_string("features", None, "module:function that computes features, instead of a network.", **define)
    flags.DEFINE_string("lpips_vgg", None, "File of VGG16's weights, for LPIPS.", **define)
    flags.DEFINE_string("lpips_heads", None, "File of LPIPS's weights.", **define)


def main(argv: list[str]) -> int:
    """Runs the verb."""
    values = parse_flags(argv, _DESCRIPTION, _define)
    if values is None:
        return 0
    Values(least=0).check("--count", values.count)
    Values(least=1).check("--batch_size", values.batch_size)
    if values.latents:
        return _decode(values)
    lpips = reconstruct.perceptual(*(Path(f) if f else None for f in (values.lpips_vgg, values.lpips_heads)))
    judge = None
    if values.features:
        judge = (PLAIN, imported_features(values.features))
    elif values.fid:
        protocol = protocol_of(values.protocol)
        (extractor,) = extractors_given([protocol], values.flag_values_dict())
        judge = (protocol, extractor)
    model = load_trained(values)
    model.experiment.part("autoencoder")
    source = open_split(model.config, "eval_split", model.workdir)
    count = min(values.count or len(source), len(source))
    columns = reconstruct.reconstruct(
        model.experiment, model.params, model.mesh, source, count=count, batch_size=values.batch_size, lpips=lpips
    )
    found = reconstruct.summary(columns)
    if judge is not None:
        per_device = max(1, values.batch_size // model.mesh.size)
        found |= reconstruct.distances(columns, *judge, model.mesh, batch_size=per_device)
    check_result({name: value for name, value in found.items() if not np.isinf(value)})
    if jax.process_index() > 0:
        return 0
    out, parameters = model.workdir, parameters_name(model.workdir)
    write_arrays(out / "reconstructions.npz", {"arr_0": columns["reconstructions"], "images": columns["images"]})
    of_result = metrics.names(found)
    facts = measurement("reconstruction", of_result, step=model.step, data=source.fingerprint, parameters=parameters)
    if judge is not None:
        facts["protocol"] = judge[0].name
    write_json(out / "reconstruct.json", found | facts)
    save_png(out / "reconstructions.png", _pairs(columns))
    for name, value in found.items():
        print(f"{name:<28}{value:.5g}")
    page = _write_page(out / "reconstruct.html", found | facts, columns)
    print(f"Written: {out / 'reconstruct.json'}, reconstructions.npz, reconstructions.png{page}")
    return 0


def _write_page(path: Path, result: dict[str, Any], columns: Columns) -> str:
    """The page, and what is said of it; the numbers are written already."""
    try:
        write_reconstruction_page(path, result, columns)
    except InputError as error:
        return f" (no page: {error})"
    return f", {path.name}"


def _decode(values: flags.FlagValues) -> int:
    """Decodes latents on disk."""
    model, folder = load_trained(values), Path(values.latents)
    columns = reconstruct.decode(
        model.experiment, model.params, model.mesh, folder, count=values.count, batch_size=values.batch_size
    )
    if jax.process_index() == 0:
        out = model.workdir
        write_arrays(out / "decoded.npz", {"arr_0": columns["images"], "arr_1": columns["label"]})
        save_png(out / "decoded.png", picture(columns["images"]))
        print(f"{counted(len(columns['images']), 'image')}: {out / 'decoded.npz'}, decoded.png")
    return 0


def _pairs(columns: dict[str, np.ndarray]) -> np.ndarray:
    """Rows of images, and below each the row of their reconstructions."""
    shown = min(_SHOWN, len(columns["images"]))
    row = min(_ROW, shown)
    whole = shown - shown % row
    pairs = (columns[name][:whole].reshape(-1, row, *columns[name].shape[1:]) for name in ("images", "reconstructions"))
    rows = np.stack(list(pairs), axis=1)
    return grid(rows.reshape(-1, *rows.shape[3:]), columns=row)
