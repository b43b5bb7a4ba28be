"""From a tree of placeholders to plain values, within a file's allowance of memory; what is foreign is left out."""

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from score_jax.convert.placeholders import (
    Attributes,
    DTypeMark,
    Foreign,
    Inert,
    NumpyArray,
    NumpyDType,
    PlainDict,
    Storage,
    Tensor,
    refuse,
)
from score_jax.errors import quoted
from score_jax.runtime.array_files import check_unpacked

_MAX_DEPTH, _MAX_ENTRIES = 64, 2**23
_LEFT_OUT = object()
_PLAIN = (str, int, float, bool, bytes, bytearray, complex, type(None))


@dataclasses.dataclass
class Allowance:
    """What the contents of one file may take, and what was left out of them.

    Attributes:
      size: of the file in bytes.
      read: bytes of storages and arrays so far.
      unfolded: bytes that its tensors would have, each by itself.
      left_out: names of the foreign objects, in their order.
    """

    size: int
    read: int = 0
    unfolded: int = 0
    left_out: list[str] = dataclasses.field(default_factory=list)

    def take(self, nbytes: int) -> None:
        """Raises InputError where this and what was read before is more than a file of its size may unpack to."""
        self.read += nbytes
        check_unpacked(self.read, self.size)

    def unfold(self, nbytes: int) -> None:
        """Raises InputError where the tensors, which may stand on the same storage, come to more than that."""
        self.unfolded += nbytes
        check_unpacked(self.unfolded, self.size)


class _TooDeep(Exception):
    pass


def resolve(value: Any, allowance: Allowance | None = None) -> Any:
    """A tree of plain values: dictionaries, lists, tuples, numpy arrays, numbers and strings.

    Arrays are views of what was read, not copies. A foreign object that holds arrays becomes a dictionary (or list) of
    what it holds; any other is left out of the dictionary that it is in, and is None in a list.

    Args:
      value: what `unpickle` returned.
      allowance: of the file; what is left out is noted there.

    Raises:
      InputError: a tensor does not fit its storage, the tree is nested too deeply or unpacks to too much, or it has
        foreign objects and no arrays.
    """
    allowance = Allowance(0) if allowance is None else allowance
    try:
        found, has_arrays = _Resolver(allowance).resolve(value, 0)
    except _TooDeep:
        raise refuse("its objects are nested too deeply") from None
    if allowance.left_out and not has_arrays:
        raise refuse(f"it has no tensors, and wants to call {allowance.left_out[0]}")
    return found


