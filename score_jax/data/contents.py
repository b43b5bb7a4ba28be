"""Which kind of store a path names, by what lies there: a folder, an archive, shards, tables."""

import re
from collections.abc import Callable
from pathlib import Path

from score_jax.data.arrow_store import hugging_face_files, open_arrow_store
from score_jax.data.folder_scan import FOREIGN, scan
from score_jax.data.lmdb_store import FILE as LMDB_FILE
from score_jax.data.lmdb_store import open_lmdb_store
from score_jax.data.natural_order import in_natural_order
from score_jax.data.stores import Contents, FolderStore
from score_jax.data.tar_store import open_tar_store, shards_of
from score_jax.data.zip_store import open_zip_store
from score_jax.errors import InputError
from score_jax.runtime.file_kinds import head_of, kind_of

ARCHIVES = (".zip", ".tar", ".parquet", ".arrow")
"""Endings of names of data sets that are files with many images."""
_PART = re.compile(r"^(train|val|valid|validation|test|dev)(?=[-_.]|$)")
_EXPECTED = "a folder of images, or a .zip, .tar, .parquet or .arrow file with many"


def open_contents(path: Path) -> Contents:
    """Returns what lies in a folder, a .zip, .tar files, parquet or Arrow files, or an LMDB.

    Files are recognised by their first bytes. A folder that holds no image but .tar, .parquet or .arrow files is taken
    for these.

    Raises:
      InputError: there is nothing there, or something else, or it is damaged.
    """
    if not path.is_dir():
        return _of_files(path)
    if (path / LMDB_FILE).is_file():
        return open_lmdb_store(path)
    if (saved := hugging_face_files(path)) is not None:
        return open_arrow_store(path, saved)
    names, left_out = scan(path)
    foreign = left_out.get(FOREIGN, [])
    if not names:
        for ending, opened in ((".tar", open_tar_store), (".parquet", _tables), (".arrow", _tables)):
            if found := in_natural_order(name for name in foreign if name.endswith(ending)):
                return opened(path, [path / name for name in found])
    return Contents(FolderStore(path), names, left_out)


def _of_files(path: Path) -> Contents:
    shards = shards_of(path)
    if not path.exists() and len(shards) == 1 and path.suffix not in ARCHIVES:
        raise InputError(f"No folder {path}: expected {_EXPECTED}.")
    head = head_of(shards[0], _EXPECTED)
    for fits, opened in _KINDS:
        if fits(head):
            return opened(path, shards)
    raise InputError(f"{path} is {kind_of(head) or 'a file of another kind'}: expected {_EXPECTED}.")


def _zip(path: Path, files: list[Path]) -> Contents:
    return open_zip_store(path)


def _tables(path: Path, files: list[Path]) -> Contents:
    """Parts are told by how names begin: train-00000-of-00002.parquet."""
    parts: dict[str, list[Path]] = {}
    for file in files:
        match = _PART.match(file.name) or _PART.match(file.parent.name if file.parent != path else "")
        parts.setdefault(match[1] if match and len(files) > 1 else "", []).append(file)
    return open_arrow_store(path, parts if "" not in parts else {"": files})


_KINDS: tuple[tuple[Callable[[bytes], bool], Callable[[Path, list[Path]], Contents]], ...] = (
    (lambda head: head.startswith(b"PK"), _zip),
    (lambda head: head[257:262] == b"ustar", open_tar_store),
    (lambda head: head.startswith((b"PAR1", b"ARROW1", b"\xff\xff\xff\xff")), _tables),
)
"""From the first bytes of a file to what reads it."""
