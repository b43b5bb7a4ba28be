"""`report.html`: one self-contained page on a model, for a person."""

import base64
import dataclasses
import html
import io
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image as PILImage

from score_jax.evaluation import report_figures
from score_jax.evaluation.image_grid import grid
from score_jax.files import written_whole

_STYLE = """
:root { color-scheme: light dark;
        --ink: #1e293b; --soft: #64748b; --line: #e2e8f0; --page: #fff; --accent: #2563eb; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e2e8f0; --soft: #94a3b8; --line: #334155; --page: #0f172a; --accent: #60a5fa; } }
body { font: 16px/1.55 system-ui, sans-serif; color: var(--ink); background: var(--page); max-width: 52rem;
       margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.7rem; margin-bottom: .3rem; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .5rem; }
p, figcaption { color: var(--soft); } figure { margin: 0; }
img { max-width: 100%; height: auto; } svg { width: 100%; max-width: 40rem; height: auto; color: var(--soft); }
img { image-rendering: pixelated; background: #fff; border-radius: 4px; }
.strips { display: inline-block; max-width: 100%; } .strips img { display: block; }
.times { display: grid; grid-auto-flow: column; grid-auto-columns: 1fr; text-align: center; font-size: .7rem;
         color: var(--soft); }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: .93rem; }
th, td { text-align: left; padding: .4rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top; }
td.number { font-variant-numeric: tabular-nums; white-space: nowrap; font-weight: 600; }
@media (max-width: 30rem) { th, td { padding: .35rem .25rem; font-size: .82rem; } }
pre { font-size: .8rem; overflow: auto; max-height: 24rem; border: 1px solid var(--line); padding: .8rem; }
"""


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


def _image(pixels: UInt8[np.ndarray, "H W 3"], alt: str) -> str:
    buffer = io.BytesIO()
    PILImage.fromarray(np.ascontiguousarray(pixels)).save(buffer, "PNG")
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{data}">'


def _table(header: list[str], rows: list[list[str]], number_column: int) -> str:
    head = "".join(f"<th>{html.escape(name)}</th>" for name in header)

    def cell(i: int, text: str) -> str:
        return f"<td{' class=number' if i == number_column else ''}>{html.escape(text)}</td>"

    body = "".join("<tr>" + "".join(cell(i, text) for i, text in enumerate(row)) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><tr>{head}</tr>{body}</table></div>'


def _trajectories(data: ReportData) -> str:
    """One row per example, each column headed from below by its time."""
    states = len(data.times)
    picture = grid(data.trajectory.reshape(-1, *data.trajectory.shape[2:]), states)
    times = "".join(f"<span>{t:.2f}</span>" for t in data.times)
    image = _image(picture, "trajectories from noise to image")
    return f'<div class="strips">{image}<div class="times">{times}</div></div>'


def _section(title: str, content: str, caption: str = "") -> str:
    note = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
    return f"<h2>{html.escape(title)}</h2><figure>{content}{note}</figure>"


def _classes(counts: dict[str, int] | None) -> str:
    if counts is None:
        return ""
    return _section(
        "Classes of the samples",
        report_figures.class_bars(counts),
        "As the classifier behind fid_digits sees them; dashed: all equally often.",
    )


def _page(data: ReportData) -> str:
    numbers = [[n.name, n.value, n.uncertainty, n.meaning] for n in data.numbers]
    seconds = [[stage, f"{value:.0f} s"] for stage, value in data.durations.items()]
    pairs = grid(np.concatenate(data.neighbours), len(data.neighbours[0]))
    sections = [
        _section("Samples", _image(grid(data.samples, 8), "grid of samples"), "Drawn in a row, none left out."),
        _section("Numbers", _table(["", "value", "uncertainty", "what it is"], numbers, 1)),
        _section(
            "From noise to image",
            _trajectories(data),
            "Each row is one sample; below each column its time t, where t = 0 is data.",
        ),
        _section("Loss", report_figures.loss_curve(data.loss_steps, data.losses)),
        _section("Likelihood of held-out images", report_figures.likelihood_histogram(data.bits_per_dim)),
        _section(
            "Nearest training images",
            _image(pairs, "samples over their nearest training images"),
            "Above samples, below the training image nearest to each in pixels: a copy would look the same.",
        ),
        _classes(data.class_counts),
        _section("Time", _table(["stage", "duration"], seconds, 1)),
        _section("Environment", _table(["", "version"], [list(row) for row in data.environment.items()], 1)),
        _section("Config", f"<pre>{html.escape(data.config_text)}</pre>"),
    ]
    title = html.escape(data.title)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{_STYLE}</style></head><body><h1>{title}</h1>"
        f"<p>{html.escape(data.summary)}</p>{''.join(sections)}</body></html>\n"
    )


def write_report(path: Path, data: ReportData) -> None:
    """Writes the page, atomically, and makes its folder; it needs no other file and no network.

    Raises:
      InputError: matplotlib is not installed.
    """
    with written_whole(path) as temporary:
        temporary.write_text(_page(data), encoding="utf-8")
