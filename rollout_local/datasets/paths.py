"""Parts of a nested cell: `answers.text`, `choices[0].label`, `messages[-1].content`, `messages[:-1]`.

A column whose name is just that goes before: `a.b` is the column `a.b` where there is one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from rollout_local.documents import kind_of
from rollout_local.errors import InputError

_STEP = re.compile(r"\.?([^.\[\]]+)|\[(-?\d+)\]|\[(-?\d*):(-?\d*)\]")


def root_of(column: str) -> str:
    """The column that a path begins in."""
    return re.split(r"[.\[]", column, maxsplit=1)[0]


def part_of(cells: Mapping[str, object], column: str, where: str) -> object:
    """What a column, or a path into one, holds in a row. Raises `InputError` naming the part that is not there."""
    if column in cells:
        return cells[column]
    value: object = cells
    at = 0
    while at < len(column):
        step = _STEP.match(column, at)
        if step is None:
            msg = f'"{column}" is no column, nor a path into one, as in answers.text[0] or messages[:-1]'
            raise InputError(msg)
        try:
            value = _stepped(value, step)
        except (KeyError, IndexError, TypeError):
            here = column[:at] or "the row"
            msg = f'{where}: the column "{column}" is not there: {here} is {kind_of(value)} without {step.group()}'
            raise InputError(msg) from None
        at = step.end()
    return value


def _stepped(value: object, step: re.Match[str]) -> object:
    name, index, start, end = step.groups()
    if name is not None:
        if not isinstance(value, Mapping):
            raise TypeError
        return value[name]
    if not isinstance(value, list):
        raise TypeError
    if index is not None:
        return value[int(index)]
    return value[int(start) if start else None : int(end) if end else None]
