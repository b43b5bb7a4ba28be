"""The report's plots, as SVG text."""

import io
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from score_jax.errors import InputError

_INK, _ACCENT = "#64748b", "#2563eb"


def _svg(draw: Callable, height: float) -> str:
    """Draws onto the axes of a transparent figure that takes its colours from the page."""
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError:
        raise InputError("The report's plots need matplotlib: run pip install 'score_jax[demo]'.") from None
    style: dict[Any, Any] = {
        "text.color": _INK,
        "axes.labelcolor": _INK,
        "axes.edgecolor": _INK,
        "xtick.color": _INK,
        "ytick.color": _INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "font.size": 10,
        "svg.fonttype": "none",
        "svg.hashsalt": "score_jax",
    }
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(5.4, height), layout="constrained")
        draw(figure.add_subplot())
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue().replace(_INK, "currentColor").replace(_ACCENT, "var(--accent)")
    return text[text.index("<svg") :]


def loss_curve(steps: Int[np.ndarray, "n"], losses: Float[np.ndarray, "n"]) -> str:
    """Plots loss against step: raw, and a running mean over a twentieth of the run."""
    window = max(1, len(losses) // 20)
    smooth = np.convolve(losses, np.ones(window) / window, "valid")
    middle = (window - 1) // 2  # a mean drawn at its window's end would trail the curve

    def draw(axes):
        axes.semilogy(steps, losses, color=_INK, alpha=0.5, linewidth=0.8, label="one batch")
        axes.semilogy(steps[middle : middle + len(smooth)], smooth, color=_ACCENT, label=f"mean of {window}")
        axes.set_xlabel("step")
        axes.set_ylabel("loss")
        axes.legend(frameon=False)

    return _svg(draw, 2.8)


def likelihood_histogram(bits_per_dim: Float[np.ndarray, "n"]) -> str:
    """Plots how bits/dim spread over held-out images."""
    return histogram(bits_per_dim, "bits/dim")


def histogram(values: Float[np.ndarray, "n"], what: str) -> str:
    """Plots how a number spreads over images, and its mean."""

    def draw(axes):
        axes.hist(values, bins=min(30, max(5, len(values) // 5)), color=_ACCENT, alpha=0.7)
        axes.axvline(values.mean(), color=_INK, linestyle="--")
        axes.set_xlabel(f"{what} (mean {values.mean():.3f}, dashed)")
        axes.set_ylabel("images")
        axes.yaxis.get_major_locator().set_params(integer=True)

    return _svg(draw, 2.4)


def class_bars(values: Mapping[str, float | int], what: str) -> str:
    """Plots a number per class, and their mean."""

    def draw(axes):
        axes.bar(list(values), list(values.values()), color=_ACCENT, alpha=0.7)
        axes.axhline(sum(values.values()) / len(values), color=_INK, linestyle="--", linewidth=0.8)
        axes.set_xlabel("class")
        axes.set_ylabel(what)
        if len(values) > 20:
            axes.set_xticks(range(0, len(values), len(values) // 10))
        if all(isinstance(value, int) for value in values.values()):
            axes.yaxis.get_major_locator().set_params(integer=True)

    return _svg(draw, 2.0)


def uses(shares: Float[np.ndarray, "n"], what: str) -> str:
    """Plots shares from the largest to the smallest, and the share that all would have if they were equal."""

    def draw(axes):
        axes.fill_between(np.arange(1, len(shares) + 1), np.sort(shares)[::-1], step="mid", color=_ACCENT, alpha=0.7)
        axes.axhline(1 / len(shares), color=_INK, linestyle="--", linewidth=0.8)
        axes.set_xlabel(what)
        axes.set_ylabel("share")

    return _svg(draw, 2.0)


def by_count(counts: Int[np.ndarray, "n"], values: Float[np.ndarray, "n"], metric: str) -> str:
    """Plots a distance against 1/n, with the straight line through it."""

    def draw(axes):
        inverse = 1 / counts
        slope, intercept = np.polyfit(inverse, values, 1)
        ends = np.array([0.0, inverse.max()])
        axes.plot(ends, intercept + slope * ends, color=_INK, linestyle="--", linewidth=0.8)
        axes.plot(inverse, values, "o", color=_ACCENT, markersize=4)
        named = counts[np.unique([0, len(counts) // 3, len(counts) - 1])]
        axes.set_xticks(1 / named, [f"1/{n}" for n in named])
        axes.set_xlim(0, inverse.max() * 1.05)
        axes.set_xlabel("1 / number of samples")
        axes.set_ylabel(metric)

    return _svg(draw, 2.4)
