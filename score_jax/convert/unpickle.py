"""Pickles as data: an unpickler that knows tensors and containers, and refuses every other global.

Nothing that a file names is ever imported or called. Each allowed global has an inert stand-in of ours, which checks
its arguments; none of them can be altered by the file (BUILD on a stand-in is refused), and what they return are plain
values or placeholders that `resolve` turns into numpy arrays.
"""

import dataclasses
import io
import pickle
import pickletools
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np

from score_jax.errors import InputError

STORAGE_TYPES = {
    "DoubleStorage": np.dtype(np.float64),
    "FloatStorage": np.dtype(np.float32),
    "HalfStorage": np.dtype(np.float16),
    "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "LongStorage": np.dtype(np.int64),
    "IntStorage": np.dtype(np.int32),
    "ShortStorage": np.dtype(np.int16),
    "CharStorage": np.dtype(np.int8),
    "ByteStorage": np.dtype(np.uint8),
    "BoolStorage": np.dtype(np.bool_),
    "UntypedStorage": np.dtype(np.uint8),
}
_TORCH_DTYPES = {
    "float64": "DoubleStorage",
    "double": "DoubleStorage",
    "float32": "FloatStorage",
    "float": "FloatStorage",
    "float16": "HalfStorage",
    "half": "HalfStorage",
    "bfloat16": "BFloat16Storage",
    "int64": "LongStorage",
    "long": "LongStorage",
    "int32": "IntStorage",
    "int16": "ShortStorage",
    "int8": "CharStorage",
    "uint8": "ByteStorage",
    "bool": "BoolStorage",
}
_MAX_DEPTH = 64
_MAX_ATTRIBUTES, _MAX_NAME = 2**16, 2**9


def refuse(what: str) -> InputError:
    """The error for contents that a checkpoint has no need of."""
    return InputError(f"The file is no plain checkpoint: {what}. Nothing of it was executed; get it from its authors.")


class _Inert:
    """Base of placeholders: their state is what their constructor checked.

    The subclasses are no dataclasses with slots: those would get a `__setstate__` of their own.
    """

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        raise refuse(f"it sets the state of a {type(self).__name__.lstrip('_')}")


@dataclasses.dataclass(frozen=True, eq=False)
class Storage(_Inert):
    """A storage of elements, whose bytes may come later.

    Attributes:
      dtype: of its elements.
      read: its bytes.
    """

    dtype: np.dtype
    read: Callable[[], bytes]


