"""What stands in a tree that was unpickled for tensors, arrays and foreign objects, until `resolve` makes values of it.

None of these runs anything: they keep what the file gave them. What they keep are references, so that a file that
gives the same thing a million times takes no memory for it.
"""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Literal

import numpy as np

from score_jax.errors import InputError, quoted

_MAX_ATTRIBUTES, _MAX_NAME = 2**16, 2**9


def refuse(what: str) -> InputError:
    """The error for contents that a checkpoint has no need of."""
    return InputError(
        f"The file is not a plain checkpoint: {what}. Nothing in it was executed. Ask its authors for plain weights."
    )


class Inert:
    """Base of placeholders: their state is what their constructor checked.

    The subclasses are no dataclasses with slots: those would get a `__setstate__` of their own.
    """

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        raise refuse(f"it sets the state of a {type(self).__name__}")


@dataclasses.dataclass(frozen=True, eq=False)
class Storage(Inert):
    """A storage of elements, whose bytes may come later.

    Attributes:
      dtype: of its elements.
      read: its bytes, as one array for all who ask.
      order: of the bytes of an element.
    """

    dtype: np.dtype
    read: Callable[[], np.ndarray]
    order: Literal["<", ">"] = "<"


@dataclasses.dataclass(frozen=True, eq=False)
class Tensor(Inert):
    """A view of a storage, in elements of a type that may be another than the storage's.

    Attributes:
      storage: on which it stands.
      offset: its first element.
      size: its shape.
      stride: elements from one to the next, by axis.
      dtype: of its elements.
      lazy: "conj" and "neg", where the elements stand for their conjugates or negatives.
    """

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: np.dtype
    lazy: frozenset[str] = frozenset()


@dataclasses.dataclass(frozen=True, eq=False)
class StandIn(Inert):
    """A stand-in for a function."""

    function: Callable[..., Any]

    def __call__(self, *args: Any) -> Any:
        """What our function makes of the arguments in the file."""
        return self.function(*args)


@dataclasses.dataclass(frozen=True, eq=False)
class DTypeMark(Inert):
    """A stand-in for a torch dtype or storage class."""

    dtype: np.dtype


class PlainDict(dict):
    """A stand-in for a class of dictionaries; further state, such as `_metadata`, is dropped."""

    __slots__ = ("base",)

    def __init__(self, *args: Any) -> None:
        super().__init__()
        self.base: Any = next((arg for arg in args if isinstance(arg, dict | list | tuple)), None)

    def __setstate__(self, state: Any) -> None:
        pass

    def entries(self) -> Iterator[tuple[Any, Any]]:
        """Of the dictionary or the pairs that it was made of, then its own."""
        base = getattr(self, "base", None)
        if isinstance(base, dict):
            yield from base.items()
        for pair in base if isinstance(base, list | tuple) else ():
            if not isinstance(pair, list | tuple) or len(pair) != 2:
                raise refuse("a dictionary is made of something else than pairs")
            yield pair[0], pair[1]
        yield from self.items()


class Foreign(Inert):
    """An object, or what a call would return, of a class or function that we know nothing of; it was not called.

    `unpickle` makes a subclass for each name.
    """

    __slots__ = ("elements", "items", "state")
    name: ClassVar[str] = ""
    elements: list[Any]
    items: dict[Any, Any]
    state: Any

    def __new__(cls, *args: Any, **kwargs: Any) -> "Foreign":
        """An empty one, whatever the file would give the class."""
        made = super().__new__(cls)
        made.state, made.items, made.elements = None, {}, []
        return made

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __call__(self, *args: Any, **kwargs: Any) -> "Foreign":
        """What the object would return, as far as we know."""
        return type(self)()

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        self.items[key] = value

    def append(self, value: Any) -> None:
        """Of a class of lists."""
        self.elements.append(value)

    def extend(self, values: Any) -> None:
        """Of a class of lists."""
        self.elements.extend(values)

    def add(self, value: Any) -> None:
        """Of a class of sets."""
        self.elements.append(value)

    def entries(self) -> Iterator[tuple[Any, Any]]:
        """Its attributes and, of a class of dictionaries, its entries."""
        yield from attributes(self.state).items()
        yield from self.items.items()


def attributes(state: Any) -> dict[Any, Any]:
    """The attributes in an object's state: a dictionary, or a pair of them where the class has slots; else empty."""
    parts = state if isinstance(state, tuple) and len(state) == 2 else (state,)
    return {key: value for part in parts if isinstance(part, dict) for key, value in part.items()}


class Attributes(Inert):
    """A stand-in for a class whose instances are nothing but attributes."""

    __slots__ = ("values",)

    def __new__(cls, *args: Any, **kwargs: Any) -> "Attributes":
        """One without attributes, whatever the file would give the class."""
        made = super().__new__(cls)
        made.values = {}
        return made

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict):
            raise refuse("an object's state is no dictionary")
        self.values: Any = state


class ScriptModule(Attributes):
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
                if isinstance(value, Tensor | ScriptModule | Foreign) and not _is_name(name, prefix):
                    raise refuse(f"a module has an attribute {quoted(name)}")
                if isinstance(value, ScriptModule):
                    waiting.append((f"{prefix}{name}.", value))
                elif isinstance(value, Tensor | Foreign):
                    found[f"{prefix}{name}"] = value
        return found


def _is_name(name: Any, prefix: str) -> bool:
    return isinstance(name, str) and len(prefix) + len(name) < _MAX_NAME


class NumpyDType(Inert):
    """A numpy dtype of numbers or text; None where it is of objects, dates or fields."""

    __slots__ = ("dtype",)

    def __init__(self, spec: Any = "", *args: Any) -> None:
        self.dtype: np.dtype | None = None
        if isinstance(spec, DTypeMark):
            self.dtype = spec.dtype
        elif not isinstance(spec, str):
            raise refuse(f"it has a numpy dtype {quoted(type(spec).__name__)}")
        elif spec.lstrip("<>|=")[:1] in tuple("fiubcUS") and spec.lstrip("<>|=")[1:].isdecimal():
            self.dtype = np.dtype(spec)

    def __setstate__(self, state: Any) -> None:
        if not (isinstance(state, tuple) and len(state) >= 5 and state[1] in ("<", ">", "|", "=")):
            raise refuse("it alters a numpy dtype")
        if state[2] is not None:
            self.dtype = None
        elif self.dtype is not None:
            self.dtype = self.dtype.newbyteorder(state[1])


class NumpyArray(Inert):
    """A numpy array, whose numbers are as the file has them.

    Attributes:
      shape: of it.
      kind: type of its elements.
      raw: its bytes, or the same as characters, or a list of objects; None of an array that has nothing.
      order: "C" or "F".
    """

    __slots__ = ("kind", "order", "raw", "shape")

    def __init__(
        self,
        shape: Any = (0,),
        kind: NumpyDType | None = None,
        raw: Any = None,
        order: Any = "C",
    ):
        self.shape, self.kind, self.raw, self.order = shape, kind, raw, order

    def __setstate__(self, state: Any) -> None:
        match state:
            case (int(), tuple() as shape, NumpyDType() as kind, bool() | int() as fortran, raw):
                NumpyArray.__init__(self, shape, kind, raw, "F" if fortran else "C")
            case _:
                raise refuse("a numpy array's state is of an unknown form")
