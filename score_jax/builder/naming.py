"""A section of a config, `{name, **arguments}`, to what the name stands for."""

import functools
import inspect
import operator
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

from score_jax.builder.options import Values, check_type
from score_jax.errors import InputError, unknown_name

_PLAIN = (int, float, str, bool, type(None))


def construct(
    section: str,
    table: Mapping[str, Callable],
    values: Mapping[str, Any],
    possible: Mapping[str, Values],
    *,
    name_key: str = "name",
    choices: Mapping[str, Mapping[str, Any]] | None = None,
    given: Mapping[str, Any] | None = None,
) -> Any:
    """Returns `table[name](**arguments)`.

    Args:
      section: of the config.
      table: what the name stands for.
      values: the section's, the name among them.
      possible: the values that some of its keys may have.
      name_key: the key of the name.
      choices: of keys whose text stands for something, what.
      given: arguments that are not the section's to state.

    Raises:
      InputError: the name or an argument is unknown (with the nearest valid one) or missing, or a value is not
        possible.
    """
    choices, given, arguments = choices or {}, given or {}, dict(values)
    if name_key not in arguments:
        for key in arguments:  # of which one may be the name, misspelt
            if key not in {other for make in table.values() for other in arguments_of(make)} | set(choices):
                raise unknown_name(f"key of {section}:", key, (name_key, *choices))
        raise InputError(f"{section}.{name_key} is missing: give one of {', '.join(sorted(table))}.")
    make = choose(f"{section}.{name_key}", table, arguments.pop(name_key))
    hints = {key: hint for key, hint in arguments_of(make).items() if key not in given}
    for key, value in arguments.items():
        if key in choices:
            arguments[key] = choose(f"{section}.{key}", choices[key], value)
            continue
        if key not in hints:
            raise unknown_name(f"key of {section}:", key, (name_key, *hints, *choices))
        check_type(f"{section}.{key}", value, hints[key])
        possible.get(key, Values()).check(f"{section}.{key}", value)
    for key, parameter in inspect.signature(make).parameters.items():
        if parameter.default is parameter.empty and key not in arguments and key not in given:
            raise InputError(f"{section}.{key} is missing: {section}.{name_key}={values[name_key]!r} needs it.")
    return make(**arguments, **given)


def arguments_of(make: Callable) -> dict[str, Any]:
    """Returns the arguments that a config can state, and their types."""
    hints = {key: _stateable(p.annotation) for key, p in inspect.signature(make).parameters.items()}
    return {key: hint for key, hint in hints.items() if hint is not None and key not in ("parent", "name")}


def _stateable(hint: Any) -> Any:
    """What of a type a config can state: numbers, texts, truth values, None, and tuples; None where that is nothing."""
    union = typing.get_origin(hint) in (types.UnionType, typing.Union)
    parts = [part for part in (typing.get_args(hint) if union else (hint,))]
    plain = [part for part in parts if part in _PLAIN or typing.get_origin(part) is tuple]
    return functools.reduce(operator.or_, plain) if set(plain) - {type(None)} else None


def choose(key: str, table: Mapping[str, Any], name: Any) -> Any:
    """Returns `table[name]`.

    Raises:
      InputError: the name is unknown.
    """
    if not isinstance(name, str) or name not in table:
        raise unknown_name(key, str(name), table)
    return table[name]
