"""What kind a file is, by its first bytes: for messages about files of another kind than expected."""

import re
from pathlib import Path

from score_jax.errors import InputError, quoted

_HEAD, _TEXT = 1024, 12
_MAGIC = (
    (b"\x93NUMPY", "a numpy array (.npy)"),
    (b"PK\x03\x04", "a zip archive"),
    (b"PK\x05\x06", "a zip archive without members"),
    (b"\x1f\x8b", "compressed by gzip (unpack it first)"),
    (b"BZh", "compressed by bzip2 (unpack it first)"),
    (b"\xfd7zXZ\x00", "compressed by xz (unpack it first)"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd (unpack it first)"),
    (b"\x04\x22\x4d\x18", "compressed by lz4 (unpack it first)"),
    (b"Rar!", "a RAR archive (unpack it first)"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive (unpack it first)"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file (Keras, MATLAB 7.3)"),
    (b"MATLAB 5.0", "a MATLAB file"),
    (b"GGUF", "a GGUF file"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"%PDF", "a PDF document"),
)
_TAR = b"ustar"
_TEXTS = (
    (rb"<!doctype html|<html|<head|<body|<script", "an HTML page (saved in place of the file)"),
    (rb"<\?xml|<error|<svg", "an XML text (perhaps a server's message)"),
    (rb"version https://git-lfs", "a pointer of Git LFS (run `git lfs pull` where it lies)"),
    (
        rb"(\.\./)*(\.git|/annex)[^\n]*/annex|/annex/objects",
        "a pointer of git-annex (run `git annex get` where it lies)",
    ),
    (rb"[{\[]\s*[\"{\[\]}]", "a JSON text (perhaps a server's message)"),
    (rb"-----begin", "a PEM text"),
)


def kind_of(head: bytes) -> str:
    """What a file is that begins with these bytes (a thousand suffice), such as "an HTML page"; "" if unknown."""
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    if head[257:262] == _TAR:
        return "a tar archive (unpack it first)"
    if head and not head.strip(b"\x00"):
        return "nothing but zeros (the download did not finish)"
    text = head.decode("utf-16", "ignore").encode() if head[:2] in (b"\xff\xfe", b"\xfe\xff") else head
    text = text.removeprefix(b"\xef\xbb\xbf").lstrip()
    for pattern, kind in _TEXTS:
        if re.match(pattern, text.lower()):
            return kind
    shown = _as_text(text)
    return f"a text that begins {quoted(shown[:40])}" if len(shown) >= _TEXT else ""


def _as_text(data: bytes) -> str:
    """Bytes as text, "" where they are none; what was cut after a thousand bytes may be half a character."""
    try:
        text = data.decode("utf-8", "strict" if len(data) < _HEAD - 8 else "ignore")
    except UnicodeDecodeError:
        return ""
    lost = len(data) - len(text.encode())
    return text if lost < 4 and all(part.isprintable() or part.isspace() for part in text) else ""


def head_of(path: Path, expected: str) -> bytes:
    """Returns the first thousand bytes of a file.

    Args:
      path: the file.
      expected: what it should be, for messages.

    Raises:
      InputError: there is no such file, it is a folder, it is empty, or it cannot be opened.
    """
    if path.is_symlink() and not path.exists():
        annex = (
            " (a file of git-annex that was not fetched: run `git annex get`)"
            if "annex" in str(path.readlink())
            else ""
        )
        raise InputError(f"{path} is a link to a file that is not there{annex}: expected {expected}.")
    if path.is_dir():
        raise InputError(f"No file {path}, it is a folder: expected {expected}.")
    if not path.is_file():
        raise InputError(f"No file {path}: expected {expected}.")
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError as error:
        raise InputError(f"Cannot open {path}: {error.strerror}.") from None
    if not head:
        raise InputError(f"{path} is empty: download it again, or expected {expected}.")
    return head
