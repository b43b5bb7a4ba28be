"""`python -m score_jax table FILE.json ...`."""

import json
from pathlib import Path
from typing import Any

from score_jax.cli.arguments import VerbParser
from score_jax.errors import InputError
from score_jax.evaluation import result_table
from score_jax.evaluation.result_table import Result, check_same_terms, checked_result, columns_of
from score_jax.runtime.files import written_whole

_DESCRIPTION = """Prints results side by side: a row for each model, a column for each number.

  python -m score_jax table runs/*/evaluation_adm.json runs/*/likelihood.json
  python -m score_jax table ours=runs/a/evaluation_adm.json theirs=b.json --metric=fid --format=latex
  python -m score_jax table runs/a runs/b --same

A FILE is what evaluate, likelihood, reconstruct or fid --json wrote; a folder stands for all of them in it. The row of
a file is called after its folder, or as NAME=FILE says. Numbers of different protocols, references, roundings, labels,
dequantisations or numbers of samples never share a column; notes below the table say the terms of each. With --same it
is an error if there is more than one column of a metric."""
_EXPECTED = "Expected a JSON file, as evaluate and likelihood write it."
_FORMATS = {"markdown": result_table.markdown, "latex": result_table.latex, "html": result_table.page}


def main(argv: list[str]) -> int:
    """Runs the verb."""
    parser = VerbParser("table", _DESCRIPTION)
    parser.add_argument("files", metavar="FILE", nargs="+", help="a result, a folder of results, or NAME= and either")
    parser.add_argument("--metric", help="how the names of the wanted numbers begin, commas between them")
    parser.add_argument("--format", choices=_FORMATS, default="markdown", help="(default: markdown)")
    parser.add_argument("--same", action="store_true", help="refuse numbers that were measured under different terms")
    parser.add_argument("--out", type=Path, help="a file for the table, instead of the terminal")
    options = parser.parse_args(argv[1:])
    metrics = _metrics(options.metric)
    columns = columns_of([result for text in options.files for result in _results(text)], metrics)
    if options.same:
        check_same_terms(columns)
    text = _FORMATS[options.format](columns)
    if options.out is None:
        print(text, end="")
    else:
        with written_whole(options.out) as temporary:
            temporary.write_text(text)
        print(f"Written: {options.out}")
    return 0


def _metrics(text: str | None) -> list[str]:
    """How names of numbers begin.

    Raises:
      InputError: one of them is empty.
    """
    found = [] if text is None else [name.strip() for name in text.split(",")]
    if "" in found:
        raise InputError(f"--metric={text} lacks a name: give how the names of numbers begin, such as fid,kid.")
    return found


def _results(text: str) -> list[Result]:
    """The results that a word names."""
    name, equals, rest = text.partition("=")
    path = Path(rest if equals and not Path(text).exists() else text).expanduser()
    if not (rest if equals else text):
        raise InputError(f"{text!r} names no file: give FILE, FOLDER, or NAME=FILE.")
    named = name if path != Path(text).expanduser() and equals else ""
    if not path.is_dir():
        return [Result(named or path.resolve().parent.name, checked_result(_json(path), str(path)))]
    files = [file for file in sorted(path.glob("*.json")) if _is_result(_json(file))]
    if not files:
        raise InputError(f"{path} holds no results: name a folder that evaluate or likelihood wrote into, or files.")
    return [Result(named or path.resolve().name, checked_result(_json(file), str(file))) for file in files]


def _is_result(values: Any) -> bool:
    return isinstance(values, dict) and "schema" in values


def _json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
      InputError: it cannot be read.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}. {_EXPECTED}") from None
    except RecursionError:
        raise InputError(f"{path} is nested too deeply. {_EXPECTED}") from None
    except ValueError as error:
        raise InputError(f"{path}: {error}. {_EXPECTED}") from None
