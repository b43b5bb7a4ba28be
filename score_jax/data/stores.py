"""Named images, wherever they lie: what a folder and an archive have in common."""

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable

from score_jax.data.folder_scan import LeftOut
from score_jax.errors import InputError, quoted

T = TypeVar("T")
Class = int | str
"""Of an image, as data say it: a whole number from 0 on, or a name."""
THREADS = 16
"""That ask a file system, which in clusters answers many questions at a time."""
MOST_BYTES = 2**28
"""Of one image in an archive: a picture of 16,000 x 16,000 pixels has about so many where it is not packed at all."""


@dataclasses.dataclass(frozen=True, eq=False)
class Member:
    """An image in an archive, which is read when it is asked for, as a path is.

    Attributes:
      path: of the archive.
      name: of the image in it.
      read: returns the bytes of the image of a name.
    """

    path: Path
    name: str
    read: Callable[[str], bytes]

    def read_bytes(self) -> bytes:
        """Returns its bytes.

        Raises:
          InputError: it is damaged.
          OSError: it cannot be read.
        """
        return self.read(self.name)

    def __str__(self) -> str:
        return f"{quoted(self.name)} of {self.path}"


@runtime_checkable
class Store(Protocol):
    """Files by name. Threads may read at the same time; nothing is ever written to where they lie."""

    @property
    def path(self) -> Path:
        """Where they lie, for messages and for the cache."""

    def image(self, name: str) -> Path | Member:
        """Returns what reads an image."""

    def text(self, name: str) -> bytes | None:
        """Returns the bytes of a small file beside the images; None where there is none of that name."""

    def sizes(self, names: Sequence[str]) -> list[int]:
        """Returns the bytes of each image."""

    def stamps(self, names: Sequence[str]) -> Iterator[bytes]:
        """Returns what changes for each image when it is another: its name, its size, and when it was written."""


@dataclasses.dataclass(frozen=True, eq=False)
class Contents:
    """What lies in a store.

    Attributes:
      store: where.
      names: of its images, with "/" on every platform, in any order.
      left_out: other files, by the reason.
      parts: into which it says that it is divided, the first folders of all names; None: names tell, see
        `folder.parts_of`.
      labels: by name, of stores that say them beside the images; None: folders are the classes.
      classes: what whole numbers in `labels` are called; None: nobody says.
      captions: by name, of stores that say them beside the images.
    """

    store: Store
    names: list[str]
    left_out: LeftOut
    parts: tuple[str, ...] | None = None
    labels: Mapping[str, Class] | None = None
    classes: tuple[str, ...] | None = None
    captions: Mapping[str, str] | None = None


@dataclasses.dataclass(frozen=True)
class FolderStore:
    """The files of a folder."""

    path: Path

    def image(self, name: str) -> Path:
        """See `Store`."""
        return self.path / name

    def text(self, name: str) -> bytes | None:
        """See `Store`."""
        file = self.path / name
        try:
            return file.read_bytes() if file.is_file() else None
        except OSError as error:
            raise InputError(f"Cannot read {quoted(str(file))}: {error.strerror}. Repair or remove it.") from None

    def sizes(self, names: Sequence[str]) -> list[int]:
        """See `Store`."""
        return [status.st_size for status in self._stat(names)]

    def stamps(self, names: Sequence[str]) -> Iterator[bytes]:
        """See `Store`."""
        for name, status in zip(names, self._stat(names), strict=True):
            yield b"%s\0%d\0%d" % (os.fsencode(name), status.st_size, status.st_mtime_ns)

    def _stat(self, names: Sequence[str]) -> list[os.stat_result]:
        root = os.path.join(self.path, "")  # of millions of files: making a Path takes longer than asking for a size
        return in_threads(lambda name: os.stat(root + name), names)


def stamps_of_archive(names: Sequence[str], files: Sequence[Path]) -> Iterator[bytes]:
    """Returns the stamps of what lies in archives, which are written as a whole."""
    status = [file.stat() for file in files]
    whole = b"".join(b"\0%d\0%d" % (each.st_size, each.st_mtime_ns) for each in status)
    for name in names:
        yield name.encode("utf-8", "surrogateescape") + whole


def in_threads(of_name: Callable[[str], T], names: Sequence[str]) -> list[T]:
    """Returns what a function says of each file, in their order.

    Raises:
      InputError: a file cannot be read.
    """
    blocks = [names[i::THREADS] for i in range(THREADS)]
    try:
        with ThreadPoolExecutor(THREADS) as pool:
            answers = list(pool.map(lambda block: [of_name(name) for name in block], blocks))
    except OSError as error:
        raise InputError(f"Cannot read {str(error.filename)!r}: {error.strerror}. Repair or remove it.") from None
    found: list = [None] * len(names)
    for i, block in enumerate(answers):
        found[i::THREADS] = block
    return found
