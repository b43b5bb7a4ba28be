"""Images in an LMDB, as LSUN's are: the keys are the names, and each value is read where it lies.

The file is a B+ tree of pages (Symas LMDB, lmdb.h and the layout in mdb.c, data version 1). It is read here and not by
LMDB's own library, which maps the file and believes it: a file that is cut or damaged ends the process there.
"""

import dataclasses
import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from score_jax.data.stores import MOST_BYTES, Contents, Member, stamps_of_archive
from score_jax.errors import InputError, quoted

FILE = "data.mdb"
_MAGIC, _VERSION = 0xBEEFC0DE, 1
_META = struct.Struct("<16xII16xI44x4xH26xQQQQ")
"""A page that says what a file holds: magic number, version, bytes of a page; flags, entries and root of the tree; the
last page, and the number of the transaction that wrote it."""
_PAGE = struct.Struct("<8x2xHHH")
"""The head of a page: its flags, and where its list of nodes and its free space end."""
_NODE = struct.Struct("<HHHH")
"""The head of a node: two halves of a size or of a page, flags or the rest of that page, and the bytes of its key."""
_BRANCH, _LEAF = 1, 2
_BIG = 1
_NO_ROOT = 2**64 - 1


@dataclasses.dataclass(frozen=True, eq=False)
class LmdbStore:
    """The values of an LMDB.

    Attributes:
      path: the folder.
      places: of each value its first byte and its size.
    """

    path: Path
    places: Mapping[str, tuple[int, int]]

    def image(self, name: str) -> Member:
        """See `Store`."""
        return Member(self.path, name, self.read)

    def read(self, name: str) -> bytes:
        """Returns the bytes of an image.

        Raises:
          InputError: it is not whole, or larger than `MOST_BYTES`.
        """
        start, size = self.places[name]
        if size > MOST_BYTES:
            raise InputError(f"The image {quoted(name)} of {self.path} has {size} bytes, more than {MOST_BYTES}.")
        with (self.path / FILE).open("rb") as file:
            found = os.pread(file.fileno(), size, start)
        if len(found) < size:
            raise InputError(f"{self.path / FILE} is cut short: {quoted(name)} is not whole. Download it again.")
        return found

    def text(self, name: str) -> None:
        """See `Store`."""

    def sizes(self, names: Sequence[str]) -> list[int]:
        """See `Store`."""
        return [self.places[name][1] for name in names]

    def stamps(self, names: Sequence[str]) -> Iterator[bytes]:
        """See `Store`."""
        return stamps_of_archive(names, [self.path / FILE])


def open_lmdb_store(folder: Path) -> Contents:
    """Returns what lies in an LMDB.

    Raises:
      InputError: it is none, is damaged or cut short, or holds databases within it or several values of a key.
    """
    path = folder / FILE
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            page_size, root, entries = _newest_meta(file)
            places = dict(_leaves(file, page_size, root, size // page_size))
    except (struct.error, IndexError, ZeroDivisionError) as error:
        raise InputError(f"{path} is no LMDB, or is damaged: download it again.") from error
    except _Damaged as error:
        raise InputError(f"{path} {error}: download it again.") from None
    if len(places) != entries or any(start + length > size for start, length in places.values()):
        raise InputError(f"{path} is damaged or cut short: it has {len(places)} of {entries} entries whole.")
    return Contents(LmdbStore(folder, places), list(places), {}, parts=())


class _Damaged(Exception):
    """What is wrong with a file."""


def _newest_meta(file: BinaryIO) -> tuple[int, int, int]:
    """Bytes of a page, root and entries of the tree, as the newer one of the two first pages says."""
    first = _META.unpack(file.read(_META.size))
    page_size = first[2]
    if first[:2] != (_MAGIC, _VERSION) or page_size not in (2**i for i in range(9, 17)):
        raise _Damaged("is no LMDB of data version 1 and of this machine's order of bytes")
    file.seek(page_size)
    second = _META.unpack(file.read(_META.size))
    newest = max((meta for meta in (first, second) if meta[:2] == (_MAGIC, _VERSION)), key=lambda meta: meta[-1])
    *_, flags, entries, root, _, _ = newest
    if flags:
        raise _Damaged("has several values of a key, or keys of numbers, which no images have")
    return page_size, root, entries


def _leaves(file: BinaryIO, page_size: int, root: int, pages: int) -> Iterator[tuple[str, tuple[int, int]]]:
    """Key, first byte and size of each value, from the pages below `root`."""
    waiting = [] if root == _NO_ROOT else [root]
    seen: set[int] = set()
    while waiting:
        number = waiting.pop()
        if number in seen or number >= pages:
            raise _Damaged("is damaged or cut short: its pages lead in a circle, or behind its end")
        seen.add(number)
        file.seek(number * page_size)
        page = file.read(page_size)
        flags, lower, _ = _PAGE.unpack_from(page)
        nodes = struct.unpack_from(f"<{max(lower - 16, 0) // 2}H", page, 16)
        for at in nodes:
            low, high, rest, key_size = _NODE.unpack_from(page, at)
            if flags & _BRANCH:
                waiting.append(low | high << 16 | rest << 32)
                continue
            if not flags & _LEAF or rest & ~_BIG:
                raise _Damaged("is damaged, or holds databases within it")
            key = page[at + 8 : at + 8 + key_size].decode("latin-1")
            start, length = number * page_size + at + 8 + key_size, low | high << 16
            if rest & _BIG:  # the value has pages of its own
                (overflow,) = struct.unpack_from("<Q", page, at + 8 + key_size)
                start = overflow * page_size + 16
            yield key, (start, length)
