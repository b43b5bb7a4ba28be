"""The results of `latent.py` as a page: tables, and strips of pictures."""

from latent_runs import DIGIT_SCALES, Digits, Shapes
from lineage_pages import DOCS, labelled, save_against_scale
from matplotlib.figure import Figure
from pages import made_by, put_into_page, row

from report import Estimate

_COLUMNS = 16
_IMAGES = DOCS / "images"


def _pm(value: Estimate, digits: int) -> str:
    return f"{value.mean:.{digits}f} +- {value.error:.{digits}f}"


def digits_table(found: Digits) -> str:
    """Markdown: the model of latents beside that of pixels."""
    head = ("model", "parameters", "training, s", "ms per image", "bits/dim")
    head += tuple(f"fid_digits, scale {scale:g}" for scale in DIGIT_SCALES)
    lines = [row(*head), "|---|" + "---:|" * (len(head) - 1)]
    for name, sign, model in (("latents, with their autoencoder", "<= ", found.latent), ("pixels", "", found.pixels)):
        cells = (f"{model.parameters / 1e6:.2f} M", f"{model.train_seconds:.0f}", f"{model.milliseconds:.1f}")
        fids = (_pm(model.fids[scale], 1) for scale in DIGIT_SCALES)
        lines.append(row(name, *cells, sign + _pm(model.bits, 2), *fids))
    return "\n".join(lines)


def captions_table(found: Shapes) -> str:
    """Markdown: shares of captions that are right, by scale and attribute."""
    attributes = [name for name in found.seen if name != "all"]
    head = ("captions", "scale", *attributes, "all right", "Frechet distance")
    lines = [row(*head), "|---|" + "---:|" * (len(head) - 1)]
    rows = [("held out", scale, shares, _pm(found.fids[scale], 1)) for scale, shares in found.held_out.items()]
    rows.append(("of training", found.best, found.seen, ""))
    for name, scale, shares, fid in rows:
        cells = (f"{shares[each]:.3f}" for each in [*attributes, "all"])
        lines.append(row(name, f"{scale:g}", *cells, fid))
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
    save_against_scale(_IMAGES / "latent_guidance.svg", figure)


def write_digits(found: Digits, command: str) -> None:
    """Puts what is known of digits into docs/results.md and docs/images/."""
    d = found.images
    names = ["real", "reconstructed", "latent model", "pixel model"]
    strips = [d[name][:_COLUMNS] for name in ("real", "reconstructed", "samples", "pixels")]
    labelled(_IMAGES / "latent_digits.png", names, strips)
    names = ["true", "small, 8 x 8", "enlarged"]
    small = d["small"].repeat(4, axis=1).repeat(4, axis=2)
    labelled(_IMAGES / "latent_enlarged.png", names, [each[:_COLUMNS] for each in (d["true"], small, d["enlarged"])])
    names = [f"digit {i + 1}" for i in range(len(d["completed"]))]
    labelled(_IMAGES / "latent_completed.png", names, [each[:_COLUMNS] for each in d["completed"]])
    facts = (
        f"The autoencoder keeps {found.psnr:.1f} dB. Small digits enlarged by the model have "
        f"{found.enlarged_psnr:.1f} dB against the true ones ({found.bicubic_psnr:.1f} dB bicubically); made "
        f"small again they differ by {found.small_error:.1f} of 255 levels. `fid_digits` of as many training "
        f"images is {found.fid_real:.1f}, of noise {found.fid_noise:.0f}."
    )
    pictures = [
        ("Digits: real, reconstructed, and samples of both models", "latent_digits.png"),
        ("Digits enlarged from 8 x 8", "latent_enlarged.png"),
        ("Digits completed from their left halves", "latent_completed.png"),
    ]
    _put("digits", [made_by(command), digits_table(found), facts], pictures)


def write_shapes(found: Shapes, command: str) -> None:
    """Puts what is known of captioned shapes into docs/results.md and docs/images/."""
    s = found.images
    chosen = slice(None, None, max(1, len(s["real"]) // _COLUMNS))
    scales = [name for name in s if name.startswith("scale_")]
    names = ["real", "reconstructed", *(name.replace("_", " ") for name in scales)]
    rows = [s[name][chosen][:_COLUMNS] for name in ("real", "reconstructed", *scales)]
    labelled(_IMAGES / "latent_shapes.png", names, rows)
    edits = [s["edited"].repeat(_COLUMNS, axis=0), s["inpainted"][:_COLUMNS], s["redrawn"][:_COLUMNS]]
    labelled(_IMAGES / "latent_edits.png", ["given", "inpainted", "noised, denoised"], edits)
    _curves(found)
    facts = (
        f"The autoencoder keeps {found.psnr:.1f} dB, and {found.reconstructed:.3f} of its reconstructions are read "
        f"right. The text model with text encoder and autoencoder has {found.parameters / 1e6:.2f} M parameters; its "
        f"training took {found.train_seconds:.0f} s, with the autoencoder's; a sample {found.milliseconds:.0f} ms. "
        f"Read against another sample's caption {found.shuffled:.3f} are right. Edits by text that are read right: "
        f"{found.inpainted:.2f} within a mask, {found.redrawn:.2f} by noising and denoising. The Frechet distance of "
        f"as many training images, which are of other combinations, is {found.fid_real:.1f}."
    )
    pictures = [
        ("Shapes of held-out captions by guidance scale", "latent_shapes.png"),
        ("Share of captions right and Frechet distance by guidance scale", "latent_guidance.svg"),
        ("A large red circle edited by the text 'a large blue cross'", "latent_edits.png"),
    ]
    _put("shapes", [made_by(command), captions_table(found), facts], pictures)


def _put(name: str, paragraphs: list[str], pictures: list[tuple[str, str]]) -> None:
    shown = [f"![{text}](images/{file})" for text, file in pictures]
    put_into_page(DOCS / "results.md", f"{name} in latents", [*paragraphs, *shown])
