"""Pickles as data: an unpickler that knows tensors and containers, and lets every other global stand for nothing.

Nothing that a file names is ever imported or called. Each known global has an inert stand-in of ours, which checks
its arguments; none of them can be altered by the file (BUILD on a stand-in is refused). Any other global becomes a
class of its own without contents, whose calls and instances are placeholders too. `resolve` turns what comes out into
plain values.
"""

import io
import pickle
import pickletools
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np

from score_jax.convert.placeholders import (
    Attributes,
    DTypeMark,
    Foreign,
    NumpyArray,
    NumpyDType,
    PlainDict,
    ScriptModule,
    StandIn,
    Storage,
    Tensor,
    refuse,
)
from score_jax.convert.resolve import resolve
from score_jax.errors import InputError, named, quoted

__all__ = ["resolve", "unpickle"]

_HALVES = np.dtype([("real", np.float16), ("imag", np.float16)])
_STORAGES = {
    "DoubleStorage": np.float64,
    "FloatStorage": np.float32,
    "HalfStorage": np.float16,
    "BFloat16Storage": ml_dtypes.bfloat16,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ShortStorage": np.int16,
    "CharStorage": np.int8,
    "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
    "ComplexFloatStorage": np.complex64,
    "ComplexDoubleStorage": np.complex128,
    "UntypedStorage": np.uint8,
    # Of quantized tensors, which are foreign; their storages are in the file all the same.
    **{"QInt8Storage": np.int8, "QUInt8Storage": np.uint8, "QInt32Storage": np.int32},
    **{"QUInt4x2Storage": np.uint8, "QUInt2x4Storage": np.uint8},
}
_FLOAT8 = ("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu")
_TORCH_DTYPES: dict[str, Any] = {
    **{"double": np.float64, "float": np.float32, "half": np.float16, "bfloat16": ml_dtypes.bfloat16},
    **{"long": np.int64, "int": np.int32, "short": np.int16, "bool": np.bool_},
    **{"chalf": _HALVES, "cfloat": np.complex64, "cdouble": np.complex128},
    **{"complex32": _HALVES, "complex64": np.complex64, "complex128": np.complex128},
    **{f"float{bits}": np.dtype(f"f{bits // 8}") for bits in (16, 32, 64)},
    **{f"{sign}int{bits}": np.dtype(f"{sign or 'i'}{bits // 8}") for sign in ("u", "") for bits in (8, 16, 32, 64)},
    **{name: getattr(ml_dtypes, name) for name in _FLOAT8},
}
_MAX_OPCODES, _MAX_FOREIGN, _MAX_SCALAR = 2**22, 2**12, 2**10


def _is_count(*values: Any) -> bool:
    return all(isinstance(value, int) and 0 <= value < 2**48 for value in values)


def _foreign(name: str) -> type[Foreign]:
    """The class that stands for a global of this name."""
    return type("Foreign", (Foreign,), {"__slots__": (), "name": name})


_OBJECT = _foreign("a numpy object")


def _rebuild_tensor(storage: Any, offset: Any, size: Any, stride: Any, *rest: Any, dtype: Any = None) -> Any:
    if isinstance(storage, Foreign):
        return storage
    if not (isinstance(storage, Storage) and isinstance(size, tuple) and isinstance(stride, tuple)):
        raise refuse("a tensor is built of something else than a storage")
    if len(size) != len(stride) or not _is_count(offset, *size, *stride):
        raise refuse(f"a tensor has offset {quoted(offset)}, size {quoted(size)} and stride {quoted(stride)}")
    notes = next((note for note in rest if isinstance(note, dict) and ("conj" in note or "neg" in note)), {})
    lazy = frozenset(name for name in ("conj", "neg") if notes.get(name))
    return Tensor(storage, offset, size, stride, storage.dtype if dtype is None else dtype, lazy)


def _rebuild_tensor_v3(storage: Any, offset: Any, size: Any, stride: Any, grad: Any, hooks: Any, kind: Any, *rest: Any):
    if isinstance(kind, type) and issubclass(kind, Foreign):
        return kind()  # of a type that numpy has not
    if not isinstance(kind, DTypeMark):
        raise refuse("a tensor has no dtype")
    return _rebuild_tensor(storage, offset, size, stride, *rest, dtype=kind.dtype)


def _rebuild_parameter(data: Any, *rest: Any) -> Any:
    if not isinstance(data, Tensor | Foreign | NumpyArray):
        raise refuse("a parameter is no tensor")
    return data


def _rebuild_from_type(build: Any, kind: Any, args: Any, *state: Any) -> Any:
    """Of a subclass of tensors, or a tensor with attributes, which are dropped."""
    known = isinstance(build, StandIn) and build.function in _TENSOR_BUILDERS.values()
    if not (known or (isinstance(build, type) and issubclass(build, Foreign))) or not isinstance(args, tuple):
        raise refuse("a tensor with attributes is built of something else")
    return build(*args)


def _from_numpy(data: Any, *rest: Any) -> Any:
    """Of tensors on devices, such as TPUs, that PyTorch stores through numpy."""
    if not isinstance(data, NumpyArray):
        raise refuse("a tensor is no array")
    return data


