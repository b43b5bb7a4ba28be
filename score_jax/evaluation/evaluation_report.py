"""`evaluation.html`: what a number of the evaluation rests on, for a person."""

import dataclasses
import html
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from score_jax.evaluation import report_figures
from score_jax.evaluation.extrapolation import Extrapolated
from score_jax.evaluation.image_grid import grid
from score_jax.evaluation.page import picture, section, table, write_page


@dataclasses.dataclass(frozen=True)
class EvaluationPage:
    """What the page shows.

    Attributes:
      title: headline.
      summary: one paragraph; a warning, where the numbers need one.
      numbers: rows of name, value and meaning.
      samples: the first ones, in a row.
      neighbours: some of them, and the nearest training image of each; None without training images.
      metric: the name of the Frechet distance.
      by_count: its line over the number of samples; None where the protocol has no such distance.
      by_class: a distance per class; empty where samples have no classes.
      facts: how the numbers came about.
      config_text: the config of the run.
    """

    title: str
    summary: str
    numbers: list[list[str]]
    samples: UInt8[np.ndarray, "n h w c"]
    neighbours: tuple[UInt8[np.ndarray, "q h w c"], UInt8[np.ndarray, "q h w c"]] | None
    metric: str
    by_count: Extrapolated | None
    by_class: dict[str, float]
    facts: dict[str, Any]
    config_text: str


def write_evaluation_page(path: Path, data: EvaluationPage) -> None:
    """Writes the page, atomically, and makes its folder.

    Raises:
      InputError: matplotlib is not installed.
    """
    facts = [[name, _shown(value)] for name, value in data.facts.items()]
    sections = [
        section("Numbers", table(["", "value", "what it is"], data.numbers, 1)),
        section("Samples", picture(grid(data.samples, 10), "grid of samples"), "The first ones, none left out."),
        _neighbours(data),
        _by_count(data),
        _by_class(data.by_class),
        section("How these numbers came about", table(["", "value"], facts, -1)),
        section("Config", f"<pre>{html.escape(data.config_text)}</pre>"),
    ]
    write_page(path, data.title, data.summary, sections)


def _neighbours(data: EvaluationPage) -> str:
    if data.neighbours is None:
        return ""
    pairs = grid(np.concatenate(data.neighbours), len(data.neighbours[0]))
    return section(
        "Nearest training images",
        picture(pairs, "samples over their nearest training images"),
        "Above samples, below the training image nearest to each in pixels: a copy would look the same.",
    )


def _by_count(data: EvaluationPage) -> str:
    if data.by_count is None:
        return ""
    return section(
        f"{data.metric} against the number of samples",
        report_figures.by_count(data.by_count.counts, data.by_count.distances, data.metric),
        "A Frechet distance of few samples is too large; the line in 1/n meets the axis at infinitely many.",
    )


def _shown(value: Any) -> str:
    """Facts within facts in one line."""
    return ", ".join(f"{key} {inner}" for key, inner in value.items()) if isinstance(value, dict) else str(value)


def _by_class(values: dict[str, float]) -> str:
    if not values:
        return ""
    return section(
        "Kernel distance per class",
        report_figures.class_bars(values, "KID"),
        "Samples of a class against reference images of it; unbiased, so below 0 by chance; dashed: the mean.",
    )
