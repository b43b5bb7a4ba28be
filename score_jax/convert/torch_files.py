"""PyTorch's two file formats, without PyTorch: the zip archive, and what came before it (up to 1.5)."""

import io
import pickle
import struct
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np

from score_jax.convert.unpickle import DTypeMark, ScriptModule, Storage, refuse, resolve, unpickle
from score_jax.errors import InputError

LEGACY_START = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)
_PROTOCOL = 1001
_MAX_RATIO = 200


def read_zip(archive: zipfile.ZipFile) -> Any:
    """The object of a zip archive: NAME/data.pkl, with storages in NAME/data/KEY.

    A TorchScript archive has the same, and a module as its object, which becomes its state dict. The code is not read.

    Raises:
      InputError: the archive is damaged, is no PyTorch file, or wants to execute something.
    """
    members = {info.filename: info for info in archive.infolist()}
    pickles = [name for name in members if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise InputError("The archive has no data.pkl: it is no PyTorch checkpoint.")
    folder = pickles[0].removesuffix("data.pkl")

    def member(name: str) -> bytes:
        if name not in members:
            raise InputError(f"The archive lacks {name}: it is damaged, download it again.")
        return read_member(archive, members[name])

    order = member(f"{folder}byteorder") if f"{folder}byteorder" in members else b"little"

    def storage(pid: Any) -> Storage:
        kind, key, count = _storage_id(pid)
        size = count * kind.dtype.itemsize

        def read() -> bytes:
            data = member(f"{folder}data/{key}")
            if len(data) != size:
                raise InputError(f"Storage {key} has {len(data)} bytes where {size} are expected: download it again.")
            return data

        return Storage(_ordered(kind.dtype, order), read)

    found = unpickle(io.BytesIO(member(pickles[0])), storage, lambda data: _storage_file(data))
    return resolve(found.tensors() if isinstance(found, ScriptModule) else found)


def read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """A member of an archive, in memory.

    Raises:
      InputError: it is damaged or encrypted, or unpacks to far more than it holds.
    """
    if info.file_size > _MAX_RATIO * max(info.compress_size, 1) + 2**20:
        raise refuse(f"{info.filename} would unpack from {info.compress_size} to {info.file_size} bytes")
    try:
        return archive.read(info)
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError, OSError, ValueError) as error:
        raise InputError(f"Cannot read {info.filename} in the archive ({error}): download it again.") from None
    except Exception as error:  # zlib's and lzma's own errors
        raise InputError(f"Cannot unpack {info.filename} in the archive ({error}): download it again.") from None


def read_legacy(data: bytes) -> Any:
    """The object of a file of the older format.

    Raises:
      InputError: the file is damaged, or wants to execute something.
    """
    return resolve(_legacy(data, _nested))


def _nested(data: bytes) -> Any:
    raise refuse("it holds a file within a file")


def _storage_file(data: bytes) -> Any:
    """A storage that was pickled as a file of its own, as plain pickles of tensors have it."""
    if not isinstance(data, bytes) or not data.startswith(LEGACY_START):
        raise refuse("a storage's bytes are of an unknown form")
    return _legacy(data, _nested)


def read_pickle(data: bytes) -> Any:
    """The object of a plain pickle that may hold tensors.

    Raises:
      InputError: the file is damaged, or wants to execute something.
    """
    return resolve(unpickle(io.BytesIO(data), from_bytes=_storage_file))


def _legacy(data: bytes, from_bytes: Callable[[bytes], Any]) -> Any:
    """Magic number, protocol, facts of the machine, the object, keys of its storages, the storages."""
    file = io.BytesIO(data)
    magic, protocol, facts = (unpickle(file) for _ in range(3))
    if pickle.dumps(magic, protocol=2) != LEGACY_START or protocol != _PROTOCOL or not isinstance(facts, dict):
        raise InputError("The file begins like PyTorch's older format and goes on otherwise: download it again.")
    little = bool(facts.get("little_endian", True))
    storages: dict[str, tuple[int, np.dtype]] = {}
    contents: dict[str, bytes] = {}

    def storage(pid: Any) -> Storage:
        kind, key, count = _storage_id(pid)
        storages[key] = (count, kind.dtype)
        start, stop = 0, None
        if len(pid) > 5 and pid[5] is not None:
            match pid[5]:
                case (_, int() as offset, int() as size) if offset >= 0 and size >= 0:
                    start, stop = offset * kind.dtype.itemsize, (offset + size) * kind.dtype.itemsize
                case _:
                    raise refuse("a view of a storage is of an unknown form")
        return Storage(_ordered(kind.dtype, b"little" if little else b"big"), lambda: contents[key][start:stop])

    found = unpickle(file, storage, from_bytes)
    keys = unpickle(file)
    if not isinstance(keys, list) or set(keys) != set(storages):
        raise InputError("The file's list of storages does not fit its tensors: download it again.")
    for key in keys:
        count, dtype = storages[key]
        head = file.read(8)
        if len(head) != 8 or struct.unpack("<q" if little else ">q", head)[0] != count:
            raise InputError(f"Storage {key} is missing or of another size: the file is cut short, download it again.")
        contents[key] = file.read(count * dtype.itemsize)
        if len(contents[key]) != count * dtype.itemsize:
            raise InputError(f"Storage {key} is cut short: download the file again.")
    return found


def _storage_id(pid: Any) -> tuple[DTypeMark, str, int]:
    """Of a persistent id ("storage", type, key, location, count, ...)."""
    match pid:
        case ("storage", DTypeMark() as kind, str() as key, str(), int() as count, *_) if 0 <= count < 2**48:
            if "/" not in key and "\\" not in key:
                return kind, key, count
    raise refuse("a reference to a storage is of an unknown form")


def _ordered(dtype: np.dtype, order: bytes) -> np.dtype:
    if order not in (b"little", b"big"):
        raise refuse(f"its byte order is {order[:20]!r}")
    return dtype if order == b"little" or dtype.itemsize == 1 else dtype.newbyteorder(">")
