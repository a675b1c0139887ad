"""Whether a value that was read from JSON has the shape that a type of `messages` names.

Invariant: what a target writes into the pipes of its process is no message until all of it fits; who reads a message
that fits finds every field in it, of the type that is written there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from types import UnionType
from typing import Any, Literal, NotRequired, Union, get_args, get_origin, get_type_hints, is_typeddict


def fits(value: object, shape: Any) -> bool:
    """True where all of the value has the shape: a TypedDict, a union, a literal, a list, a mapping or a plain type."""
    if is_typeddict(shape):
        return isinstance(value, dict) and _fields_fit(value, _fields(shape))
    kind, parts = get_origin(shape), get_args(shape)
    if kind in (Union, UnionType):
        return any(fits(value, part) for part in parts)
    if kind is Literal:
        return isinstance(value, str) and value in parts
    if kind in (list, Sequence):
        return isinstance(value, list) and all(fits(item, parts[0]) for item in value)
    if kind is tuple:
        return isinstance(value, list) and len(value) == len(parts) and all(map(fits, value, parts))
    if kind is Mapping:
        return isinstance(value, dict) and all(fits(item, parts[1]) for item in value.values())
    if isinstance(value, bool):
        return shape is bool
    return isinstance(value, int | float if shape is float else shape)


def _fields_fit(value: dict[str, object], fields: Mapping[str, tuple[Any, bool]]) -> bool:
    if not value.keys() <= fields.keys():
        return False
    return all(fits(value[name], kind) if name in value else optional for name, (kind, optional) in fields.items())


@cache
def _fields(shape: Any) -> dict[str, tuple[Any, bool]]:
    """Name to type, and whether it may be left out; read once."""
    hints = get_type_hints(shape, include_extras=True)
    return {
        name: (get_args(kind)[0], True) if get_origin(kind) is NotRequired else (kind, False)
        for name, kind in hints.items()
    }
