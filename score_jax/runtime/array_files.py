"""numpy's array files, .npy and .npz, recognised by content: the only reader of such files from elsewhere.

Nothing is unpickled. What a header claims is compared with what the file holds before memory is taken, and all that a
file unpacks to is held to one limit.
"""

import contextlib
import dataclasses
import io
import lzma
import math
import struct
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import cast

import numpy as np

from score_jax.errors import InputError, named, quoted
from score_jax.runtime.file_kinds import head_of, kind_of

EXPECTED = "an .npy or .npz file of numpy arrays"
_NPY, _ZIP = b"\x93NUMPY", b"PK"
_CHUNK = 2**20
_MAX_HEADER = 2**16
READ_ERRORS = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError),
    *(RuntimeError, ValueError, struct.error, IndexError, KeyError, OverflowError),
)
"""What a damaged zip archive makes its readers raise."""
_FREE, _RATIO = 2**29, 200


def unpacked_limit(size: int) -> int:
    """Bytes that a file of `size` bytes may unpack to: 512 MiB, or 200 times its size.

    deflate packs zeros a thousandfold. 512 MiB hold 170,000 blank images of 32 x 32, or the covariances of 2048
    features 15 times; and of the large files that we know, dSprites packs best, 116-fold.
    """
    return max(_FREE, _RATIO * size)


def check_unpacked(unpacked: int, size: int) -> None:
    """Raises InputError where a file of `size` bytes would unpack to more than `unpacked_limit`."""
    if unpacked > unpacked_limit(size):
        raise InputError(
            f"its {size} bytes would unpack to {unpacked}, more than the {unpacked_limit(size)} that we take from a "
            "file of that size: if you trust it, save it again without compression and views."
        )


