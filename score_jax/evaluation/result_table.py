"""Results side by side: a row for each model, and a column for numbers that were measured under the same terms."""

import dataclasses
import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

from score_jax.errors import InputError, quoted
from score_jax.evaluation.page import table as html_table
from score_jax.runtime.results import SCHEMA

_KERNEL = ("kid", "kd_")
"""Metrics whose expectation does not depend on the number of samples."""
_COPIES = ("c_t", "fdr")
"""Metrics that depend on the held-out images."""
_SECONDARY = ("_infinity", "_real", "_noise")
_OF_LIKELIHOOD = ("method", "of", "dimensions", "truncation", "variance", "clip", "importance_samples", "data", "count")
_OF_CONVENTIONS = ("dequantisation", "levels", "conditions")
_OF_OTHERS = ("data", "split", "count")
_OF_FEATURES = ("resize", "size", "centre", "identity", "features")


@dataclasses.dataclass(frozen=True)
class Result:
    """What a file of a measurement says.

    Attributes:
      name: of the model, for its row.
      values: the file.
    """

    name: str
    values: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Column:
    """Numbers that may be compared.

    Attributes:
      metric: their name.
      terms: what they were measured under, as (key, text), sorted.
    """

    metric: str
    terms: tuple[tuple[str, str], ...]


def checked_result(values: Any, source: str) -> Mapping[str, Any]:
    """Returns the object of a result file.

    Args:
      values: what the file holds.
      source: its name, for messages.

    Raises:
      InputError: it is no result of a measurement, or of another version.
    """
    if not isinstance(values, dict) or "schema" not in values:
        raise InputError(
            f"{source} is no result of a measurement: expected a JSON object with {SCHEMA!r} as its `schema`, as "
            "evaluate, fid --json, likelihood and reconstruct write it."
        )
    if values["schema"] != SCHEMA:
        raise InputError(f"{source} has the schema {quoted(values['schema'])}: expected {SCHEMA!r}. Measure it anew.")
    measured = values.get("measured")
    if not isinstance(measured, list) or not isinstance(values.get("kind"), str):
        raise InputError(f"{source} does not say what was measured: expected `kind` and `measured`. Measure it anew.")
    needed = {"evaluation": ["reference"], "comparison": ["reference", "generated"]}.get(values["kind"], [])
    for key in needed:
        if not isinstance(values.get(key), dict):
            raise InputError(f"{source} does not say what its `{key}` was: expected an object. Measure it anew.")
    for name in measured:
        number = values.get(name) if isinstance(name, str) and name.isidentifier() else None
        if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
            raise InputError(f"{source} lists {quoted(name)} as measured, and has no number for it: measure it anew.")
    return values


def terms_of(values: Mapping[str, Any], metric: str) -> dict[str, str]:
    """Returns what a number may be compared under: numbers of other terms stand in another column.

    The seed, the sampler and the model are no terms: they are what is compared.
    """
    kind = values["kind"]
    if kind in ("evaluation", "comparison"):
        return _terms_of_distance(values, metric)
    keys = _OF_LIKELIHOOD if kind == "likelihood" else _OF_OTHERS
    found = {key: values[key] for key in keys if values.get(key) is not None}
    conventions = values.get("conventions")
    if isinstance(conventions, dict):
        found |= {key: conventions[key] for key in _OF_CONVENTIONS if conventions.get(key) is not None}
    return {"kind": _text(kind)} | {key: _text(value) for key, value in found.items()}


def _text(value: Any) -> str:
    """A value from a file as a terminal may show it."""
    text = str(value)
    return text if text.isprintable() and len(text) <= 100 else quoted(text)


def _name_of(images: Mapping[str, Any]) -> Any:
    """What tells a set from others: a hash of its pixels, else of its moments, else what it is called."""
    return next(filter(None, (images.get(key) for key in ("pixels", "moments", "data"))), None)


def _terms_of_distance(values: Mapping[str, Any], metric: str) -> dict[str, str]:
    samples = values if values["kind"] == "evaluation" else values["generated"]
    reference = values["reference"]
    found = {"protocol": values.get("protocol"), "rounding": samples.get("rounding"), "labels": values.get("labels")}
    found |= {key: samples.get(key) for key in _OF_FEATURES}
    found |= {"reference": _name_of(reference), "reference images": reference.get("n")}
    held_out = values.get("held_out")
    if isinstance(held_out, dict) and (metric.startswith(_COPIES) or metric.endswith("_held_out")):
        found |= {"held out": _name_of(held_out), "held-out images": held_out.get("n")}
    if metric.startswith(_KERNEL):
        found["subset"] = values.get(f"{metric}_subset_size")
    else:
        found["samples"] = samples.get("n")
    return {key: _text(value) for key, value in found.items() if value is not None}


