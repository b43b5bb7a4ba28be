"""Options of a section of a config: a frozen dataclass whose fields state defaults, meanings and possible values.

A section is `{name, **arguments}` where methods can be chosen, one dataclass for each, else `{**arguments}`. Keys that
the dataclass does not have, values of another type and values out of range are one line each.
"""

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, TypeVar

from score_jax.errors import InputError, quoted, unknown_name

_BOUNDS: dict[str, tuple[Callable[[Any, Any], bool], str]] = {
    "least": (lambda value, bound: value >= bound, "at least {}"),
    "above": (lambda value, bound: value > bound, "more than {}"),
    "most": (lambda value, bound: value <= bound, "at most {}"),
    "below": (lambda value, bound: value < bound, "less than {}"),
}
CONTINUOUS, CHAIN, KERNELS, CODES = KINDS = ("continuous", "chain", "kernels", "codes")
"""Of processes: in continuous time, of levels, of levels whose reverse kernels are what a model learns, and none, where
codes are drawn one after another."""
_OF_KINDS = {
    (CONTINUOUS,): "only in continuous time",
    (CONTINUOUS, CHAIN): "only for models that predict x0",
    KINDS: "",
}
_KIND = {
    CHAIN: "the process is a chain of levels",
    KERNELS: "this model learns the reverse kernels of a chain of levels",
    CODES: "this model draws codes one after another",
}
_TYPES = {int: "a whole number", float: "a number", str: "a text", bool: "True or False"}


@dataclasses.dataclass(frozen=True)
class Values:
    """The values that a key may have, of a number or of each number of a tuple.

    Attributes:
      least, above, most, below: bounds; None: none.
      one_of: the only texts that are possible; None: any.
      filled: a tuple has an entry at least.
    """

    least: float | int | None = None
    above: float | int | None = None
    most: float | int | None = None
    below: float | int | None = None
    one_of: tuple[str, ...] | None = None
    filled: bool = False

    def check(self, key: str, value: Any) -> None:
        """Raises InputError where the value of `section.key` is none of these, or not finite."""
        if self.filled and value == ():
            raise InputError(f"{key}=(): give an entry at least.")
        for part in value if isinstance(value, tuple) else (value,):
            if self.one_of is not None and part not in self.one_of:
                if isinstance(value, tuple) and isinstance(part, str) and (not part or "," in part):
                    names = tuple(name.strip() for name in part.split(",") if name.strip())
                    raise InputError(f'{key}={quoted(part)}: write several as --config.{key}="{names}".')
                raise unknown_name(key, str(part), self.one_of)
            if isinstance(part, float) and not math.isfinite(part):
                raise InputError(f"{key}={quoted(value)}: give a finite number.")
            if isinstance(part, int | float) and not self._holds(part):
                raise InputError(f"{key}={quoted(value)}: give {self.described()}.")

    def _holds(self, number: float | int) -> bool:
        bounds = [(holds, getattr(self, name)) for name, (holds, _) in _BOUNDS.items()]
        return all(bound is None or holds(number, bound) for holds, bound in bounds)

    def described(self) -> str:
        """For a message or a help text: `at least 0 and less than 1`; "" where all values are possible."""
        if self.one_of is not None:
            return ", ".join(self.one_of)
        bounds = [(text, getattr(self, name)) for name, (_, text) in _BOUNDS.items()]
        return " and ".join(
            text.format(bound if isinstance(bound, int) else f"{bound:g}")
            for text, bound in bounds
            if bound is not None
        )


def option(
    default: Any,
    meaning: str,
    *,
    one_of: Iterable[str] | None = None,
    where: Mapping[str, tuple[Any, ...]] | None = None,
    continuous: bool = False,
    predicted: bool = False,
    **bounds: Any,
) -> Any:
    """Makes a field of options.

    Args:
      default: its value where a config does not state the key.
      meaning: one line for `python -m score_jax help`, with units.
      one_of: the only texts that are possible.
      where: it is read where these other keys of the section have one of these values.
      continuous: it is read of processes in continuous time alone, not of chains of levels.
      predicted: it is read of models that predict x0, not of those that learn their reverse kernels.
      bounds: of a number, as `Values` names them.
    """
    values = Values(one_of=None if one_of is None else tuple(one_of), **bounds)
    kinds = (CONTINUOUS,) if continuous else (CONTINUOUS, CHAIN) if predicted else KINDS
    metadata = {"meaning": meaning, "values": values, "where": where or {}, "kinds": kinds}
    return dataclasses.field(default=default, metadata=metadata)


def count(default: int, meaning: str, *, least: int = 1, **read: Any) -> Any:
    """Makes a field that counts something; `read` as of `option`."""
    return option(default, meaning, least=least, **read)


def seed(default: int, meaning: str) -> Any:
    """Makes a field that holds a seed: JAX reads 32 bits, so that larger ones would equal smaller ones."""
    return option(default, meaning, least=0, most=2**32 - 1)