@dataclasses.dataclass(frozen=True)
class Header:
    """What a file says of an array.

    Attributes:
      shape: of the array.
      dtype: of its elements; such an array is no more than known where they are objects.
      fortran: whether the first axis varies fastest in the file.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool = False

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return math.prod(self.shape) * self.dtype.itemsize


def array_headers(path: Path) -> dict[str, Header]:
    """Shapes and types of the arrays of a file, by name, of which nothing else is read; an .npy's is "arr_0".

    Raises:
      InputError: the file is missing, is something else, or is damaged.
    """
    with _opened(path) as file:
        return open_headers(file)


def open_headers(file: io.BufferedIOBase) -> dict[str, Header]:
    """`array_headers` of an open file; the messages do not name it.

    Raises:
      InputError: see `array_headers`.
    """
    with _members(file) as members:
        return {member.name: member.header for member in members}


def read_arrays(path: Path, names: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """Returns the arrays of an .npz file by name, or that of an .npy file as "arr_0".

    Args:
      path: the file, whatever it is called.
      names: which arrays, where they are there; None: all.

    Raises:
      InputError: the file is missing, is something else, is damaged, holds objects, or unpacks to too much.
    """
    with _opened(path) as file:
        return read_open(file, names)


def read_open(file: io.BufferedIOBase, names: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """`read_arrays` of an open file; the messages do not name it.

    Raises:
      InputError: see `read_arrays`.
    """
    with _members(file) as members:
        wanted = [member for member in members if names is None or member.name in names]
        check_unpacked(sum(member.header.nbytes for member in wanted), _size(file))
        return {member.name: _read(member) for member in wanted}


def stored_at(file: io.BufferedIOBase, name: str) -> int | None:
    """Returns the byte of an open file at which the elements of an array begin, row after row; None if they do not.

    Those that are packed, of Fortran's order, or objects do not. A member of an archive is compared with its checksum.

    Raises:
      InputError: see `read_arrays`; the messages do not name the file.
    """
    with _members(file) as members:
        member = next(member for member in members if member.name == name)
        if member.start is None or member.header.fortran or member.header.dtype.hasobject:
            return None
        if member.start + member.header.nbytes < _size(file):  # an archive, whose directory comes behind it
            with _damage_of(member.label):
                stream = member.opened()
                while stream.read(_CHUNK):
                    pass
        return member.start


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[io.BufferedIOBase]:
    """A file, of which every InputError names the path."""
    head_of(path, EXPECTED)
    try:
        with path.open("rb") as file:
            yield file
    except InputError as error:
        raise InputError(f"Cannot read {path}: {error}") from None


def _size(file: io.BufferedIOBase) -> int:
    return file.seek(0, io.SEEK_END)


def open_zip(file: io.BufferedIOBase) -> zipfile.ZipFile:
    """Returns the archive in a file.

    Raises:
      InputError: it is cut short or damaged, names a member twice, or is encrypted.
    """
    file.seek(0)
    try:
        archive = zipfile.ZipFile(file)
    except READ_ERRORS as error:
        size = _size(file)
        file.seek(max(0, size - 2**16 - 22))
        cut = b"PK\x05\x06" not in file.read()
        why = (
            "the zip archive is cut short, its end is missing"
            if cut
            else f"the zip archive is damaged ({_line(error)})"
        )
        raise InputError(f"{why}: download or save it again.") from None
    seen = set()
    for info in archive.infolist():
        if info.filename in seen:
            raise InputError(f"the archive has two members called {named(info.filename)}: save it again.")
        if info.flag_bits & 1:
            raise InputError(f"{named(info.filename)} in the archive is encrypted: unpack it with its password.")
        seen.add(info.filename)
    return archive


@dataclasses.dataclass(frozen=True)
class _Member:
    """An array of a file: its name, what to call it in an error, its header, and a stream from its beginning.

    `start` is the byte of the file at which its elements begin, None where they are packed.
    """

    name: str
    label: str
    header: Header
    opened: Callable[[], io.BufferedIOBase]
    start: int | None


@contextlib.contextmanager
def _members(file: io.BufferedIOBase) -> Iterator[list[_Member]]:
    """The arrays of an open file, which can be read within the context."""
    file.seek(0)
    head = file.read(1024)
    if head.startswith(_NPY):

        def begin() -> io.BufferedIOBase:
            file.seek(0)
            return file

        size = _size(file)
        header = _header(begin(), "arr_0", size)
        yield [_Member("arr_0", "arr_0", header, begin, size - header.nbytes)]
        return
    if not head.startswith(_ZIP):
        kind = kind_of(head)
        raise InputError(f"it is {kind}; expected {EXPECTED}." if kind else f"expected {EXPECTED}.")
    with open_zip(file) as archive:
        arrays = [info for info in archive.infolist() if info.filename.endswith(".npy")]
        arrays = [info for info in arrays if not info.filename.startswith("__MACOSX/")]
        if not arrays:
            found = ", ".join(named(info.filename) for info in archive.infolist()[:4]) or "nothing"
            raise InputError(f"it is a zip archive without arrays (it has {found}); expected {EXPECTED}.")
        yield [_member(archive, info, file) for info in arrays]


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, file: io.BufferedIOBase) -> _Member:
    label = info.filename

    def opened() -> io.BufferedIOBase:
        return cast(io.BufferedIOBase, archive.open(info))

    with _damage_of(label):
        header, start = _header(opened(), label, info.file_size), None
        if info.compress_type == zipfile.ZIP_STORED:
            file.seek(
                info.header_offset
            )  # of a head of 30 bytes, a name and what is beside it; `opened` has checked it
            name, more = struct.unpack("<26x2H", file.read(30))
            start = info.header_offset + 30 + name + more + info.file_size - header.nbytes
        return _Member(label.removesuffix(".npy"), label, header, opened, start)


def _header(stream: io.BufferedIOBase, name: str, size: int) -> Header:
    """The header of an array whose file has `size` bytes, which it must fit."""
    start = stream.read(8)
    version, field = start[6:8], 2 if start[6:7] == b"\x01" else 4
    if not start.startswith(_NPY) or version not in (b"\x01\x00", b"\x02\x00", b"\x03\x00"):
        raise _damaged(name, "it does not begin like an .npy file")
    prefix = stream.read(field)
    length = int.from_bytes(prefix, "little")
    if length > _MAX_HEADER:
        raise _damaged(name, f"its header claims {length} bytes")
    read = np.lib.format.read_array_header_1_0 if field == 2 else np.lib.format.read_array_header_2_0
    try:
        shape, fortran, dtype = read(io.BytesIO(prefix + stream.read(length)))
        header = Header(tuple(int(n) for n in shape), dtype, fortran)
        if dtype.hasobject:
            return header
        if dtype.subdtype is not None or dtype.itemsize == 0 or min(shape, default=0) < 0 or len(shape) > 32:
            raise _damaged(name, f"it claims type {quoted(str(dtype))} and shape {quoted(shape)}")
    except InputError:
        raise
    except Exception as error:  # whatever the text in a header makes numpy raise
        raise _damaged(name, f"its header is no header: {_line(error)}") from None
    data = size - 8 - field - length
    if header.nbytes != data:
        claim = f"{named(str(dtype))} of shape {quoted(header.shape)}, {header.nbytes} bytes"
        raise _damaged(name, f"its header claims {claim}, where the file has {data}")
    return header


def _read(member: _Member) -> np.ndarray:
    if member.header.dtype.hasobject:
        raise _unreadable(member.label, "it holds pickled objects, which are never read")
    with _damage_of(member.label):
        stream = member.opened()
        _skip_header(stream)
        array = _elements(stream, member.label, member.header)
        stream.read(1)  # at the end of a zip's member its checksum is compared
        return array


def _skip_header(stream: io.BufferedIOBase) -> None:
    field = 2 if stream.read(8)[6:7] == b"\x01" else 4
    stream.read(int.from_bytes(stream.read(field), "little"))


def _elements(stream: io.BufferedIOBase, name: str, header: Header) -> np.ndarray:
    raw = np.empty(header.nbytes, np.uint8)
    for start in range(0, header.nbytes, _CHUNK):
        part = memoryview(raw)[start : start + _CHUNK]
        while part:
            count = stream.readinto(part)
            if not count:
                raise _damaged(name, "it is cut short")
            part = part[count:]
    return raw.view(header.dtype).reshape(header.shape, order="F" if header.fortran else "C")


@contextlib.contextmanager
def _damage_of(name: str) -> Iterator[None]:
    """What reading a damaged member raises becomes an InputError that names it."""
    try:
        yield
    except InputError:
        raise
    except MemoryError:
        raise _unreadable(name, "it does not fit into memory") from None
    except READ_ERRORS as error:
        raise _damaged(name, _line(error)) from None


def _line(error: Exception) -> str:
    return named(str(error).splitlines()[0]) if str(error).strip() else type(error).__name__


def _unreadable(name: str, why: str) -> InputError:
    return InputError(f"Cannot read the array {named(name)}: {why}.")


def _damaged(name: str, why: str) -> InputError:
    return InputError(
        f"Cannot read the array {named(name)}, which is damaged ({why}): save or download the file again."
    )
