"""Classes of images from a file: a table (CSV), or JSON in EDM's form or as one object."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from jaxtyping import Int32

from score_jax.data.natural_order import in_natural_order
from score_jax.data.stores import Class
from score_jax.errors import InputError, counted, plural, quoted

EDM_FILE = "dataset.json"
"""In which EDM's data sets keep their labels."""
NO_CLASS = -1
"""The label of an image that is of none of the classes."""
_EXPECTED = 'expected lines "FILE,CLASS"'
_FILES = ("file_name", "filename", "file", "image", "path", "name", "img", "image_name", "image_id", "id")
_CLASSES = ("class", "label", "category", "class_name", "target", "breed", "species")
_LARGEST, _MOST_BYTES = 100_000, 2**30


def read_labels(path: Path, names: Sequence[str]) -> tuple[dict[str, Class], str]:
    """Returns the class of each image that a file of labels names, and a line about entries that name no image.

    An entry names an image by its path below the folder, by its file's name, or by that without the ending, as long as
    only one image is called so.

    Args:
      path: a .csv, with a header or without, or a .json: {"labels": [[name, class], ...]} or {name: class, ...}.
      names: of all images.

    Raises:
      InputError: the file cannot be read, an entry is none, numbers of classes are not whole, an entry names an image
        a second time with another class, or not one image is named.
    """
    text = _text(path)
    rows = _of_json(text, path, {}) if text.lstrip()[:1] in ("{", "[") else _of_table(text, path, names)
    return _by_image(rows or [], path, names)


def edm_labels(raw: bytes, path: Path, names: Sequence[str]) -> dict[str, Class] | None:
    """Returns the classes of a `dataset.json`, as of `read_labels`; None where it says of no image what it is.

    Args:
      raw: its bytes.
      path: where it lies, for messages.
      names: of all images.

    Raises:
      InputError: see `read_labels`.
    """
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"Cannot read {path}: it is no UTF-8. Save its text as UTF-8.") from None
    rows = _of_json(text, path, {"labels": None})
    return None if rows is None else _by_image(rows, path, names)[0]


def numbered(
    labels: Sequence[Class | None], known: tuple[str, ...] | None, name: str
) -> tuple[Int32[np.ndarray, "n"], tuple[str, ...]]:
    """Returns the number of each image's class (n,), `NO_CLASS` for None, and what the numbers stand for.

    Whole numbers are the classes themselves, from 0 to the largest; names are numbered in natural order.

    Args:
      labels: of all images.
      known: what whole numbers are called; None: nothing but their digits.
      name: of the data, for messages.

    Raises:
      InputError: a number is negative or too large.
    """
    given = {label for label in labels if label is not None}
    if all(isinstance(label, int) for label in given):
        largest = max((int(label) for label in given), default=0)
        most = len(known) - 1 if known else _LARGEST
        wrong = [label for label in given if not 0 <= int(label) <= most]
        if wrong:
            raise InputError(f"{name} has the class {quoted(wrong[0])}: expected whole numbers from 0 to {most}.")
        classes = known or tuple(map(str, range(largest + 1)))
        numbers: dict[Class | None, int] = {label: int(label) for label in given}
    else:
        classes = in_natural_order({str(label) for label in given})
        places = {text: number for number, text in enumerate(classes)}
        numbers = {label: places[str(label)] for label in given}
    found: Int32[np.ndarray, "n"] = np.fromiter(
        (numbers.get(label, NO_CLASS) for label in labels), np.int32, len(labels)
    )
    return found, classes


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise InputError(f"{path} has more than {_MOST_BYTES} bytes: {_EXPECTED}.")
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"Cannot read the labels {path}: {error.strerror}; {_EXPECTED}.") from None
    except UnicodeDecodeError:
        raise InputError(f"Cannot read the labels {path}: it is no UTF-8. Save its text as UTF-8.") from None


def _of_json(text: str, path: Path, without: dict[str, None]) -> list[tuple[str, Any, Class]] | None:
    """Entries with where they stand; None where the file says that there are no labels, if it may (`without`)."""
    expected = 'expected {"labels": [["a.png", 0], ...]} or {"a.png": 0, ...}'
    try:
        found = json.loads(text, object_pairs_hook=lambda pairs: _object(pairs, path))
    except (ValueError, RecursionError):
        raise InputError(f"{path} is no JSON: {expected}.") from None
    if not isinstance(found, dict):
        raise InputError(f"{path} begins with {quoted(text[:20])}: {expected}.")
    if "labels" in found or without:
        entries = found.get("labels")
        if entries is None and without:
            return None
        if not isinstance(entries, list):
            raise InputError(f"The labels of {path} are {quoted(entries)}: {expected}.")
    else:
        entries = list(found.items())
    rows = []
    for number, entry in enumerate(entries):
        place = f"Entry {number} of {path} is {quoted(entry)}"
        pair = isinstance(entry, list | tuple) and len(entry) == 2 and isinstance(entry[0], str)
        if not pair or not _is_class(entry[1]):
            raise InputError(f"{place}: expected a file's name and its class, a whole number from 0 on or a name.")
        rows.append((place, entry[0], entry[1]))
    return rows


