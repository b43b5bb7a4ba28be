"""`likelihood.html`: what bits per dimension rest on, for a person."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from score_jax.errors import counted
from score_jax.evaluation import report_figures
from score_jax.evaluation.image_grid import grid
from score_jax.evaluation.page import picture, section, shown_fact, table, write_page
from score_jax.evaluation.pictures import are_images
from score_jax.evaluation.pictures import picture as picture_of

SHOWN = 8
"""Examples of fewest and of most bits."""
_SEPARATE = ("conventions", "estimator_standard_error", "tolerance_sensitivity", "schema", "kind", "measured")


def ends_of(bits: Float[np.ndarray, "n"]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the places of the examples of fewest and of most bits, `SHOWN` of each, or half of fewer."""
    order = np.argsort(bits, kind="stable")
    count = max(1, min(SHOWN, len(bits) // 2))
    return order[:count], order[::-1][:count]


def write_likelihood_page(
    path: Path,
    result: Mapping[str, Any],
    bits: Float[np.ndarray, "n"],
    fewest: Shaped[np.ndarray, "k h w c"],
    most: Shaped[np.ndarray, "k h w c"],
) -> None:
    """Writes the page, atomically.

    Args:
      path: of the page.
      result: the result's file.
      bits: of each example, bits/dim.
      fewest: examples that the model finds likely.
      most: those that it finds unlikely.

    Raises:
      InputError: matplotlib is not installed.
    """
    names = [name for name in result["measured"] if isinstance(result[name], float)]
    own = {*names, *(f"{name}{end}" for name in names for end in ("_standard_error", "_interval_95"))}
    facts = [[key, shown_fact(value)] for key, value in result.items() if key not in own and key not in _SEPARATE]
    sources = {key: shown_fact(result.get(key) or {}) for key in ("estimator_standard_error", "tolerance_sensitivity")}
    errors = [[key, text] for key, text in sources.items() if text]
    sections = [
        section("Numbers", table(["", "value", "95 % interval"], [_row(result, name) for name in names], 1)),
        section("Bits per dimension of each example", report_figures.likelihood_histogram(bits)),
        section("Fewest bits", _in_a_row(fewest, "examples of fewest bits"), "What the model finds likely."),
        section("Most bits", _in_a_row(most, "examples of most bits"), "What it finds unlikely."),
        section("Where errors come from", table(["", ""], errors, -1)) if errors else "",
        section("Conventions", table(["", ""], [[k, shown_fact(v)] for k, v in result["conventions"].items()], -1)),
        section("How these numbers came about", table(["", ""], facts, -1)),
    ]
    summary = (
        f"{counted(result['count'], 'example')}, by the method {result['method']}. Fewer bits mean a higher likelihood."
    )
    write_page(path, "Likelihood", summary, sections)


def _in_a_row(examples: Shaped[np.ndarray, "k h w c"], alt: str) -> str:
    return picture(grid(examples, len(examples)) if are_images(examples) else picture_of(examples), alt)


def _row(result: Mapping[str, Any], name: str) -> list[str]:
    error, interval = result.get(f"{name}_standard_error"), result.get(f"{name}_interval_95")
    value = f"{result[name]:.4f}" if error is None else f"{result[name]:.4f} +- {error:.4f}"
    return [name, value, "" if interval is None else f"{interval[0]:.4f} to {interval[1]:.4f}"]
