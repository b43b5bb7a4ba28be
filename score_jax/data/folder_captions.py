"""Captions of a folder of images: a metadata.jsonl or captions.jsonl, or a .txt beside each image."""

import json
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from score_jax.data.stores import Store
from score_jax.errors import InputError, counted, plural, quoted

_LISTS = ("metadata.jsonl", "captions.jsonl")
_EXPECTED = '{"file_name": "cat.png", "text": "a cat"}'


def is_caption_file(path: str) -> bool:
    """Returns whether a file below a folder of images may hold captions, by its name."""
    return path.rsplit("/", 1)[-1] in _LISTS or path.endswith(".txt")


def read_captions(store: Store, files: Sequence[str]) -> list[str]:
    """Returns the caption of each file.

    A list in the file's folder or in one above it, up to the root, comes first, the nearest one before others; it names
    files from its own folder on. Else it is the text of the file of the same name that ends in .txt.

    Args:
      store: the folder or archive.
      files: names of images in it, with "/".

    Raises:
      InputError: an image has no caption, or a file of captions cannot be read; names it, and the line.
    """
    listed = _listed(store, {str(folder) for file in files for folder in PurePosixPath(file).parents})
    found = [listed[file] if file in listed else _beside(store, file) for file in files]
    missing = [file for file, text in zip(files, found, strict=True) if text is None]
    if missing:
        raise InputError(
            f"{len(missing)} of the {counted(len(files), 'image')} of {store.path} "
            f"{plural(len(missing), 'has', 'have')} no caption, such as {quoted(missing[0])}: "
            f"name each in metadata.jsonl as {_EXPECTED}, or put a .txt of the same name beside it."
        )
    return [text or "" for text in found]


def _listed(store: Store, folders: Iterable[str]) -> dict[str, str]:
    """Captions by name; lists of deeper folders are read last, and so count."""
    captions: dict[str, str] = {}
    for folder in sorted(folders, key=lambda folder: len(PurePosixPath(folder).parts)):
        for name in _LISTS:
            file = str(PurePosixPath(folder, name))
            text = _text(store, file)
            if text is not None:
                captions |= {str(PurePosixPath(folder, image)): said for image, said in _lines(text, store, file)}
    return captions


def _lines(text: str, store: Store, name: str) -> Iterable[tuple[str, str]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            file, caption = row["file_name"], row["text"]
        except (ValueError, KeyError, TypeError, RecursionError):
            file = caption = None
        if not (isinstance(file, str) and isinstance(caption, str)):
            raise InputError(f"Line {number} of {store.path / name} is {quoted(line)}: expected one like {_EXPECTED}.")
        yield file, caption


def _beside(store: Store, image: str) -> str | None:
    text = _text(store, str(PurePosixPath(image).with_suffix(".txt")))
    return None if text is None else text.strip()


def _text(store: Store, name: str) -> str | None:
    raw = store.text(name)
    try:
        return None if raw is None else raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(
            f"Cannot read {quoted(str(store.path / name))}: it is no UTF-8. Save its text as UTF-8."
        ) from None
