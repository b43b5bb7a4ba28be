"""Checkpoint files of any of the originals' formats, read by content, as trees of numpy arrays; nothing is executed."""

import contextlib
import io
import math
import os
import re
import struct
from collections import Counter
from pathlib import Path
from typing import Any

import ml_dtypes
import msgpack
import numpy as np
from safetensors import SafetensorError, deserialize, safe_open

from score_jax.convert import torch_files
from score_jax.convert.placeholders import refuse
from score_jax.convert.resolve import Allowance
from score_jax.errors import InputError, named, quoted
from score_jax.runtime.array_files import open_headers, open_zip, read_open
from score_jax.runtime.file_kinds import head_of, kind_of

SUPPORTED = "PyTorch's .pth, .pt and .ckpt, .pkl, .safetensors, .npz, Flax msgpack, or a .zip around one of them"
_CHECKPOINT_SUFFIXES = (".pth", ".pt", ".ckpt", ".pkl", ".safetensors", ".npz", ".msgpack")
_OLD_PICKLE = rb"\(?(c[\w.]+\n[\w.]+\n|[dlp(]|\]|\})"  # of protocols 0 and 1, which have no number at their head
_NPY, _ZIP = b"\x93NUMPY", b"PK"
_ARRAY = 1  # of flax: 1 an array, 2 a complex number, 3 a scalar
_MAX_CONTAINERS = 2**20
_ML_DTYPES = ("bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu")
_SAFETENSORS_TYPES: dict[str, Any] = {
    **{
        f"{kind}{bits}": np.dtype(f"{kind.lower()}{bits // 8}")
        for kind in "FIU"
        for bits in (8, 16, 32, 64)
        if kind + str(bits) != "F8"
    },
    **{"F8_E4M3": ml_dtypes.float8_e4m3fn, "F8_E5M2": ml_dtypes.float8_e5m2, "F8_E8M0": ml_dtypes.float8_e8m0fnu},
    **{"F8_E4M3FNUZ": ml_dtypes.float8_e4m3fnuz, "F8_E5M2FNUZ": ml_dtypes.float8_e5m2fnuz},
    **{"BF16": ml_dtypes.bfloat16, "BOOL": np.bool_, "C64": np.complex64},
}


def given_or_in_environment(path: Path | None, variable: str) -> Path | None:
    """Returns the path, or else what an environment variable says; None where neither is there."""
    said = os.environ.get(variable)
    return path or (Path(said).expanduser() if said else None)


