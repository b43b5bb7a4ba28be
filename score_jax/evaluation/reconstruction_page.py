"""`reconstruct.html`: what an autoencoder loses of images, for a person."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from score_jax.errors import counted
from score_jax.evaluation import metrics, report_figures
from score_jax.evaluation.image_grid import page_grid
from score_jax.evaluation.page import picture, section, shown_fact, table, write_page

_SHOWN, _ENDS = 16, 8
"""Pairs shown from the first on, and pairs of most and of least error."""
_MEANINGS = {
    "psnr": "dB, of 8-bit images: 10 log10(255² / mean squared error), each image by itself; higher is better",
    "psnr_noised": "the same of latents with noise of 0.3 of their standard deviation: where it is far lower, a model "
    "of these latents will not draw the details",
    "ssim": "structural similarity of 8-bit images, 1 of equal ones",
    "lpips": "distance of VGG16's features (Zhang et al. 2018), 0 of equal images",
    "perplexity": "of the codebook: so many entries, equally often used, would have the same entropy",
}


def write_reconstruction_page(path: Path, result: Mapping[str, Any], columns: Mapping[str, np.ndarray]) -> None:
    """Writes the page, atomically.

    Args:
      path: of the page.
      result: the result's file.
      columns: "images" and "reconstructions" (n, h, w, c) in uint8, "psnr" (n,) in dB, and "codes" (n, h', w') of a
        model with a codebook.

    Raises:
      InputError: matplotlib is not installed.
    """
    rows = [[name, value, _MEANINGS.get(name, meaning)] for name, value, meaning in metrics.rows(dict(result))]
    own = {
        *result["measured"],
        *(f"{name}_standard_error" for name in result["measured"]),
        "schema",
        "kind",
        "measured",
    }
    facts = [[key, shown_fact(value)] for key, value in result.items() if key not in own]
    order = np.argsort(columns["psnr"], kind="stable")
    ends = min(_ENDS, max(1, len(order) // 2))
    finite = columns["psnr"][np.isfinite(columns["psnr"])].astype(np.float64)
    caption = "Above the image, then its reconstruction, then their difference ({}: white)."
    pairs = [
        ("Images and reconstructions", np.arange(min(_SHOWN, len(order))), "The first ones of the split."),
        ("Largest errors", order[:ends], "By PSNR."),
        ("Smallest errors", order[::-1][:ends], "By PSNR."),
    ]
    sections = [section("Numbers", table(["", "value", "what it is"], rows, 1))]
    for title, places, note in pairs:
        shown, most = _pairs(columns, places)
        sections.append(section(title, picture(shown, title.lower()), f"{note} {caption.format(f'{most} levels')}"))
    if len(finite):
        sections.append(section("PSNR of each image", report_figures.histogram(finite, "PSNR, dB")))
    sections += [
        _error_map(columns),
        _codes(columns),
        section("How these numbers came about", table(["", ""], facts, -1)),
    ]
    summary = (
        f"{counted(result['count'], 'held-out image')}, encoded to the mode of their latents and decoded again. "
        "Differences are those of 8-bit images."
    )
    write_page(path, "Reconstructions", summary, sections)


def _pairs(columns: Mapping[str, np.ndarray], places: np.ndarray) -> tuple[UInt8[np.ndarray, "H W 3"], int]:
    """Images, reconstructions and differences, and the difference that is white."""
    images, made = (columns[name][places] for name in ("images", "reconstructions"))
    difference = np.abs(images.astype(np.float64) - made)
    most = max(1, int(np.ceil(difference.max())))
    return page_grid(images, made, np.rint(difference / most * 255).astype(np.uint8)), most


def _error_map(columns: Mapping[str, np.ndarray]) -> str:
    error = np.abs(columns["images"].astype(np.float32) - columns["reconstructions"])
    values = error.mean(axis=(0, -1))[..., None]
    shown = page_grid(np.rint(values / max(values.max(), 1e-6) * 255).astype(np.uint8)[None])
    caption = f"Mean absolute error of each pixel; white: {values.max():.2f} levels, mean {values.mean():.2f}."
    return section("Where errors are", picture(shown, "map of the mean error"), caption)


def _codes(columns: Mapping[str, np.ndarray]) -> str:
    if "codes" not in columns:
        return ""
    share = np.bincount(columns["codes"].ravel()) / columns["codes"].size
    return section(
        "Use of the codebook",
        report_figures.uses(share[share > 0], "entry, from the most used on"),
        "Share of all codes that each entry has, of the entries that are used; dashed: all equally often.",
    )