_TENSOR_BUILDERS: dict[tuple[str, str], Callable[..., Any]] = {
    ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v3"): _rebuild_tensor_v3,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _rebuild_parameter,
    ("torch._utils", "_rebuild_xla_tensor"): _from_numpy,
    ("torch._utils", "_rebuild_device_tensor_from_numpy"): _from_numpy,
}


def _numpy_scalar(kind: Any, raw: Any = b"") -> Any:
    if not isinstance(kind, NumpyDType):
        raise refuse("a numpy scalar has no dtype")
    if kind.dtype is None or kind.dtype.itemsize > _MAX_SCALAR:
        return _OBJECT()
    data = raw.encode("latin1") if isinstance(raw, str) else raw
    if not isinstance(data, bytes) or len(data) != kind.dtype.itemsize:
        raise refuse("a numpy scalar has not the bytes of its type")
    return np.frombuffer(data, kind.dtype)[0].item()


def _numpy_from_buffer(raw: Any, kind: Any, shape: Any, order: Any, *rest: Any) -> NumpyArray:
    if not isinstance(kind, NumpyDType) or not isinstance(shape, tuple):
        raise refuse("a numpy array has no dtype or no shape")
    return NumpyArray(shape, kind, raw, order if order in ("C", "F") else "C")


def _jax_array(build: Any, args: Any, state: Any, *rest: Any) -> NumpyArray:
    made = NumpyArray()
    made.__setstate__(state)
    return made


def _persistent_object(meta: Any) -> Any:
    """Of NVlabs' `persistence`: the state; the source code beside it is ignored."""
    if not (isinstance(meta, dict) and isinstance(meta.get("state"), dict)):
        raise refuse("a persistent object has no state")
    return meta["state"]


def _bare_object(kind: Any, *base: Any) -> Any:
    """Of classes that pickle by the oldest protocols: an instance whose state follows."""
    if not (isinstance(kind, type) and issubclass(kind, Foreign | Attributes | PlainDict)):
        raise refuse("an object is of no class")
    made = kind(*base[1:])
    if isinstance(made, Foreign) and len(base) > 1:
        made.items = base[1] if isinstance(base[1], dict) else {}
        made.elements = base[1] if isinstance(base[1], list) else []
    return made


def _typed(value: Any, *kind: Any) -> Any:
    """Of TorchScript's containers, which say the type of their elements."""
    if not isinstance(value, list | dict):
        raise refuse("a container is something else")
    return value


def _complex(*parts: Any) -> complex:
    if len(parts) > 2 or not all(isinstance(part, int | float) for part in parts):
        raise refuse("a complex number is made of something else than numbers")
    return complex(*parts)


def _device(*parts: Any) -> str:
    return ":".join(str(part) for part in parts if isinstance(part, str | int))[:_MAX_SCALAR]


_CLASSES: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): PlainDict,
    ("collections", "defaultdict"): PlainDict,
    ("collections", "Counter"): PlainDict,
    ("dnnlib.util", "EasyDict"): PlainDict,
    ("flax.core.frozen_dict", "FrozenDict"): PlainDict,
    ("argparse", "Namespace"): Attributes,
    ("types", "SimpleNamespace"): Attributes,
    ("numpy", "ndarray"): NumpyArray,
    ("numpy", "dtype"): NumpyDType,
}
_FUNCTIONS: dict[tuple[str, str], Callable[..., Any]] = {
    ("torch", "device"): _device,
    ("builtins", "complex"): _complex,
    ("__builtin__", "complex"): _complex,
    ("torch._tensor", "_rebuild_from_type_v2"): _rebuild_from_type,
    ("torch._tensor", "_rebuild_from_type"): _rebuild_from_type,
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): _persistent_object,
    ("jax._src.array", "_reconstruct_array"): _jax_array,
    ("copyreg", "_reconstructor"): _bare_object,
    ("copy_reg", "_reconstructor"): _bare_object,
    **_TENSOR_BUILDERS,
}
for _module in ("numpy.core", "numpy._core"):
    _FUNCTIONS[f"{_module}.multiarray", "_reconstruct"] = lambda *args: NumpyArray()
    _FUNCTIONS[f"{_module}.multiarray", "scalar"] = _numpy_scalar
    _FUNCTIONS[f"{_module}.numeric", "_frombuffer"] = _numpy_from_buffer
for _name in ("build_intlist", "build_doublelist", "build_boollist", "build_tensorlist", "restore_type_tag"):
    _FUNCTIONS["torch.jit._pickle", _name] = _typed