@dataclasses.dataclass(frozen=True, eq=False)
class _Tensor(_Inert):
    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: np.dtype

    def array(self) -> np.ndarray:
        """A copy of the elements, after checking that all of them are in the storage."""
        data = self.storage.read()
        elements = np.frombuffer(data, self.dtype, len(data) // self.dtype.itemsize)
        last = self.offset + sum((n - 1) * step for n, step in zip(self.size, self.stride, strict=True))
        if 0 in self.size:
            return np.zeros(self.size, self.dtype)
        if last >= len(elements):
            raise refuse(f"a tensor reaches to element {last} of a storage of {len(elements)}")
        strides = tuple(step * self.dtype.itemsize for step in self.stride)
        view = np.lib.stride_tricks.as_strided(elements[self.offset :], self.size, strides, writeable=False)
        if view.size > 16 * len(elements) + 1:
            raise refuse(f"a tensor of {view.size} elements stands on a storage of {len(elements)}")
        return np.ascontiguousarray(view).reshape(self.size)


@dataclasses.dataclass(frozen=True, eq=False)
class _Callable(_Inert):
    """A stand-in for a function."""

    function: Callable[..., Any]

    def __call__(self, *args: Any) -> Any:
        return self.function(*args)


@dataclasses.dataclass(frozen=True, eq=False)
class DTypeMark(_Inert):
    """A stand-in for a torch dtype or storage class."""

    dtype: np.dtype


class _Dict(dict):
    """A stand-in for a class of dictionaries; further state, such as `_metadata`, is dropped."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        pass


class _Attributes(_Inert):
    """A stand-in for a class whose instances are nothing but attributes."""

    __slots__ = ("values",)

    def __init__(self, *args: Any) -> None:
        self.values: Any = {}

    def __new__(cls, *args: Any) -> "_Attributes":
        made = super().__new__(cls)
        made.values = {}
        return made

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict):
            raise refuse("an object's state is no dictionary")
        self.values = state


class ScriptModule(_Attributes):
    """A stand-in for a class that a TorchScript archive brings as code of its own, which is not read."""

    __slots__ = ()

    def tensors(self) -> dict[str, Any]:
        """Placeholders of the tensors in it and in the modules within, by their names in a state dict."""
        found, waiting, seen = {}, [("", self)], 0
        for prefix, module in waiting:
            seen += len(module.values)
            if seen > _MAX_ATTRIBUTES:
                raise refuse("its modules are nested without end")
            for name, value in module.values.items():
                if isinstance(value, _Tensor | ScriptModule) and not _is_name(name, prefix):
                    raise refuse(f"a module has an attribute {name!r:.100}")
                if isinstance(value, ScriptModule):
                    waiting.append((f"{prefix}{name}.", value))
                elif isinstance(value, _Tensor):
                    found[f"{prefix}{name}"] = value
        return found


def _is_name(name: Any, prefix: str) -> bool:
    return isinstance(name, str) and len(prefix) + len(name) < _MAX_NAME


class _NumpyDType(_Inert):
    __slots__ = ("dtype",)

    def __init__(self, spec: Any = "", *args: Any) -> None:
        if not isinstance(spec, str) or spec.lstrip("<>|=")[:1] not in ("f", "i", "u", "b", "U", "S"):
            raise refuse(f"it has a numpy dtype {spec!r}")
        self.dtype = np.dtype(spec)

    def __setstate__(self, state: Any) -> None:
        if not (isinstance(state, tuple) and len(state) >= 5 and state[1] in ("<", ">", "|", "=") and state[2] is None):
            raise refuse("it alters a numpy dtype")
        self.dtype = self.dtype.newbyteorder(state[1])


class _NumpyArray(_Inert):
    __slots__ = ("value",)

    def __init__(self, *args: Any) -> None:
        self.value = np.zeros(0)

    def __setstate__(self, state: Any) -> None:
        match state:
            case (int(), tuple() as shape, _NumpyDType() as kind, bool() | int() as fortran, bytes() | str() as raw):
                self.value = _numpy_array(shape, kind.dtype, raw, "F" if fortran else "C")
            case _:
                raise refuse("a numpy array's state is of an unknown form")


def _numpy_array(shape: tuple, dtype: np.dtype, raw: bytes | str, order: Any = "C") -> np.ndarray:
    data = raw.encode("latin1") if isinstance(raw, str) else raw
    if not all(isinstance(n, int) and n >= 0 for n in shape) or int(np.prod(shape)) * dtype.itemsize != len(data):
        raise refuse(f"a numpy array of shape {shape} has {len(data)} bytes")
    return np.frombuffer(data, dtype).reshape(shape, order=order).copy()


def _numpy_scalar(kind: Any, raw: Any) -> Any:
    if not isinstance(kind, _NumpyDType):
        raise refuse("a numpy scalar has no dtype")
    return _numpy_array((), kind.dtype, raw).item()


def _is_count(*values: Any) -> bool:
    return all(isinstance(value, int) and 0 <= value < 2**48 for value in values)


def _rebuild_tensor(storage: Any, offset: Any, size: Any, stride: Any, *rest: Any, dtype: Any = None) -> _Tensor:
    if not (isinstance(storage, Storage) and isinstance(size, tuple) and isinstance(stride, tuple)):
        raise refuse("a tensor is built of something else than a storage")
    if len(size) != len(stride) or not _is_count(offset, *size, *stride):
        raise refuse(f"a tensor has offset {offset}, size {size} and stride {stride}")
    return _Tensor(storage, offset, size, stride, storage.dtype if dtype is None else dtype)


def _rebuild_tensor_v3(storage: Any, offset: Any, size: Any, stride: Any, grad: Any, hooks: Any, kind: Any, *rest: Any):
    if not isinstance(kind, DTypeMark):
        raise refuse("a tensor has no dtype")
    return _rebuild_tensor(storage, offset, size, stride, dtype=kind.dtype)


def _rebuild_parameter(data: Any, *rest: Any) -> _Tensor:
    if not isinstance(data, _Tensor):
        raise refuse("a parameter is no tensor")
    return data


def _persistent_object(meta: Any) -> Any:
    """Of NVlabs' `persistence`: the state; the source code beside it is ignored."""
    if not (isinstance(meta, dict) and isinstance(meta.get("state"), dict)):
        raise refuse("a persistent object has no state")
    return meta["state"]


def _latin1(text: Any, encoding: Any = "latin1") -> bytes:
    if not isinstance(text, str) or encoding != "latin1":
        raise refuse("it encodes bytes in an unusual way")
    return text.encode("latin1")


def _typed(value: Any, *kind: Any) -> Any:
    """Of TorchScript's containers, which say the type of their elements."""
    if not isinstance(value, list | dict):
        raise refuse("a container is something else")
    return value


def _sequence(values: Any = ()) -> tuple:
    if not isinstance(values, tuple | list):
        raise refuse("a sequence is made of something else")
    return tuple(values)


_GLOBALS: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): _Dict,
    ("collections", "defaultdict"): _Callable(lambda *args: _Dict()),
    ("dnnlib.util", "EasyDict"): _Dict,
    ("argparse", "Namespace"): _Attributes,
    ("builtins", "set"): _Callable(_sequence),
    ("__builtin__", "set"): _Callable(_sequence),
    ("_codecs", "encode"): _Callable(_latin1),
    ("torch", "Size"): _Callable(_sequence),
    ("torch", "device"): _Callable(lambda *args: "device"),
    ("torch._utils", "_rebuild_tensor"): _Callable(_rebuild_tensor),
    ("torch._utils", "_rebuild_tensor_v2"): _Callable(_rebuild_tensor),
    ("torch._utils", "_rebuild_tensor_v3"): _Callable(_rebuild_tensor_v3),
    ("torch._utils", "_rebuild_parameter"): _Callable(_rebuild_parameter),
    ("torch._utils", "_rebuild_parameter_with_state"): _Callable(_rebuild_parameter),
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): _Callable(_persistent_object),
    ("numpy", "ndarray"): _NumpyArray,
    ("numpy", "dtype"): _NumpyDType,
}
for _module in ("numpy.core.multiarray", "numpy._core.multiarray"):
    _GLOBALS[_module, "_reconstruct"] = _Callable(lambda *args: _NumpyArray())
    _GLOBALS[_module, "scalar"] = _Callable(_numpy_scalar)