def columns_of(results: Sequence[Result], metrics: Sequence[str] = ()) -> dict[Column, dict[str, str]]:
    """Returns the columns of a table, and in each the text of a number by the name of its row.

    Args:
      results: of any kinds.
      metrics: how the names of the wanted numbers begin; none: all but those of extrapolations, of real images and of
        noise.

    Raises:
      InputError: two results of one name have a number for the same place, or no result has a wanted number.
    """
    columns: dict[Column, dict[str, str]] = {}
    for result in results:
        for metric in result.values["measured"]:
            if metrics and not metric.startswith(tuple(metrics)):
                continue
            if not metrics and metric.endswith(_SECONDARY):
                continue
            column = Column(metric, tuple(sorted(terms_of(result.values, metric).items())))
            cells = columns.setdefault(column, {})
            if result.name in cells:
                raise InputError(
                    f"Two results of {result.name!r} have {metric} under the same terms: give them names, NAME=FILE."
                )
            cells[result.name] = _shown(result.values, metric)
    for wanted in metrics:
        if not any(column.metric.startswith(wanted) for column in columns):
            known = sorted({metric for result in results for metric in result.values["measured"]})
            raise InputError(f"No result has {wanted}: the numbers are {', '.join(known)}.")
    order = {metric: place for place, metric in enumerate(dict.fromkeys(column.metric for column in columns))}
    return dict(sorted(columns.items(), key=lambda item: order[item[0].metric]))


def _shown(values: Mapping[str, Any], metric: str) -> str:
    """A number with its uncertainty, to the digits that this leaves."""
    value = float(values[metric])
    error = values.get(f"{metric}_standard_error", values.get(f"{metric}_spread"))
    if not isinstance(error, int | float) or not error > 0:
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:.1f}"
    digits = min(6, max(0, 1 - math.floor(math.log10(error))))
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def differing(columns: Mapping[Column, Any]) -> dict[str, list[str]]:
    """Returns, of each metric that has more than one column, the keys of the terms by which these differ."""
    by_metric: dict[str, list[dict[str, str]]] = {}
    for column in columns:
        by_metric.setdefault(column.metric, []).append(dict(column.terms))
    found = {}
    for metric, terms in by_metric.items():
        keys = sorted({key for each in terms for key in each})
        if len(terms) > 1:
            found[metric] = [key for key in keys if len({each.get(key) for each in terms}) > 1]
    return found


def check_same_terms(columns: Mapping[Column, Any]) -> None:
    """Raises InputError where numbers of one name were measured under different terms."""
    for metric, keys in differing(columns).items():
        raise InputError(
            f"{metric} was measured under different terms, by {', '.join(keys)}, and such numbers cannot be compared: "
            "measure all under the same, or leave out --same."
        )


def _cells(columns: Mapping[Column, Mapping[str, str]]) -> tuple[list[str], list[list[str]], list[str]]:
    """Header, rows, and notes that say the terms of each column, by their numbers."""
    notes = list(dict.fromkeys(column.terms for column in columns))
    header = ["", *(f"{column.metric} [{notes.index(column.terms) + 1}]" for column in columns)]
    names = list(dict.fromkeys(name for cells in columns.values() for name in cells))
    rows = [[name, *(cells.get(name, "–") for cells in columns.values())] for name in names]
    texts = [", ".join(f"{key}: {value}" for key, value in terms) for terms in notes]
    return header, rows, [f"[{place}] {text}" for place, text in enumerate(texts, 1)]


def markdown(columns: Mapping[Column, Mapping[str, str]]) -> str:
    """Returns the table in Markdown."""
    header, rows, notes = _cells(columns)
    safe = [[cell.replace("|", "\\|") for cell in row] for row in [header, ["---"] * len(header), *rows]]
    return "\n".join([*(f"| {' | '.join(row)} |" for row in safe), "", *(f"{note}  " for note in notes)]) + "\n"


_LATEX = {letter: f"\\{letter}" for letter in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "–": "--",
}


def latex(columns: Mapping[Column, Mapping[str, str]]) -> str:
    """Returns the table in LaTeX, for the package booktabs."""
    header, rows, notes = _cells(columns)

    def escaped(text: str) -> str:
        return "".join(_LATEX.get(letter, letter) for letter in text)

    def line(cells: Sequence[str]) -> str:
        return " & ".join(escaped(cell) for cell in cells) + r" \\"

    return (
        "\n".join(
            [
                r"\begin{tabular}{l" + "r" * (len(header) - 1) + "}",
                r"\toprule",
                line(header),
                r"\midrule",
                *(line(row) for row in rows),
                r"\bottomrule",
                r"\end{tabular}",
                *(f"% {note}" for note in notes),
            ]
        )
        + "\n"
    )


def page(columns: Mapping[Column, Mapping[str, str]]) -> str:
    """Returns the table in HTML."""
    header, rows, notes = _cells(columns)
    return html_table(header, rows, -1) + "".join(f"\n<p>{html.escape(note)}</p>" for note in notes) + "\n"
