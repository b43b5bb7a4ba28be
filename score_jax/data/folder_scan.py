"""Which files below a folder are images, and why the others are none."""

import functools
import io
import mimetypes
import os
from pathlib import Path
from typing import IO

from PIL import Image as PILImage
from PIL.ImageFile import StubImageFile

from score_jax.errors import InputError, quoted

HIDDEN, BROKEN, LOOP = "hidden or of the system", "broken link", "link back to a folder above it"
FOREIGN, SPECIAL = "no image that Pillow reads", "neither file nor folder"
_OF_SYSTEMS = {
    "__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "@eadir", "$recycle.bin", "#recycle",
    "system volume information", "lost+found", "__pycache__",
}  # fmt: skip
_ONLY_NAMED = ("EPS", "MPEG")  # Pillow knows these by name, and needs another program to read them

LeftOut = dict[str, list[str]]
"""Paths by the reason why they were left out."""


@functools.cache
def _formats() -> tuple[frozenset[str], tuple[str, ...]]:
    """The endings of the formats that Pillow reads, and the formats among them that it knows by their first bytes."""
    PILImage.init()
    read = {
        name: accept
        for name, (factory, accept) in PILImage.OPEN.items()
        if not (isinstance(factory, type) and issubclass(factory, StubImageFile)) and name not in _ONLY_NAMED
    }
    endings = {ending for ending, name in PILImage.registered_extensions().items() if name in (*read, "MPO")}
    return frozenset(endings), tuple(name for name, accept in read.items() if accept is not None)


def is_hidden(name: str) -> bool:
    """Returns whether a file or folder of this name is hidden, or belongs to the system or an editor."""
    return name.startswith(".") or name.lower() in _OF_SYSTEMS


def is_image(path: str) -> bool:
    """Returns whether a file that is not hidden is an image, by its ending; by its first bytes where that says nothing.

    Raises:
      OSError: it cannot be read.
    """
    known = image_by_name(path)
    if known is not None:
        return known
    with open(path, "rb") as file:
        return _opens_as_image(file)


def image_by_name(path: str) -> bool | None:
    """Returns whether a file is an image, by the ending of its name; None where that says nothing."""
    endings, _ = _formats()
    if f".{path.rpartition('.')[2].lower()}" in endings:
        return True
    kind, _ = _known_types().guess_type(path.rpartition("/")[2])
    foreign = kind is not None and not kind.startswith("image/") and kind != "application/octet-stream"
    return False if foreign else None


def begins_as_image(head: bytes) -> bool:
    """Returns whether a file that begins with these bytes is an image that Pillow reads."""
    return _opens_as_image(io.BytesIO(head))


def _opens_as_image(file: IO[bytes]) -> bool:
    try:
        PILImage.open(file, formats=_formats()[1])
    except PILImage.DecompressionBombError:
        return True  # refused by name when it is read
    except Exception as error:  # whatever a reader raises on bytes that are none of its own
        if isinstance(error, OSError) and error.errno:
            raise
        return False
    return True


@functools.cache
def _known_types() -> mimetypes.MimeTypes:
    """Python's own table, which does not depend on the machine's files."""
    return mimetypes.MimeTypes()


def scan(root: Path) -> tuple[list[str], LeftOut]:
    """Walks a folder, through links too, and finds its images.

    Returns:
      Paths of images below the folder, with "/" on every platform, in no order; and what was left out.

    Raises:
      InputError: a folder or a file cannot be read.
    """
    files: list[str] = []
    left_out: LeftOut = {}
    waiting: list[tuple[str, frozenset[str]]] = [("", frozenset())]
    try:
        while waiting:
            prefix, above = waiting.pop()
            here = os.path.join(root, prefix)
            real = os.path.realpath(here)
            if real in above:
                left_out.setdefault(LOOP, []).append(prefix.removesuffix("/"))
                continue
            with os.scandir(here) as entries:
                for entry in entries:
                    path, kind = prefix + entry.name, _kind(entry)
                    if kind == "folder":
                        waiting.append((f"{path}/", above | {real}))
                    elif kind == "image":
                        files.append(path)
                    else:
                        left_out.setdefault(kind, []).append(path)
    except OSError as error:
        raise InputError(f"Cannot read {str(error.filename)!r}: {error.strerror}. Repair or remove it.") from None
    return files, left_out


def _kind(entry: os.DirEntry) -> str:
    """ "folder", "image", or why it is neither."""
    if is_hidden(entry.name):
        return HIDDEN
    try:
        if entry.is_dir():
            return "folder"
        if entry.is_file():
            return "image" if is_image(entry.path) else FOREIGN
    except OSError:
        if not entry.is_symlink():
            raise
    return BROKEN if entry.is_symlink() else SPECIAL


def describe_left_out(left_out: LeftOut, before: str) -> str:
    """Returns how many files were left out and why, with an example each; "" if none were."""
    found = [f"{len(paths)} {reason} ({quoted(min(paths))})" for reason, paths in sorted(left_out.items())]
    return f"{before}left out: {', '.join(found)}" if found else ""