def _object(pairs: list[tuple[str, Any]], path: Path) -> dict[str, Any]:
    """An object of JSON, where a key that stands twice with two values would hide one of them."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found and found[key] != value:
            raise InputError(f"{path} has {quoted(key)} twice, as {quoted(found[key])} and {quoted(value)}: keep one.")
        found[key] = value
    return found


def _is_class(value: Any) -> bool:
    return (type(value) is int and value >= 0) or (isinstance(value, str) and bool(value.strip()))


def _of_table(text: str, path: Path, names: Sequence[str]) -> list[tuple[str, Any, Class]]:
    """Entries with where they stand."""
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    try:
        lines = list(csv.reader(io.StringIO(text), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise InputError(f"Cannot read the labels {path}: {error}; {_EXPECTED}.") from None
    lines = [[cell.strip() for cell in line] for line in lines]
    if not any(map(any, lines)):
        raise InputError(f"The labels {path} are empty: {_EXPECTED}.")
    file, label, header = _places(lines[0], path, names)
    texts: list[tuple[str, str, str]] = []
    for number, line in enumerate(lines[header:], start=1 + header):
        if not any(line):
            continue
        place = f"Line {number} of {path} is {quoted(delimiter.join(line))}"
        if len(line) <= max(file, label) or not line[file] or not line[label]:
            raise InputError(f"{place}: {_EXPECTED}.")
        texts.append((place, line[file], line[label]))
    whole = all(map(_is_whole, (text for _, _, text in texts)))
    if not whole and all(map(_is_number, (text for _, _, text in texts))):
        place = next(place for place, _, text in texts if not _is_whole(text))
        raise InputError(f"{place}: expected classes that are all whole numbers from 0 to {_LARGEST}, or names.")
    return [(place, name, int(text) if whole else text) for place, name, text in texts]


def _is_whole(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 8


def _is_number(text: str) -> bool:
    """Whether a text is a number of any kind, also the `nan` that tables have where a number is missing."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def _places(first: list[str], path: Path, names: Sequence[str]) -> tuple[int, int, bool]:
    """The columns of the file and of the class, and whether the first line is a header.

    Raises:
      InputError: there are more than two columns, and nothing says which ones.
    """
    lowered = [cell.lower().replace(" ", "_") for cell in first]
    files = [lowered.index(name) for name in _FILES if name in lowered]
    labels = [lowered.index(name) for name in _CLASSES if name in lowered]
    if files and labels:
        return files[0], labels[0], True
    if len(first) != 2:
        raise InputError(
            f"The first line of {path} is {quoted(','.join(first))}: {_EXPECTED}, or a header with the columns file "
            "and class."
        )
    return 0, 1, not _resolver(names).get(first[0])


def _resolver(names: Sequence[str]) -> dict[str, str]:
    """Images by what an entry may call them; "" where several are called so."""
    found: dict[str, str] = {}
    for name in names:
        path = PurePosixPath(name)
        for called in {path.name, path.stem, str(path.with_suffix("")) if path.suffix else name}:
            found[called] = "" if called in found else name
    return found | {name: name for name in names}


def _by_image(rows: Sequence[tuple[str, Any, Class]], path: Path, names: Sequence[str]) -> tuple[dict[str, Class], str]:
    images = _resolver(names)
    found: dict[str, Class] = {}
    unknown = []
    for place, given, label in rows:
        name = str(given).replace("\\", "/").removeprefix("./")
        if name not in images:
            unknown.append(given)
            continue
        image = images[name]
        if not image:
            raise InputError(f"{place}: several images are called so; give its path below the folder.")
        if found.get(image, label) != label:
            raise InputError(f"{place}, but an entry before it gave the class {quoted(found[image])}: keep one.")
        found[image] = label
    if not found:
        example = f", such as {quoted(unknown[0])}" if unknown else ""
        raise InputError(
            f"{path} names none of the {len(names)} images{example}: {_EXPECTED}, FILE as {quoted(names[0])}."
        )
    said = (
        f"{counted(len(unknown), 'entry', 'entries')} of {path} "
        f"{plural(len(unknown), 'names', 'name')} no image ({quoted(unknown[0])})"
        if unknown
        else ""
    )
    return found, said


def every_class(found: Mapping[str, Class], names: Sequence[str], where: str) -> list[Class]:
    """Returns the class of each image.

    Raises:
      InputError: one has none.
    """
    lacking = [name for name in names if name not in found]
    if lacking:
        raise InputError(
            f"{len(lacking)} of the {counted(len(names), 'image')} "
            f"{plural(len(lacking), 'has', 'have')} no class in {where}, such as {quoted(lacking[0])}: give "
            "each one, or move those images elsewhere."
        )
    return [found[name] for name in names]