def read_checkpoint(path: Path) -> Any:
    """The tree that a checkpoint file holds: dictionaries, lists, numpy arrays, numbers, strings.

    What is foreign in it, such as the settings of a training framework, is left out, and named in a line on stdout.

    Raises:
      InputError: there is no such file, it is damaged, of an unknown format or something else than a checkpoint, or
        unpacks to more than a file of its size may.
    """
    head_of(path, f"a checkpoint ({SUPPORTED})")
    allowance = Allowance(path.stat().st_size)
    try:
        with path.open("rb") as file:
            found = _read(file, allowance)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except MemoryError:
        raise InputError(f"{path} does not fit into memory.") from None
    if allowance.left_out:
        names = Counter(allowance.left_out)
        listed = ", ".join(list(names)[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        print(f"{path}: left out, and nothing of it executed: {listed}.", flush=True)
    return found


def _read(file: io.BufferedIOBase, allowance: Allowance) -> Any:
    """Of an open file, by how it begins."""
    head = file.read(1024)
    file.seek(0)
    if head.startswith(_ZIP):
        return _read_zip(file, allowance)
    if head.startswith(_NPY):
        return _arrays(file, allowance)
    if head.startswith(torch_files.LEGACY_START):
        return torch_files.read_legacy(file, allowance)
    if head[:1] == b"\x80" and head[1:2] <= b"\x05":
        return torch_files.read_pickle(file, allowance)
    if re.match(_OLD_PICKLE, head) and _last_byte(file) == b".":
        return torch_files.read_pickle(file, allowance)
    if head[257:262] == b"ustar":
        raise InputError(
            "The file is a tar archive, as PyTorch wrote in 2017: unpack it, or save it again with PyTorch >= 0.4."
        )
    if len(head) > 8 and head[8:9] == b"{" and struct.unpack("<Q", head[:8])[0] < allowance.size:
        return _safetensors(file)
    kind = kind_of(head)
    if not kind and (head[0] in (0xDE, 0xDF) or 0x80 <= head[0] <= 0x8F):
        return _msgpack(file.read())
    raise InputError(f"The file is {kind or 'of an unknown format'}: expected {SUPPORTED}.")


def read_tensors(path: Path, advice: str) -> dict[str, np.ndarray]:
    """The tensors of a checkpoint that has nothing else, by name.

    Raises:
      InputError: see `read_checkpoint`, or the file holds other things; the advice says what to do then.
    """
    state = read_checkpoint(path)
    if not isinstance(state, dict) or not all(isinstance(tensor, np.ndarray) for tensor in state.values()):
        raise InputError(f"{path} holds no named tensors: {advice}.")
    return state


def _last_byte(file: io.BufferedIOBase) -> bytes:
    file.seek(-1, io.SEEK_END)
    last = file.read(1)
    file.seek(0)
    return last


def _read_zip(file: io.BufferedIOBase, allowance: Allowance) -> Any:
    """A PyTorch archive, an .npz, or an archive around one checkpoint, which is read in memory."""
    with open_zip(file) as archive:
        members = [info for info in archive.infolist() if not info.is_dir()]
        members = [info for info in members if not info.filename.startswith("__MACOSX/")]
        if any(info.filename.endswith("/data.pkl") for info in members):
            return torch_files.read_zip(archive, allowance)
        if members and all(info.filename.endswith(".npy") for info in members):
            return _arrays(file, allowance)
        inside = [info for info in members if info.filename.endswith(_CHECKPOINT_SUFFIXES)]
        if len(inside) != 1:
            found = ", ".join(named(info.filename) for info in inside[:5]) or "none"
            raise InputError(f"The archive holds {len(inside)} checkpoints ({found}): unpack it and name one of them.")
        allowance.take(inside[0].file_size)
        data = torch_files.read_member(archive, inside[0])
    within = Allowance(max(allowance.size, len(data)), left_out=allowance.left_out)
    try:
        return _read(io.BytesIO(data), within)
    except InputError as error:
        raise InputError(f"{named(inside[0].filename)} in the archive: {error}") from None


def _arrays(file: io.BufferedIOBase, allowance: Allowance) -> dict[str, np.ndarray]:
    """Of an .npy or .npz; arrays of objects are left out beside others."""
    headers = open_headers(file)
    plain = [name for name, header in headers.items() if not header.dtype.hasobject]
    if plain:
        allowance.left_out.extend(named(name) for name in headers if name not in plain)
    return read_open(file, plain or None)


def _safetensors(file: io.BufferedIOBase) -> dict[str, np.ndarray]:
    """Of a file, tensor by tensor; or all at once, of one in memory or with types that need ml_dtypes."""
    try:
        if isinstance(file, io.BufferedReader):
            with contextlib.suppress(TypeError, AttributeError, KeyError), safe_open(file.name, "numpy") as opened:
                return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        return {name: _safetensor(name, **about) for name, about in deserialize(file.read())}
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise InputError(f"The file is no valid safetensors ({_line(error)}): download it again.") from None


def _safetensor(name: str, dtype: str, shape: list[int], data: bytes | bytearray) -> np.ndarray:
    if dtype not in _SAFETENSORS_TYPES:
        raise InputError(
            f"Tensor {named(name)} has the type {named(dtype)}, which numpy does not know: save it as float32."
        )
    return np.frombuffer(data, _SAFETENSORS_TYPES[dtype]).reshape(shape)


def _line(error: Exception) -> str:
    return named((str(error).strip() or type(error).__name__).splitlines()[0])


def _msgpack(data: bytes) -> Any:
    """What `flax.serialization.to_bytes` wrote."""
    containers = iter(range(_MAX_CONTAINERS))

    def counted(container: Any) -> Any:
        if next(containers, None) is None:
            raise refuse(f"it has more than {_MAX_CONTAINERS} lists and dictionaries")
        return container

    try:
        tree = msgpack.unpackb(
            data,
            ext_hook=_msgpack_extension,
            object_hook=counted,
            list_hook=counted,
            strict_map_key=False,
            raw=False,
        )
    except InputError:
        raise
    except (ValueError, msgpack.UnpackException, TypeError, RecursionError, MemoryError) as error:
        raise InputError(f"The file is no valid msgpack ({_line(error)}): download it again.") from None
    return _join_chunks(tree)


def _msgpack_extension(code: int, data: bytes) -> Any:
    match code, msgpack.unpackb(data, raw=False, max_array_len=2**10):
        case (1 | 3, [list() as shape, str() as name, bytes() as raw]):
            array = _array(tuple(shape), name, raw)
            return array if code == _ARRAY else array.reshape(-1)[0].item() if array.size == 1 else array
        case (2, [int() | float() as real, int() | float() as imaginary]):
            return complex(real, imaginary)
    raise refuse(f"it has a msgpack extension {code} of an unknown form")


def _array(shape: tuple, name: str, raw: bytes) -> np.ndarray:
    try:
        dtype = np.dtype(getattr(ml_dtypes, name) if name in _ML_DTYPES else name)
    except (TypeError, ValueError, SyntaxError):
        raise refuse(f"an array has the type {quoted(name)}") from None
    if dtype.hasobject or dtype.itemsize == 0 or not all(isinstance(n, int) and n >= 0 for n in shape):
        raise refuse(f"an array has the type {quoted(name)} and shape {quoted(shape)}")
    if math.prod(shape) * dtype.itemsize != len(raw):
        what = f"An array of shape {quoted(shape)} has {len(raw)} bytes"
        raise InputError(f"{what}: the file is damaged, download it again.")
    try:
        return np.frombuffer(raw, dtype).reshape(shape)
    except (ValueError, OverflowError):
        raise refuse(f"an array has the shape {quoted(shape)}") from None


def _join_chunks(tree: Any) -> Any:
    """Large arrays lie in pieces: {"__msgpack_chunked_array__", "shape", "chunks"}, both numbered from "0"."""
    if not isinstance(tree, dict):
        return tree
    if "__msgpack_chunked_array__" not in tree:
        return {key: _join_chunks(value) for key, value in tree.items()}
    try:
        shape, chunks = (tuple(tree[key][str(i)] for i in range(len(tree[key]))) for key in ("shape", "chunks"))
        return np.concatenate([np.ravel(chunk) for chunk in chunks]).reshape(shape)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(f"An array in pieces is damaged ({_line(error)}): download the file again.") from None
