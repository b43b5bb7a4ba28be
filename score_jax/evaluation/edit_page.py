"""`edit.html`: an image, what was asked of it, and what a model made of it, for a person."""

import dataclasses
import html
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped, UInt8

from score_jax.evaluation.image_grid import grid, page_grid
from score_jax.evaluation.page import picture, section, shown_fact, table, write_page
from score_jax.evaluation.pictures import are_images
from score_jax.evaluation.pictures import picture as picture_of

_ALONE, _MOST = 128, 64
"""Pixels of the side of an image that stands alone, and results shown."""


@dataclasses.dataclass(frozen=True)
class EditPage:
    """What the page shows.

    Attributes:
      task: `inpaint`, `colorize`, `blend`, `denoise` or `sdedit`.
      said: what the task is, in a sentence or two.
      image: the image (h, w, c) at the model's size, in the type of the data.
      known: the image as the model was given it.
      painted: above 0 where the image is painted; None where the task has no mask.
      results: in the order of the results' file.
      changes: numbers of `Task.changes`.
      facts: settings, and how the results came about.
    """

    task: str
    said: str
    image: Shaped[np.ndarray, "h w c"]
    known: Shaped[np.ndarray, "h w c"]
    painted: Float[np.ndarray, "h w _"] | None
    results: Shaped[np.ndarray, "n h w c"]
    changes: Mapping[str, float | None]
    facts: Mapping[str, Any]


def write_edit_page(path: Path, data: EditPage) -> None:
    """Writes the page, atomically."""
    shown, count = data.results[:_MOST], len(data.results)
    images = are_images(data.results)
    results = page_grid(shown) if images else picture_of(shown)
    first = "All of them." if count <= _MOST else f"The first {_MOST} of {count}."
    sections = [
        _of_pictures(data) if images else _of_numbers(data),
        section("Results", picture(results, "the results"), f"{first} Each is drawn from a noise of its own."),
        section("What was changed", table(["", "value", "what it is"], _changes(data), 1)),
        _maps(data) if images else "",
        section("Settings", table(["", "value"], [[key, shown_fact(value)] for key, value in data.facts.items()], -1)),
    ]
    write_page(path, f"Edit: {data.task}", data.said, sections)


def _of_pictures(data: EditPage) -> str:
    """Image, mask, what the model was given, and the first result."""
    parts = [("image", data.image)]
    if data.painted is not None:
        parts.append(("mask: white is painted", np.where(data.painted > 0, 255, 0).astype(np.uint8)))
    if not np.array_equal(data.known, data.image):
        parts.append(("what the model was given", data.known))
    parts.append(("first result", data.results[0]))
    return section("From the image to a result", _beside(parts))


def _of_numbers(data: EditPage) -> str:
    """The same of examples that are no images."""
    columns = [("number", np.arange(1, data.image.size + 1)), ("example", data.image.reshape(-1))]
    if data.painted is not None:
        painted = np.broadcast_to(data.painted > 0, data.image.shape).reshape(-1)
        columns.append(("", np.where(painted, "drawn anew", "kept")))
    columns.append(("first result", data.results[0].reshape(-1)))
    rows = [[shown_fact(value.item()) for value in row] for row in zip(*(values for _, values in columns), strict=True)]
    return section("From the example to a result", table([name for name, _ in columns], rows, -1))


def _changes(data: EditPage) -> list[list[str]]:
    unit = " grey levels of 255" if are_images(data.results) else ""
    known = "sum of a pixel's colours" if data.task == "colorize" else "part outside of the mask"
    meanings = {
        "painted_share": ("{:.1%}", "of the image is painted"),
        "painted_mean_change": (f"{{:.3g}}{unit}", "mean change of the painted part, over all results"),
        "kept_largest_error": (f"{{:g}}{unit}", f"largest error of the {known} in the results; 0: kept exactly"),
        "drawn_mean_error": (f"{{:.3g}}{unit}", f"mean error of the {known} as the sampler left it, before it was set"),
        "drawn_largest_error": (f"{{:.3g}}{unit}", "the largest of these errors"),
    }
    rows = []
    for name, (form, meaning) in meanings.items():
        value = data.changes[name]
        if value is not None:
            rows.append([name.replace("_", " "), form.format(value), meaning])
    return rows


def _maps(data: EditPage) -> str:
    """Where results differ from the image, and from one another."""
    results = data.results.astype(np.float64)
    maps = [("mean change", np.abs(results - data.image).mean(axis=(0, -1)))]
    if len(results) > 1:
        maps.append(("standard deviation among results", results.std(axis=0).mean(axis=-1)))
    parts = [(f"{name}; white: {max(values.max(), 1):.0f} levels", _levels(values)) for name, values in maps]
    caption = "Black: no change, or all results agree."
    return section("Where", _beside(parts), caption)


def _levels(values: Float[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 1"]:
    """From 0 as black to the largest as white; differences below one level stay black."""
    return np.rint(values / max(values.max(), 1) * 255).astype(np.uint8)[..., None]


def _beside(parts: list[tuple[str, np.ndarray]]) -> str:
    """Pictures with their names below them."""
    scaled = [(name, grid(image[None], 1, scale=max(1, -(-_ALONE // min(image.shape[:2]))))) for name, image in parts]
    figures = "".join(f"<div>{picture(image, name)}<br>{html.escape(name)}</div>" for name, image in scaled)
    return f'<div class="beside">{figures}</div>'
