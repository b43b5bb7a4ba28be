"""Captions of a folder of images: a metadata.jsonl or captions.jsonl, or a .txt beside each image."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from score_jax.errors import InputError, quoted

_LISTS = ("metadata.jsonl", "captions.jsonl")
_EXPECTED = '{"file_name": "cat.png", "text": "a cat"}'


def is_caption_file(path: str) -> bool:
    """Returns whether a file below a folder of images may hold captions, by its name."""
    return path.rsplit("/", 1)[-1] in _LISTS or path.endswith(".txt")


def read_captions(root: Path, files: Sequence[str]) -> list[str]:
    """Returns the caption of each file.

    A list in the file's folder or in one above it, up to `root`, comes first, the nearest one before others; it names
    files from its own folder on. Else it is the text of the file of the same name that ends in .txt.

    Args:
      root: the folder.
      files: paths of images below it, with "/".

    Raises:
      InputError: an image has no caption, or a file of captions cannot be read; names it, and the line.
    """
    listed = _listed(root, {str(folder) for file in files for folder in PurePosixPath(file).parents})
    found = [listed[file] if file in listed else _beside(root / file) for file in files]
    missing = [file for file, text in zip(files, found, strict=True) if text is None]
    if missing:
        raise InputError(
            f"{len(missing)} of the {len(files)} images of {root} have no caption, such as {quoted(missing[0])}: name "
            f"each in metadata.jsonl as {_EXPECTED}, or put a .txt of the same name beside it."
        )
    return [text or "" for text in found]


def _listed(root: Path, folders: Iterable[str]) -> dict[str, str]:
    """Captions by the path below the root; lists of deeper folders are read last, and so count."""
    captions: dict[str, str] = {}
    for folder in sorted(folders, key=lambda folder: len(PurePosixPath(folder).parts)):
        for name in _LISTS:
            path = root / folder / name
            if path.is_file():
                captions |= {str(PurePosixPath(folder, file)): text for file, text in _lines(path)}
    return captions


def _lines(path: Path) -> Iterable[tuple[str, str]]:
    for number, line in enumerate(_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            file, text = row["file_name"], row["text"]
        except (ValueError, KeyError, TypeError, RecursionError):
            file = text = None
        if not (isinstance(file, str) and isinstance(text, str)):
            raise InputError(f"Line {number} of {path} is {quoted(line)}: expected one like {_EXPECTED}.")
        yield file, text


def _beside(image: Path) -> str | None:
    path = image.with_suffix(".txt")
    return _text(path).strip() if path.is_file() else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"Cannot read {quoted(str(path))}: {error.strerror}. Repair or remove it.") from None
    except UnicodeDecodeError:
        raise InputError(f"Cannot read {quoted(str(path))}: it is no UTF-8. Save its text as UTF-8.") from None
