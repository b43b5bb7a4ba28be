"""The results of `lineage.py` as a page: a table, samples, completions, and curves of guidance."""

import dataclasses
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from pages import made_by, put_into_page

from report import Estimate
from score_jax.evaluation.image_grid import grid

DOCS = Path(__file__).parents[1] / "docs"
COLUMNS, COMPLETED = 20, 8
TITLES = {
    "dpm2015": "Sohl-Dickstein et al. 2015",
    "ncsn": "NCSN",
    "ncsnv2": "NCSNv2",
    "ddpm": "DDPM",
    "improved_ddpm": "improved DDPM",
    "ve": "Score SDE, VE",
    "vp": "Score SDE, VP",
    "sub_vp": "Score SDE, sub-VP",
    "adm": "ADM, with classes",
    "edm": "EDM",
    "flow": "rectified flow",
}


@dataclasses.dataclass(frozen=True)
class Row:
    """What the table says of a system; see its header."""

    name: str
    parameters: int
    train_seconds: float
    sampler: str
    nfe: float
    milliseconds: float
    fid: Estimate
    bits: Estimate | None
    bits_kind: str | None
    missing_error: float
    completed_accuracy: float

    def as_dict(self) -> dict:
        """For JSON."""
        return dataclasses.asdict(self) | {"fid": list(self.fid), "bits": self.bits and list(self.bits)}

    @staticmethod
    def of(values: dict) -> "Row":
        """What `as_dict` gave."""
        bits = values["bits"] and Estimate(*values["bits"])
        return Row(**(values | {"fid": Estimate(*values["fid"]), "bits": bits}))


class Curve(NamedTuple):
    """Guided samples against the scale."""

    title: str
    scales: tuple[float, ...]
    accuracies: tuple[float, ...]
    distances: tuple[float, ...]


def table(rows: list[Row]) -> str:
    """Markdown."""
    names = ("system", "parameters", "training, s", "sampler", "NFE", "ms per image", "bits/dim", "fid_digits")
    names += ("inpainting error", "read as its class")
    head = [f"| {' | '.join(names)} |", "|---|---:|---:|---|" + "---:|" * (len(names) - 4)]

    def line(r: Row) -> str:
        bits = "-"
        if r.bits is not None:
            sign = "" if r.bits_kind == "exact" else "<= "
            bits = f"{sign}{r.bits.mean:.2f} +- {r.bits.error:.2f}"
        cells = (
            TITLES[r.name],
            f"{r.parameters / 1e6:.2f} M",
            f"{r.train_seconds:.0f}",
            r.sampler,
            f"{r.nfe:.0f}",
            f"{r.milliseconds:.1f}",
            bits,
            f"{r.fid.mean:.1f} +- {r.fid.error:.1f}",
            f"{r.missing_error:.0f}",
            f"{r.completed_accuracy:.2f}",
        )
        return f"| {' | '.join(cells)} |"

    return "\n".join([*head, *map(line, rows)])


def guidance_table(curves: list[Curve]) -> str:
    """Markdown: accuracy, and the distance in brackets, per scale."""
    scales = " | ".join(f"scale {scale:g}" for scale in curves[0].scales)
    lines = [f"| guidance | {scales} |", "|---|" + "---:|" * len(curves[0].scales)]
    for c in curves:
        cells = (f"{a:.2f} ({d:.1f})" for a, d in zip(c.accuracies, c.distances, strict=True))
        lines.append(f"| {c.title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def labelled(path: Path, names: list[str], strips: list[np.ndarray]) -> None:
    """Strips of images (n, h, w, 1) one below the other, each with its name."""
    figure = Figure(figsize=(9.0, 0.42 * len(strips)), layout="constrained")
    for axes, name, strip in zip(figure.subplots(len(strips), squeeze=False)[:, 0], names, strips, strict=True):
        axes.imshow(grid(strip, len(strip), scale=8, padding=4), interpolation="nearest", aspect="equal")
        axes.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8)
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, bbox_inches="tight")


def save_against_scale(path: Path, figure: Figure) -> None:
    """Writes curves against the scale of guidance, with a legend in the first axes, the same bytes each time."""
    for axes in figure.axes:
        axes.set_xlabel("guidance scale")
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].legend(frameon=False, fontsize=7)
    figure.savefig(path, metadata={"Date": None})


def _curves(path: Path, curves: list[Curve]) -> None:
    figure = Figure(figsize=(8.0, 3.0), layout="constrained")
    accuracy, distance = figure.subplots(1, 2)
    for curve in curves:
        accuracy.plot(curve.scales, curve.accuracies, marker="o", label=curve.title)
        distance.plot(curve.scales, curve.distances, marker="o")
    accuracy.set_ylabel("share read as asked")
    distance.set_ylabel("fid_digits")
    save_against_scale(path, figure)


def write(
    rows: list[Row], curves: list[Curve], held_out: np.ndarray, kept: np.ndarray, out: Path, command: str
) -> None:
    """Puts table and pictures into docs/results.md and docs/images/.

    Args:
      rows: of the table.
      curves: of guidance; may be empty.
      held_out: real images, of which the first were completed.
      kept: what the completions were given (h, w, 1).
      out: where each system's images are.
      command: that made them.
    """
    images = DOCS / "images"
    kept_images = {r.name: np.load(out / r.name / "images.npz") for r in rows}
    names = [TITLES[r.name] for r in rows]
    strips = [kept_images[r.name]["samples"][:COLUMNS] for r in rows]
    labelled(images / "lineage_samples.png", ["real", *names], [held_out[-COLUMNS:], *strips])
    truth = held_out[:COMPLETED]
    seen = np.where(kept[None] > 0, truth, 96).astype(np.uint8)
    strips = [kept_images[r.name]["completed"][:COMPLETED] for r in rows]
    labelled(images / "lineage_inpainting.png", ["real", "given", *names], [truth, seen, *strips])
    parts = [made_by(command), table(rows)]
    parts.append("![Samples of every system](images/lineage_samples.png)")
    parts.append("![Digits completed from their left halves](images/lineage_inpainting.png)")
    if curves:
        _curves(images / "lineage_guidance.svg", curves)
        parts += [guidance_table(curves), "![Accuracy and distance against the scale](images/lineage_guidance.svg)"]
    put_into_page(DOCS / "results.md", "lineage", parts)
