"""The parameters of check types: their names, what they may hold, and how a wrong one is refused.

Names are snake_case here and in stored specs; the camelCase of hosted Rollout and the aliases are accepted
where specs are read.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rollout_local.redaction.references import problem_of_address, problem_of_parameters
from rollout_local.verifiers.json_checks import schema_problem
from rollout_local.verifiers.labels import as_number
from rollout_local.verifiers.subject import parse_path

ABSENT: object = object()


@dataclass(frozen=True)
class Param:
    """One parameter. `kind` is a name in `KINDS`; a value equal to `default` is as good as none."""

    kind: str
    summary: str
    required: bool = False
    default: Any = ABSENT
    aliases: tuple[str, ...] = ()


def _text(value: object) -> str:
    return "" if isinstance(value, str) and value.strip() else "must be a text that is not empty"


def _phrase(value: object) -> str:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return "" if number or (isinstance(value, str) and value) else "must be a text that is not empty"


def _any(_: object) -> str:
    return ""


def _flag(value: object) -> str:
    return "" if isinstance(value, bool) else "must be true or false"


def _count(value: object) -> str:
    usable = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return "" if usable else "must be a whole number from 0"


def _tolerance(value: Any) -> str:
    usable = not isinstance(value, str) and as_number(value) is not None and value >= 0
    return "" if usable else "must be a number from 0"


def _number(value: object) -> str:
    return "" if as_number(value) is not None else "must be a number"


def _pattern(value: object) -> str:
    if not isinstance(value, str):
        return "must be a regular expression, as a text"
    try:
        re.compile(value)
    except (re.error, OverflowError, RecursionError) as error:
        return f"is not a regular expression: {error}"
    return ""


def _keys(value: object) -> str:
    usable = isinstance(value, list) and value and all(isinstance(key, str) for key in value)
    return "" if usable else "must be a list of keys"


def _path(value: object) -> str:
    if not isinstance(value, str):
        return "must be a path such as a.b[0], or $ for all of it"
    try:
        parse_path(value)
    except ValueError as error:
        return f"is wrong: {error}"
    return ""


def _function(value: object) -> str:
    usable = isinstance(value, str) and re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*", value)
    return "" if usable else 'must be "module:function"'


def _object(value: object) -> str:
    return "" if isinstance(value, dict) else "must be an object"


def _parameters(value: Any) -> str:
    return _object(value) or problem_of_parameters(value, shown="is wrong: ")


def _address(value: Any) -> str:
    return _text(value) or problem_of_address(value, shown="is wrong: the address")


def _schema(value: Any) -> str:
    return _object(value) or schema_problem(value)


KINDS: dict[str, Callable[[object], str]] = {
    "text": _text,
    "phrase": _phrase,
    "json": _any,
    "flag": _flag,
    "count": _count,
    "tolerance": _tolerance,
    "number": _number,
    "pattern": _pattern,
    "keys": _keys,
    "path": _path,
    "function": _function,
    "object": _object,
    "schema": _schema,
    "parameters": _parameters,
    "address": _address,
}
"""Kind → why a value is not of it, in words; empty where it is."""