for _name in ("build_intlist", "build_doublelist", "build_boollist", "build_tensorlist", "restore_type_tag"):
    _GLOBALS["torch.jit._pickle", _name] = _Callable(_typed)
for _name, _dtype in STORAGE_TYPES.items():
    for _module in ("torch", "torch.storage", "torch.cuda"):
        _GLOBALS[_module, _name] = DTypeMark(_dtype)
for _name, _storage in _TORCH_DTYPES.items():
    _GLOBALS["torch", _name] = DTypeMark(STORAGE_TYPES[_storage])


class _Unpickler(pickle.Unpickler):
    """The interpreter of pickles, with our globals in place of Python's."""

    def __init__(self, file: io.BytesIO, storage: Callable[[Any], Storage], from_bytes: Callable[[bytes], Any]):
        super().__init__(file, encoding="latin1")
        self._storage, self._from_bytes = storage, from_bytes

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("torch.storage", "_load_from_bytes"):
            return _Callable(self._from_bytes)
        if module.startswith("torch.nn.modules.") and name.isidentifier():
            return _Attributes
        if f"{module}.".startswith("__torch__.") and name.isidentifier():
            return ScriptModule
        if (module, name) not in _GLOBALS:
            raise refuse(f"it wants to call {module}.{name}")
        return _GLOBALS[module, name]

    def persistent_load(self, pid: Any) -> Storage:
        return self._storage(pid)


def _check_memo(file: io.BytesIO) -> None:
    """Refuses a pickle that numbers its objects so high that the table of them would fill the memory."""
    start, size = file.tell(), file.getbuffer().nbytes
    for opcode, argument, _ in pickletools.genops(file):
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and int(argument or 0) > size:
            raise refuse(f"it numbers an object {argument}")
    file.seek(start)


def _no_storage(pid: Any) -> Storage:
    raise refuse("it refers to a storage outside itself")


def unpickle(
    file: io.BytesIO,
    storage: Callable[[Any], Storage] = _no_storage,
    from_bytes: Callable[[bytes], Any] = lambda data: None,
) -> Any:
    """The next object in a pickle stream, with placeholders for tensors.

    Args:
      file: the stream, left behind the object.
      storage: the storage of a persistent id.
      from_bytes: the storage in a byte string that holds a file of its own.

    Raises:
      InputError: the pickle is damaged, or wants anything but data.
    """
    try:
        _check_memo(file)
        return _Unpickler(file, storage, from_bytes).load()
    except InputError:
        raise
    except RecursionError:
        raise refuse("its objects are nested too deeply") from None
    except Exception as error:  # a damaged pickle can raise anything from within the interpreter
        raise InputError(f"The pickle in the file is damaged ({error!r:.200}): download it again.") from None


def resolve(value: Any) -> Any:
    """A tree of plain values: dictionaries, lists, tuples, numpy arrays, numbers and strings.

    Raises:
      InputError: a tensor does not fit its storage, or the tree is nested too deeply.
    """
    return _resolve(value, 0, {})


def _resolve(value: Any, depth: int, done: dict[int, Any]) -> Any:
    """`done` keeps what is shared shared, so that a small file cannot unfold into a large tree."""
    if depth > _MAX_DEPTH:
        raise refuse("its objects are nested too deeply")
    if id(value) not in done:
        done[id(value)] = _resolved(value, depth, done)
    return done[id(value)]


def _resolved(value: Any, depth: int, done: dict[int, Any]) -> Any:
    if isinstance(value, _Tensor):
        return value.array()
    if isinstance(value, Storage):
        return np.frombuffer(value.read(), value.dtype)
    if isinstance(value, _NumpyArray):
        return value.value
    if isinstance(value, _Attributes):
        return _resolve(value.values, depth + 1, done)
    if isinstance(value, dict):
        return {key: _resolve(item, depth + 1, done) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_resolve(item, depth + 1, done) for item in value)
    return None if isinstance(value, _Inert) else value
