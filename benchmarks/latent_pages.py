"""The results of `latent.py` as a page: tables, and strips of pictures."""

from latent_runs import DIGIT_SCALES, Digits, Shapes
from lineage_pages import DOCS, labelled
from matplotlib.figure import Figure

from report import Estimate, made_by, put_into_page

_COLUMNS = 16


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _pm(value: Estimate, digits: int) -> str:
    return f"{value.mean:.{digits}f} +- {value.error:.{digits}f}"


def digits_table(found: Digits) -> str:
    """Markdown: the model of latents beside that of pixels."""
    head = ("model", "parameters", "training, s", "ms per image", "bits/dim")
    head += tuple(f"fid_digits, scale {scale:g}" for scale in DIGIT_SCALES)
    lines = [_line(*head), "|---|" + "---:|" * (len(head) - 1)]
    for name, sign, model in (("latents, with their autoencoder", "<= ", found.latent), ("pixels", "", found.pixels)):
        cells = (f"{model.parameters / 1e6:.2f} M", f"{model.train_seconds:.0f}", f"{model.milliseconds:.1f}")
        fids = (_pm(model.fids[scale], 1) for scale in DIGIT_SCALES)
        lines.append(_line(name, *cells, sign + _pm(model.bits, 2), *fids))
    return "\n".join(lines)


def captions_table(found: Shapes) -> str:
    """Markdown: shares of captions that are right, by scale and attribute."""
    attributes = [name for name in found.seen if name != "all"]
    head = ("captions", "scale", *attributes, "all right", "Frechet distance")
    lines = [_line(*head), "|---|" + "---:|" * (len(head) - 1)]
    rows = [("held out", scale, shares, _pm(found.fids[scale], 1)) for scale, shares in found.held_out.items()]
    rows.append(("of training", found.best, found.seen, ""))
    for name, scale, shares, fid in rows:
        cells = (f"{shares[each]:.3f}" for each in [*attributes, "all"])
        lines.append(_line(name, f"{scale:g}", *cells, fid))
    return "\n".join(lines)


def _curves(found: Shapes) -> None:
    figure = Figure(figsize=(8.0, 3.0), layout="constrained")
    share, distance = figure.subplots(1, 2)
    scales = list(found.held_out)
    for name in found.seen:
        width = 2.0 if name == "all" else 1.0
        share.plot(scales, [found.held_out[scale][name] for scale in scales], marker="o", lw=width, label=name)
    distance.errorbar(scales, [found.fids[s].mean for s in scales], [found.fids[s].error for s in scales], marker="o")
    share.set_ylabel("share of held-out captions right")
    distance.set_ylabel("Frechet distance")
    for axes in (share, distance):
        axes.set_xlabel("guidance scale")
        axes.spines[["top", "right"]].set_visible(False)
    share.legend(frameon=False, fontsize=7)
    figure.savefig(DOCS / "images" / "latent_guidance.svg", metadata={"Date": None})


def write(of_digits: Digits, of_shapes: Shapes, command: str) -> None:
    """Puts tables and pictures into docs/results.md and docs/images/."""
    folder, d, s = DOCS / "images", of_digits.images, of_shapes.images
    names = ["real", "reconstructed", "latent model", "pixel model"]
    strips = [d[name][:_COLUMNS] for name in ("real", "reconstructed", "samples", "pixels")]
    labelled(folder / "latent_digits.png", names, strips)
    names = ["true", "small, 8 x 8", "enlarged"]
    small = d["small"].repeat(4, axis=1).repeat(4, axis=2)
    labelled(folder / "latent_enlarged.png", names, [each[:_COLUMNS] for each in (d["true"], small, d["enlarged"])])
    names = [f"digit {i + 1}" for i in range(len(d["completed"]))]
    labelled(folder / "latent_completed.png", names, [each[:_COLUMNS] for each in d["completed"]])
    chosen = slice(None, None, max(1, len(s["real"]) // _COLUMNS))
    scales = [name for name in s if name.startswith("scale_")]
    names = ["real", "reconstructed", *(name.replace("_", " ") for name in scales)]
    rows = [s[name][chosen][:_COLUMNS] for name in ("real", "reconstructed", *scales)]
    labelled(folder / "latent_shapes.png", names, rows)
    edits = [s["edited"].repeat(_COLUMNS, axis=0), s["inpainted"][:_COLUMNS], s["redrawn"][:_COLUMNS]]
    labelled(folder / "latent_edits.png", ["given", "inpainted", "noised, denoised"], edits)
    _curves(of_shapes)
    facts = (
        f"Digits: the autoencoder keeps {of_digits.psnr:.1f} dB. Small digits enlarged by the model have "
        f"{of_digits.enlarged_psnr:.1f} dB against the true ones ({of_digits.bicubic_psnr:.1f} dB if enlarged "
        f"bicubically), and made small again they differ by {of_digits.small_error:.1f} of 255 levels. `fid_digits` of "
        f"as many training images is {of_digits.fid_real:.1f}, of noise {of_digits.fid_noise:.0f}."
    )
    shapes = (
        f"Shapes: the autoencoder keeps {of_shapes.psnr:.1f} dB, and {of_shapes.reconstructed:.3f} of its "
        f"reconstructions are read right. The text model with text encoder and autoencoder has "
        f"{of_shapes.parameters / 1e6:.2f} M parameters; its training took {of_shapes.train_seconds:.0f} s, with "
        f"the autoencoder's; a sample takes {of_shapes.milliseconds:.1f} ms. Read against another sample's caption "
        f"{of_shapes.shuffled:.3f} are right. Edits by text that are read right: {of_shapes.inpainted:.2f} within a "
        f"mask, {of_shapes.redrawn:.2f} by noising and denoising. The Frechet distance of as many training images is "
        f"{of_shapes.fid_real:.1f}."
    )
    pictures = [
        ("Digits: real, reconstructed, and samples of both models", "latent_digits.png"),
        ("Digits enlarged from 8 x 8", "latent_enlarged.png"),
        ("Digits completed from their left halves", "latent_completed.png"),
    ]
    of_texts = [
        ("Shapes of held-out captions by guidance scale", "latent_shapes.png"),
        ("Share of captions right and Frechet distance by guidance scale", "latent_guidance.svg"),
        ("A large red circle edited by the text 'a large blue cross'", "latent_edits.png"),
    ]
    shown = [[f"![{text}](images/{file})" for text, file in part] for part in (pictures, of_texts)]
    parts = [made_by(command), digits_table(of_digits), facts, *shown[0], captions_table(of_shapes), shapes, *shown[1]]
    put_into_page(DOCS / "results.md", "latent", parts)