_GLOBALS: dict[tuple[str, str], Any] = {
    **_CLASSES,
    **{name: StandIn(function) for name, function in _FUNCTIONS.items()},
    **{(m, s): DTypeMark(np.dtype(t)) for m in ("torch", "torch.storage", "torch.cuda") for s, t in _STORAGES.items()},
    **{("torch", name): DTypeMark(np.dtype(kind)) for name, kind in _TORCH_DTYPES.items()},
    **{("ml_dtypes", name): DTypeMark(np.dtype(getattr(ml_dtypes, name))) for name in ("bfloat16", *_FLOAT8)},
}
_SEQUENCES = (
    ("torch", "Size"),
    *((m, n) for m in ("builtins", "__builtin__") for n in ("set", "frozenset", "list", "tuple")),
)
_BYTES = (("_codecs", "encode"), ("builtins", "bytearray"), ("__builtin__", "bytearray"), ("builtins", "bytes"))
_PATHS = tuple(
    (module, kind)
    for module in ("pathlib", "pathlib._local")
    for kind in ("Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath")
)


class _Unpickler(pickle.Unpickler):
    """The interpreter of pickles, with our globals in place of Python's."""

    def __init__(self, file: Any, storage: Callable[[Any], Any], from_bytes: Callable[[bytes], Any], size: int):
        super().__init__(file, encoding="latin1")
        self._storage, self._from_bytes = storage, from_bytes
        self._foreign: dict[tuple[str, str], type[Foreign]] = {}
        self._encoded: dict[str, bytes] = {}
        self._copied, self._size = 0, size
        self._own = {
            **{name: StandIn(self._sequence) for name in _SEQUENCES},
            **{name: StandIn(self._bytes) for name in _BYTES},
            **{name: StandIn(self._path) for name in _PATHS},
            ("torch.storage", "_load_from_bytes"): StandIn(from_bytes),
        }

    def find_class(self, module: str, name: str) -> Any:
        key = (module, name)
        if key in self._own:
            return self._own[key]
        if key in _GLOBALS:
            return _GLOBALS[key]
        if module.startswith("torch.nn.modules.") and name.isidentifier():
            return Attributes
        if f"{module}.".startswith("__torch__.") and name.isidentifier():
            return ScriptModule
        if key not in self._foreign:
            if len(self._foreign) >= _MAX_FOREIGN:
                raise refuse(f"it names more than {_MAX_FOREIGN} foreign classes and functions")
            self._foreign[key] = _foreign(named(f"{module}.{name}"))
        return self._foreign[key]

    def persistent_load(self, pid: Any) -> Any:
        return self._storage(pid)

    def _copy(self, count: int) -> None:
        """Counts what calls copy: a file may make the same call over and over."""
        self._copied += count
        if self._copied > _MAX_OPCODES + self._size:
            raise refuse("it copies its contents over and over")

    def _sequence(self, values: Any = ()) -> tuple:
        if isinstance(values, tuple):
            return values
        if not isinstance(values, list | set | frozenset):
            raise refuse("a sequence is made of something else")
        self._copy(len(values))
        return tuple(values)

    def _bytes(self, data: Any = b"", encoding: Any = "latin1") -> Any:
        """Of bytes as the older protocols have them: characters up to 255."""
        if isinstance(data, bytes | bytearray):
            return data
        if not isinstance(data, str) or encoding not in ("latin1", "latin-1"):
            raise refuse("it encodes bytes in an unusual way")
        if data not in self._encoded:
            self._encoded[data] = data.encode("latin1")
        return self._encoded[data]

    def _path(self, *parts: Any) -> Any:
        texts = [part for part in parts if isinstance(part, str)]
        self._copy(sum(map(len, texts)))
        return "/".join(texts).replace("//", "/", 1)


def size_left(file: Any) -> int:
    """Bytes from where a file stands to its end."""
    start = file.tell()
    size = file.seek(0, io.SEEK_END) - start
    file.seek(start)
    return size


def _check_opcodes(file: Any, size: int) -> None:
    """Refuses a pickle that makes so many objects, or numbers them so high, that they would fill the memory."""
    start = file.tell()
    for count, (opcode, argument, _) in enumerate(pickletools.genops(file)):
        if count > _MAX_OPCODES:
            raise refuse(f"it makes more than {_MAX_OPCODES} objects")
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and int(argument or 0) > size:
            raise refuse(f"it numbers an object {argument}")
    file.seek(start)


def _no_storage(pid: Any) -> Any:
    raise refuse("it refers to a storage outside itself")


def unpickle(
    file: Any,
    storage: Callable[[Any], Any] = _no_storage,
    from_bytes: Callable[[bytes], Any] = lambda data: None,
) -> Any:
    """The next object in a pickle stream, with placeholders for tensors and foreign objects.

    Args:
      file: the stream, an open file or one in memory; left behind the object.
      storage: the storage of a persistent id.
      from_bytes: the storage in a byte string that holds a file of its own.

    Raises:
      InputError: the pickle is damaged, or gives a stand-in what no checkpoint gives it.
    """
    try:
        size = size_left(file)
        _check_opcodes(file, size)
        return _Unpickler(file, storage, from_bytes, size).load()
    except InputError:
        raise
    except RecursionError:
        raise refuse("its objects are nested too deeply") from None
    except Exception as error:  # a damaged pickle can raise anything from within the interpreter
        raise InputError(f"The pickle in the file is damaged ({quoted(repr(error))}): download it again.") from None