@dataclasses.dataclass(frozen=True)
class Options:
    """What all options share: their values are checked when they are made.

    Attributes:
      SECTION: the section of the config.
    """

    SECTION: ClassVar[str] = ""

    def __post_init__(self):
        for field in dataclasses.fields(self):
            field.metadata["values"].check(f"{self.SECTION}.{field.name}", getattr(self, field.name))
        self.check_read()

    def check_read(self, kind: str = CONTINUOUS) -> None:
        """Raises InputError where an option that is not at its default is not read, of a kind of process or at all."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        for key, why in unread(type(self), values, kind).items():
            if values[key] != defaults_of(type(self))[key]:
                raise InputError(f"{self.SECTION}.{key}={quoted(values[key])} is not read here: {why}. Leave it out.")


def _has_type(value: Any, hint: Any) -> bool:
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return any(_has_type(value, part) for part in parts)
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        each = [parts[0]] * len(value) if parts[-1] is Ellipsis else parts
        return len(value) == len(each) and all(_has_type(*pair) for pair in zip(value, each, strict=True))
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return hint not in (str, bool, type(None)) or isinstance(value, hint)


def _type_in_words(hint: Any) -> str:
    if typing.get_origin(hint) is tuple:
        parts = typing.get_args(hint)
        of = "" if parts[-1] is Ellipsis else f"{len(parts)} of them "
        return f"a tuple ({of}each {_type_in_words(parts[0])})"
    alternatives = [part for part in typing.get_args(hint) if part is not type(None)]
    return " or ".join(map(_type_in_words, alternatives)) if alternatives else _TYPES.get(hint, str(hint))


def check_type(key: str, value: Any, hint: Any) -> None:
    """Raises InputError where the value of `section.key` is not of the type that an annotation says."""
    if not _has_type(value, hint):
        raise InputError(f"{key}={quoted(value)}: give {_type_in_words(hint)}.")


Made = TypeVar("Made", bound=Options)
Table = Mapping[str, type[Options]]
"""The methods of a section by name."""


def keys_of(options: type[Options]) -> list[str]:
    """Returns the keys that a method, or a section without methods, reads."""
    return [field.name for field in dataclasses.fields(options)]


def defaults_of(options: type[Options]) -> dict[str, Any]:
    """Returns the default of each key."""
    return {field.name: field.default for field in dataclasses.fields(options)}


def unread(options: type[Options], values: Mapping[str, Any], kind: str = CONTINUOUS) -> dict[str, str]:
    """Returns the keys that a method reads, but not beside these values, each with the reason.

    Args:
      options: of the method.
      values: by key; of keys that are left out, their defaults.
      kind: of the process, of `KINDS`.
    """
    values, reasons = defaults_of(options) | dict(values), {}
    for field in dataclasses.fields(options):
        if kind not in field.metadata["kinds"]:
            reasons[field.name] = f"it has a meaning {_OF_KINDS[field.metadata['kinds']]}, and {_KIND[kind]}"
        for other, read in field.metadata["where"].items():
            if values[other] not in read:
                wanted = " or ".join(str(value) for value in read)
                reasons[field.name] = (
                    f"it needs {other}={wanted}, and {options.SECTION}.{other}={quoted(values[other])}"
                )
    return reasons


def unread_key(section: str, key: str, table: Table, name: str) -> InputError:
    """Returns the error for a key that a method does not read: which methods do, or the nearest key that it reads."""
    others = [other for other, options in table.items() if key in keys_of(options)]
    if others:
        return InputError(
            f"{section}.{key} is not read by {section}.name={name!r}, but by {', '.join(sorted(others))}: choose one "
            "of these, or leave the key out."
        )
    known = sorted(["name", *keys_of(table[name])])
    every = {key for options in table.values() for key in keys_of(options)}
    near = difflib.get_close_matches(key, known, n=1) or difflib.get_close_matches(key, sorted(every), n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return InputError(f"Unknown key of {section} {key!r}.{hint} {section}.name={name!r} reads {', '.join(known)}.")


def _typed(options: type[Made], values: Mapping[str, Any]) -> Made:
    """The options, after a check of the values' types; whole numbers are numbers too."""
    hints = typing.get_type_hints(options)
    for key, value in values.items():
        check_type(f"{options.SECTION}.{key}", value, hints[key])
    return options(**{key: float(value) if hints[key] is float else value for key, value in values.items()})


def make(options: type[Made], values: Mapping[str, Any]) -> Made:
    """Returns the options of a section without methods.

    Raises:
      InputError: a key is unknown, or a value is of another type or out of range.
    """
    for key in values:
        if key not in keys_of(options):
            raise unknown_name(f"key of {options.SECTION}:", key, keys_of(options))
    return _typed(options, values)


def make_method(section: str, table: Mapping[str, type[Made]], values: Mapping[str, Any]) -> Made:
    """Returns the options of the method that a section names.

    Raises:
      InputError: the name is missing or unknown, the method does not read a key, or a value is of another type or out
        of range.
    """
    arguments = dict(values)
    name = arguments.pop("name", None)
    if not isinstance(name, str) or name not in table:
        raise unknown_name(f"{section}.name", str(name), table)
    for key in arguments:
        if key not in keys_of(table[name]):
            raise unread_key(section, key, table, name)
    return _typed(table[name], arguments)


def described(options: type[Options]) -> list[str]:
    """Returns a line for each key: its name, default, meaning, possible values, and where it is read."""
    lines = []
    for field in dataclasses.fields(options):
        notes = [field.metadata["values"].described()]
        where = [f"{other}={' or '.join(map(str, read))}" for other, read in field.metadata["where"].items()]
        notes.append(f"only with {' and '.join(where)}" if where else "")
        notes.append(_OF_KINDS[field.metadata["kinds"]])
        line = f"{field.name}={field.default!r}  {field.metadata['meaning']}"
        notes = [note for note in notes if note]
        lines.append(line + (f" ({'; '.join(notes)})" if notes else ""))
    return lines