class _Resolver:
    """What is shared stays shared, so that a small file cannot unfold into a large tree."""

    def __init__(self, allowance: Allowance):
        self._allowance = allowance
        self._done: dict[int, tuple[Any, bool]] = {}
        self._open: set[int] = set()
        self._entries = 0

    def resolve(self, value: Any, depth: int) -> tuple[Any, bool]:
        """The value, and whether there are arrays in it."""
        if isinstance(value, _PLAIN):
            return value, False
        if depth > _MAX_DEPTH:
            raise _TooDeep
        key = id(value)
        if key not in self._done:
            if key in self._open and isinstance(value, Foreign | Attributes):
                return _LEFT_OUT, False  # an object that knows its owner
            self._open.add(key)
            self._done[key] = self._resolved(value, depth + 1)
            self._open.discard(key)
        return self._done[key]

    def _resolved(self, value: Any, depth: int) -> tuple[Any, bool]:
        match value:
            case Tensor():
                return self._tensor(value), True
            case Storage():
                return self._elements(value, value.dtype), True
            case NumpyArray():
                return self._numpy(value)
            case Foreign():
                return self._foreign(value, depth)
            case Attributes():
                return self._dict(value.values.items(), depth)
            case PlainDict():
                return self._dict(value.entries(), depth)
            case dict():
                return self._dict(value.items(), depth)
            case list() | set() | frozenset():
                return self._list(value, depth)
            case tuple():
                found, has = self._list(value, depth)
                return tuple(found), has
            case DTypeMark():
                return str(value.dtype), False
            case NumpyDType() if value.dtype is not None:
                return str(value.dtype), False
        return self._leave_out(value)

    def _leave_out(self, value: Any) -> tuple[Any, bool]:
        kind = value if isinstance(value, type) else type(value)
        name = kind.name if issubclass(kind, Foreign) else "a function" if issubclass(kind, Inert) else kind.__name__
        self._allowance.left_out.append(name)
        return _LEFT_OUT, False

    def _count(self) -> None:
        self._entries += 1
        if self._entries > _MAX_ENTRIES:
            raise refuse(f"it unfolds to more than {_MAX_ENTRIES} entries")

    def _dict(self, entries: Iterable[tuple[Any, Any]], depth: int) -> tuple[Any, bool]:
        found, any_has = {}, False
        for key, item in entries:
            self._count()
            value, has = self.resolve(item, depth)
            key = tuple(key) if isinstance(key, frozenset) else key
            if not _is_plain_key(key):
                self._leave_out(key)
            elif value is not _LEFT_OUT:
                found[key] = value
                any_has |= has
        return found, any_has

    def _list(self, items: Iterable[Any], depth: int) -> tuple[list, bool]:
        found, any_has = [], False
        for item in items:
            self._count()
            value, has = self.resolve(item, depth)
            found.append(None if value is _LEFT_OUT else value)
            any_has |= has
        return found, any_has

    def _foreign(self, value: Foreign, depth: int) -> tuple[Any, bool]:
        """What the object holds, if there are arrays in it."""
        noted = len(self._allowance.left_out)
        try:
            found, has = self._dict(value.entries(), depth)
            listed, listed_has = self._list(value.elements, depth)
        except _TooDeep:
            has = listed_has = False
        if has or listed_has:
            return (found if has else listed), True
        del self._allowance.left_out[noted:]
        return self._leave_out(value)

    def _elements(self, storage: Storage, dtype: np.dtype) -> np.ndarray:
        raw = storage.read()
        kind = dtype.newbyteorder(storage.order) if dtype.itemsize > 1 else dtype
        return raw[: len(raw) // kind.itemsize * kind.itemsize].view(kind)

    def _tensor(self, tensor: Tensor) -> np.ndarray:
        """A view of the storage, after checking that all of it is there."""
        if 0 in tensor.size:
            return _reshaped(np.zeros(0, tensor.dtype), tensor.size)
        elements = self._elements(tensor.storage, tensor.dtype)
        last = tensor.offset + sum((n - 1) * step for n, step in zip(tensor.size, tensor.stride, strict=True))
        if last >= len(elements):
            raise refuse(f"a tensor reaches to element {last} of a storage of {len(elements)}")
        self._allowance.unfold(math.prod(tensor.size) * tensor.dtype.itemsize)
        strides, start = tuple(step * tensor.dtype.itemsize for step in tensor.stride), tensor.offset
        try:
            view = np.ndarray(tensor.size, elements.dtype, elements, start * elements.dtype.itemsize, strides)
        except (ValueError, TypeError, OverflowError):
            raise refuse(f"a tensor has the size {quoted(tensor.size)}") from None
        if view.dtype.names is None and not tensor.lazy:
            return view
        self._allowance.take(2 * view.nbytes)
        return _computed(_joined_halves(view), tensor.lazy)

    def _numpy(self, array: NumpyArray) -> tuple[Any, bool]:
        dtype = np.dtype(np.float64) if array.kind is None else array.kind.dtype
        if dtype is None or not dtype.itemsize:
            self._allowance.left_out.append("a numpy array of objects")
            return _LEFT_OUT, False
        raw = b"" if array.raw is None else array.raw
        if not isinstance(raw, str | bytes | bytearray) or not isinstance(array.shape, tuple):
            raise refuse("a numpy array's state is of an unknown form")
        if not all(isinstance(n, int) and n >= 0 for n in array.shape):
            raise refuse(f"a numpy array has the shape {quoted(array.shape)}")
        if math.prod(array.shape) * dtype.itemsize != len(raw):
            raise refuse(f"a numpy array of shape {quoted(array.shape)} has {len(raw)} bytes")
        if isinstance(raw, str):
            self._allowance.take(len(raw))
            raw = _encoded(raw)
        return _reshaped(np.frombuffer(raw, dtype), array.shape, array.order), True


def _encoded(raw: str) -> bytes:
    try:
        return raw.encode("latin1")
    except UnicodeEncodeError:
        raise refuse("the bytes of a numpy array are of an unknown form") from None


def _reshaped(elements: np.ndarray, shape: tuple[int, ...], order: Any = "C") -> np.ndarray:
    try:
        return elements.reshape(shape, order=order)
    except (ValueError, TypeError, OverflowError):
        raise refuse(f"an array has the shape {quoted(shape)}") from None


def _computed(view: np.ndarray, lazy: frozenset[str]) -> np.ndarray:
    """What PyTorch noted and had not yet computed."""
    conjugated = view.conj() if "conj" in lazy else view
    return -conjugated if "neg" in lazy else conjugated


def _joined_halves(array: np.ndarray) -> np.ndarray:
    """Complex numbers of two half precisions, which numpy has not, as complex64."""
    return array if array.dtype.names is None else array["real"].astype(np.complex64) + 1j * array["imag"]


def _is_plain_key(key: Any) -> bool:
    return isinstance(key, _PLAIN) or (isinstance(key, tuple) and all(isinstance(part, _PLAIN) for part in key))
