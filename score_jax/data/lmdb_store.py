"""Images in an LMDB, as LSUN's are, by the package lmdb (extra `lmdb`)."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from score_jax.data.stores import MOST_BYTES, Contents, Member, stamps_of_archive
from score_jax.errors import InputError, quoted

FILE = "data.mdb"
_MAGIC, _AT = b"\xde\xc0\xef\xbe", 16
"""How the first page of such a file begins, behind the page's own head."""


@dataclasses.dataclass(frozen=True, eq=False)
class LmdbStore:
    """The values of an LMDB, whose keys are their names.

    Attributes:
      path: the folder.
      environment: open, for reading alone.
    """

    path: Path
    environment: Any

    def image(self, name: str) -> Member:
        """See `Store`."""
        return Member(self.path, name, self.read)

    def read(self, name: str) -> bytes:
        """Returns the bytes of an image.

        Raises:
          InputError: it is damaged, or larger than `MOST_BYTES`.
        """
        with self.environment.begin() as reading:
            found = reading.get(_key(name))
        if found is None or len(found) > MOST_BYTES:
            raise InputError(f"The image {quoted(name)} of {self.path} is gone or has more than {MOST_BYTES} bytes.")
        return found

    def text(self, name: str) -> None:
        """See `Store`."""

    def sizes(self, names: Sequence[str]) -> list[int]:
        """See `Store`."""
        with self.environment.begin(buffers=True) as reading:
            return [len(reading.get(_key(name))) for name in names]

    def stamps(self, names: Sequence[str]) -> Iterator[bytes]:
        """See `Store`."""
        return stamps_of_archive(names, [self.path / FILE])


def _key(name: str) -> bytes:
    return name.encode("latin-1")


def open_lmdb_store(folder: Path) -> Contents:
    """Returns what lies in an LMDB; it is opened without a lock, and nothing is written.

    Raises:
      InputError: lmdb is missing, or the file is damaged.
    """
    try:
        import lmdb
    except ImportError:
        raise InputError(f"{folder} is read by lmdb: pip install 'score_jax[lmdb]'.") from None
    with (folder / FILE).open("rb") as file:
        head = file.read(_AT + len(_MAGIC))
    if head[_AT:] not in (_MAGIC, _MAGIC[::-1]):
        raise InputError(f"{folder / FILE} is no LMDB, or is damaged: download it again.")
    try:
        environment = lmdb.open(str(folder), readonly=True, lock=False, readahead=False, create=False)
        with environment.begin() as reading, reading.cursor() as cursor:
            names = [key.decode("latin-1") for key in cursor.iternext(keys=True, values=False)]
    except lmdb.Error as error:
        raise InputError(f"Cannot read {folder}: {quoted(str(error))}. Download it again.") from None
    return Contents(LmdbStore(folder, environment), names, {}, parts=())
