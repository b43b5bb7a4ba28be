"""PyTorch's two file formats, without PyTorch: the zip archive, and what came before it (up to 1.5)."""

import functools
import io
import pickle
import struct
import zipfile
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from score_jax.convert.placeholders import DTypeMark, Foreign, ScriptModule, Storage, refuse
from score_jax.convert.resolve import Allowance, resolve
from score_jax.convert.unpickle import size_left, unpickle
from score_jax.errors import InputError, named, quoted
from score_jax.runtime.array_files import READ_ERRORS

LEGACY_START = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)
_PROTOCOL = 1001
_MAX_RATIO = 200


def read_zip(archive: zipfile.ZipFile, allowance: Allowance) -> Any:
    """The object of a zip archive: NAME/data.pkl, with storages in NAME/data/KEY.

    A TorchScript archive has the same, and a module as its object, which becomes its state dict. The code is not read.
    A storage is read once, and all tensors on it are views of it.

    Args:
      archive: the open archive.
      allowance: of the file.

    Raises:
      InputError: the archive is damaged, is no PyTorch file, or unpacks to too much.
    """
    members = {info.filename: info for info in archive.infolist()}
    pickles = [name for name in members if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise InputError("The archive has no data.pkl: it is no PyTorch checkpoint.")
    folder = pickles[0].removesuffix("data.pkl")

    def member(name: str) -> bytes:
        if name not in members:
            raise InputError(f"The archive lacks {named(name)}: it is damaged, download it again.")
        allowance.take(members[name].file_size)
        return read_member(archive, members[name])

    order = _order(member(f"{folder}byteorder") if f"{folder}byteorder" in members else b"little")

    @functools.cache
    def contents(key: str) -> np.ndarray:
        return np.frombuffer(member(f"{folder}data/{key}"), np.uint8)

    def storage(pid: Any) -> Storage | Foreign:
        kind, key, count = _storage_id(pid)
        if not isinstance(kind, DTypeMark):
            return kind()
        size = count * kind.dtype.itemsize

        def read() -> np.ndarray:
            if len(contents(key)) != size:
                raise InputError(
                    f"Storage {named(key)} has {len(contents(key))} bytes where {size} are expected: download it again."
                )
            return contents(key)

        return Storage(kind.dtype, read, order)

    _check_pickle(members[pickles[0]])
    found = unpickle(io.BytesIO(member(pickles[0])), storage, _storage_file)
    return resolve(found.tensors() if isinstance(found, ScriptModule) else found, allowance)


def _check_pickle(info: zipfile.ZipInfo) -> None:
    """Objects take more memory than their pickle; that of a checkpoint, whose tensors lie beside it, is small."""
    if info.file_size > _MAX_RATIO * max(info.compress_size, 1) + 2**20:
        raise refuse(f"{named(info.filename)} would unpack from {info.compress_size} to {info.file_size} bytes")


def read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """A member of an archive, in memory.

    Raises:
      InputError: it is damaged.
    """
    try:
        data = archive.read(info)
    except MemoryError:
        raise InputError(f"{named(info.filename)} in the archive does not fit into memory.") from None
    except READ_ERRORS as error:
        reason = named((str(error) or type(error).__name__).splitlines()[0])
        raise InputError(f"Cannot read {named(info.filename)} in the archive ({reason}): download it again.") from None
    if len(data) != info.file_size:
        raise InputError(f"{named(info.filename)} in the archive is cut short: download it again.")
    return data


def read_legacy(file: io.BufferedIOBase, allowance: Allowance) -> Any:
    """The object of a file of the older format.

    Raises:
      InputError: the file is damaged, or unpacks to too much.
    """
    return resolve(_legacy(file, _nested), allowance)


def _nested(data: bytes) -> Any:
    raise refuse("it holds a file within a file")


def _storage_file(data: bytes) -> Any:
    """A storage that was pickled as a file of its own, as plain pickles of tensors have it."""
    if not isinstance(data, bytes) or not data.startswith(LEGACY_START):
        raise refuse("a storage's bytes are of an unknown form")
    return _legacy(io.BytesIO(data), _nested)


def read_pickle(file: io.BufferedIOBase, allowance: Allowance) -> Any:
    """The object of a plain pickle that may hold tensors.

    Raises:
      InputError: the file is damaged, or unpacks to too much.
    """
    return resolve(unpickle(file, from_bytes=functools.cache(_storage_file)), allowance)


def _legacy(file: io.BufferedIOBase, from_bytes: Callable[[bytes], Any]) -> Any:
    """Magic number, protocol, facts of the machine, the object, keys of its storages, the storages."""
    magic, protocol, facts = (unpickle(file) for _ in range(3))
    if pickle.dumps(magic, protocol=2) != LEGACY_START or protocol != _PROTOCOL or not isinstance(facts, dict):
        raise InputError("The file begins like PyTorch's older format, but is damaged after that: download it again.")
    little = bool(facts.get("little_endian", True))
    storages: dict[str, tuple[int, np.dtype]] = {}
    contents: dict[str, np.ndarray] = {}

    def storage(pid: Any) -> Any:
        if isinstance(pid, tuple) and len(pid) == 4 and pid[0] == "module":
            return pid[1]  # a class, and its source code, which is not read
        kind, key, count = _storage_id(pid)
        if not isinstance(kind, DTypeMark):
            raise InputError(
                f"A storage has the type {kind.name}, which numpy does not know: save the file as float32."
            )
        storages[key] = (count, kind.dtype)
        start, stop = 0, None
        if len(pid) > 5 and pid[5] is not None:
            match pid[5]:
                case (_, int() as offset, int() as size) if offset >= 0 and size >= 0:
                    start, stop = offset * kind.dtype.itemsize, (offset + size) * kind.dtype.itemsize
                case _:
                    raise refuse("a view of a storage is of an unknown form")
        return Storage(kind.dtype, lambda: contents[key][start:stop], "<" if little else ">")

    found = unpickle(file, storage, from_bytes)
    keys = unpickle(file)
    if not isinstance(keys, list) or set(keys) != set(storages):
        raise InputError("The file's list of storages does not fit its tensors: download it again.")
    for key in keys:
        count, dtype = storages[key]
        head = file.read(8)
        if len(head) != 8 or struct.unpack("<q" if little else ">q", head)[0] != count:
            raise InputError(
                f"Storage {named(key)} is missing or of another size: the file is cut short, download it again."
            )
        if size_left(file) < count * dtype.itemsize:
            raise InputError(f"Storage {named(key)} is cut short: download the file again.")
        contents[key] = np.frombuffer(file.read(count * dtype.itemsize), np.uint8)
    return found


def _storage_id(pid: Any) -> tuple[DTypeMark | type[Foreign], str, int]:
    """Of a persistent id ("storage", type, key, location, count, ...); of a type that numpy has not, what names it."""
    match pid:
        case ("storage", kind, str() as key, str(), int() as count, *_) if 0 <= count < 2**48:
            known = isinstance(kind, DTypeMark) or (isinstance(kind, type) and issubclass(kind, Foreign))
            if known and "/" not in key and "\\" not in key:
                return kind, key, count
    raise refuse("a reference to a storage is of an unknown form")


def _order(order: bytes) -> Literal["<", ">"]:
    if order not in (b"little", b"big"):
        raise refuse(f"its byte order is {quoted(order)}")
    return "<" if order == b"little" else ">"
