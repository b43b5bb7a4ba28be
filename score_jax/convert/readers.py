"""Checkpoint files of any of the originals' formats, read by content, as trees of numpy arrays; nothing is executed."""

import contextlib
import io
import struct
import zipfile
from pathlib import Path
from typing import Any

import ml_dtypes
import msgpack
import numpy as np
from safetensors import SafetensorError, safe_open

from score_jax.convert import torch_files
from score_jax.convert.unpickle import refuse
from score_jax.errors import InputError

SUPPORTED = "PyTorch's .pth, .pt and .ckpt, .pkl, .safetensors, .npz, Flax msgpack, or a .zip around one of them"
_CHECKPOINT_SUFFIXES = (".pth", ".pt", ".ckpt", ".pkl", ".safetensors", ".npz", ".msgpack")
_ARRAY = 1  # of flax: 1 an array, 2 a complex number, 3 a scalar


def read_checkpoint(path: Path) -> Any:
    """The tree that a checkpoint file holds: dictionaries, lists, numpy arrays, numbers, strings.

    Raises:
      InputError: there is no such file, it is damaged or of an unknown format, or it wants to execute something.
    """
    if not path.is_file():
        raise InputError(f"No file {path}: expected a checkpoint ({SUPPORTED}).")
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty: download it again.")
    try:
        if zipfile.is_zipfile(path):
            return _read_zip(path)
        return _safetensors(path) if _is_safetensors(path) else _read_bytes(path.read_bytes())
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except (zipfile.BadZipFile, UnicodeDecodeError, NotImplementedError) as error:
        raise InputError(f"{path}: the archive is damaged ({error}): download it again.") from None


def read_tensors(path: Path, advice: str) -> dict[str, np.ndarray]:
    """The tensors of a checkpoint that has nothing else, by name.

    Raises:
      InputError: see `read_checkpoint`, or the file holds other things; the advice says what to do then.
    """
    state = read_checkpoint(path)
    if not isinstance(state, dict) or not all(isinstance(tensor, np.ndarray) for tensor in state.values()):
        raise InputError(f"{path} holds no tensors by name: {advice}.")
    return state


def _read_bytes(data: bytes) -> Any:
    if data.startswith(torch_files.LEGACY_START):
        return torch_files.read_legacy(data)
    if data[:1] == b"\x80" and data[1:2] <= b"\x05":
        return torch_files.read_pickle(data)
    if data[257:262] == b"ustar":
        raise InputError("PyTorch's format of 2017 (a tar archive) is not read: save it again with PyTorch >= 0.4.")
    if data[0] in (0xDE, 0xDF) or 0x80 <= data[0] <= 0x8F:
        return _msgpack(data)
    raise InputError(f"The file is of an unknown format: expected {SUPPORTED}.")


def _read_zip(path: Path) -> Any:
    """A PyTorch archive, an .npz, or an archive around one checkpoint, which is read in memory."""
    with zipfile.ZipFile(path) as archive:
        names = [info.filename for info in archive.infolist() if not info.is_dir()]
        if any(name.endswith("/data.pkl") for name in names):
            return torch_files.read_zip(archive)
        if all(name.endswith(".npy") for name in names):
            return _npz(archive)
        inside = [name for name in names if name.endswith(_CHECKPOINT_SUFFIXES) and not name.startswith("__MACOSX/")]
        if len(inside) != 1:
            found = ", ".join(inside[:5]) or "none"
            raise InputError(f"The archive holds {len(inside)} checkpoints ({found}): unpack it and name one of them.")
        data = torch_files.read_member(archive, archive.getinfo(inside[0]))
    if zipfile.is_zipfile(io.BytesIO(data)):
        with zipfile.ZipFile(io.BytesIO(data)) as inner:
            return torch_files.read_zip(inner)
    return _read_bytes(data)


def _npz(archive: zipfile.ZipFile) -> dict[str, np.ndarray]:
    arrays = {}
    for info in archive.infolist():
        try:
            member = io.BytesIO(torch_files.read_member(archive, info))
            arrays[info.filename.removesuffix(".npy")] = np.lib.format.read_array(member, allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            raise InputError(f"Cannot read the array {info.filename} ({error}): save it again.") from None
    return arrays


def _is_safetensors(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(9)
    return len(head) == 9 and head[8:] == b"{" and struct.unpack("<Q", head[:8])[0] < path.stat().st_size


def _safetensors(path: Path) -> dict[str, np.ndarray]:
    try:
        with safe_open(path, framework="numpy") as file:
            return {name: _widened(file, name, path) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise InputError(f"The file is no valid safetensors ({error}): download it again.") from None


def _widened(file: Any, name: str, path: Path) -> np.ndarray:
    with contextlib.suppress(TypeError, AttributeError, KeyError):
        return file.get_tensor(name)
    raise InputError(f"Tensor {name} of {path.name} has a type that numpy does not know: save it as float32.")


def _msgpack(data: bytes) -> Any:
    """What `flax.serialization.to_bytes` wrote."""
    try:
        tree = msgpack.unpackb(data, ext_hook=_msgpack_extension, strict_map_key=False, raw=False)
    except InputError:
        raise
    except (ValueError, msgpack.UnpackException, TypeError, RecursionError, MemoryError) as error:
        raise InputError(f"The file is no valid msgpack ({error}): download it again.") from None
    return _join_chunks(tree)


def _msgpack_extension(code: int, data: bytes) -> Any:
    match code, msgpack.unpackb(data, raw=False):
        case (1 | 3, [list() as shape, str() as name, bytes() as raw]):
            array = _array(tuple(shape), name, raw)
            return array if code == _ARRAY else array.reshape(()).item()
        case (2, [int() | float() as real, int() | float() as imaginary]):
            return complex(real, imaginary)
    raise refuse(f"it has a msgpack extension {code} of an unknown form")


def _array(shape: tuple, name: str, raw: bytes) -> np.ndarray:
    try:
        dtype = np.dtype(ml_dtypes.bfloat16) if name == "bfloat16" else np.dtype(name)
    except TypeError:
        raise refuse(f"an array has the type {name!r}") from None
    if dtype.hasobject or not all(isinstance(n, int) and n >= 0 for n in shape):
        raise refuse(f"an array has the type {name!r} and shape {shape}")
    if int(np.prod(shape, dtype=object)) * dtype.itemsize != len(raw):
        raise InputError(f"An array of shape {shape} has {len(raw)} bytes: the file is damaged, download it again.")
    return np.frombuffer(raw, dtype).reshape(shape)


def _join_chunks(tree: Any) -> Any:
    """Large arrays lie in pieces: {"__msgpack_chunked_array__", "shape", "chunks"}, both numbered from "0"."""
    if not isinstance(tree, dict):
        return tree
    if "__msgpack_chunked_array__" not in tree:
        return {key: _join_chunks(value) for key, value in tree.items()}
    try:
        shape, chunks = (tuple(tree[key][str(i)] for i in range(len(tree[key]))) for key in ("shape", "chunks"))
        return np.concatenate([np.ravel(chunk) for chunk in chunks]).reshape(shape)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"An array in pieces is damaged ({error}): download the file again.") from None
