"""A section of a config, `{name, **arguments}`, to what the name stands for."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from score_jax.builder.options import Values, check_type
from score_jax.errors import unknown_name


def construct(
    section: str, table: Mapping[str, Callable], values: dict[str, Any], possible: Mapping[str, Values] | None = None
) -> Any:
    """`table[name](**rest)`.

    Args:
      section: of the config.
      table: what the name stands for.
      values: the section's.
      possible: the values that some of its keys may have.

    Raises:
      InputError: the name or an argument is unknown (with the nearest valid one), or a value is not possible.
    """
    values = dict(values)
    name = choose(f"{section}.name", table, values.pop("name"))
    known = [p for p in inspect.signature(name).parameters if p not in ("parent", "name")]
    for key in values:
        if key not in known:
            raise unknown_name(f"key of {section}:", key, known)
        _check_value(
            f"{section}.{key}", values[key], inspect.signature(name).parameters[key], (possible or {}).get(key)
        )
    return name(**values)


def _check_value(key: str, value: Any, parameter: inspect.Parameter, possible: Values | None) -> None:
    """Raises InputError where a value has another type than the parameter's annotation says, or is not possible."""
    hint = parameter.annotation
    if isinstance(hint, str):
        hint = _PLAIN.get(hint, Any)
    check_type(key, value, hint)
    (possible or Values()).check(key, value)


_PLAIN: dict[str, Any] = {"int": int, "float": float, "bool": bool, "str": str}
"""Annotations that may be texts."""


def choose(key: str, table: Mapping[str, Any], name: str) -> Any:
    """`table[name]`.

    Raises:
      InputError: the name is unknown.
    """
    if name not in table:
        raise unknown_name(key, name, table)
    return table[name]
