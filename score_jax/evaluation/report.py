"""`report.html`: one self-contained page on a model, for a person."""

import dataclasses
import html
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8

from score_jax.evaluation import report_figures
from score_jax.evaluation.image_grid import grid
from score_jax.evaluation.page import picture, section, strips, table, write_page


@dataclasses.dataclass(frozen=True)
class Number:
    """One row of the table: all of it text for a reader."""

    name: str
    value: str
    uncertainty: str
    meaning: str


@dataclasses.dataclass(frozen=True)
class ReportData:
    """What the page shows.

    Attributes:
      title: headline.
      summary: one paragraph.
      samples: for the grid.
      trajectory: examples (m, k, h, w, c) from noise on the left to image on the right.
      times: of the k states.
      loss_steps: steps of the loss curve.
      losses: its values.
      bits_per_dim: per held-out image.
      numbers: the table.
      neighbours: samples, and the nearest training image of each.
      class_counts: samples per class as a classifier sees them; None leaves the chart out.
      config_text: the config of the run.
      environment: versions and devices.
      durations: seconds per stage.
    """

    title: str
    summary: str
    samples: UInt8[np.ndarray, "n h w c"]
    trajectory: UInt8[np.ndarray, "m k h w c"]
    times: Float[np.ndarray, "k"]
    loss_steps: Int[np.ndarray, "s"]
    losses: Float[np.ndarray, "s"]
    bits_per_dim: Float[np.ndarray, "l"]
    numbers: list[Number]
    neighbours: tuple[UInt8[np.ndarray, "q h w c"], UInt8[np.ndarray, "q h w c"]]
    class_counts: dict[str, int] | None
    config_text: str
    environment: dict[str, str]
    durations: dict[str, float]


def _classes(counts: dict[str, int] | None) -> str:
    if counts is None:
        return ""
    return section(
        "Classes of the samples",
        report_figures.class_bars(counts, "samples"),
        "As the small classifier sees them whose features the distances are of; dashed: all equally often.",
    )


def write_report(path: Path, data: ReportData) -> None:
    """Writes the page, atomically, and makes its folder.

    Raises:
      InputError: matplotlib is not installed.
    """
    numbers = [[n.name, n.value, n.uncertainty, n.meaning] for n in data.numbers]
    seconds = [[stage, f"{value:.0f} s"] for stage, value in data.durations.items()]
    pairs = grid(np.concatenate(data.neighbours), len(data.neighbours[0]))
    sections = [
        section("Samples", picture(grid(data.samples, 8), "grid of samples"), "Drawn in a row, none left out."),
        section("Numbers", table(["", "value", "uncertainty", "what it is"], numbers, 1)),
        section(
            "From noise to image",
            strips(data.trajectory, data.times),
            "Each row is one sample; below each column its time t, where t = 0 is data.",
        ),
        section("Loss", report_figures.loss_curve(data.loss_steps, data.losses)),
        section("Likelihood of held-out images", report_figures.likelihood_histogram(data.bits_per_dim)),
        section(
            "Nearest training images",
            picture(pairs, "samples over their nearest training images"),
            "Above samples, below the training image nearest to each in pixels: a copy would look the same.",
        ),
        _classes(data.class_counts),
        section("Time", table(["stage", "duration"], seconds, 1)),
        section("Environment", table(["", "version"], [list(row) for row in data.environment.items()], 1)),
        section("Config", f"<pre>{html.escape(data.config_text)}</pre>"),
    ]
    write_page(path, data.title, data.summary, sections)
