"""Saying what is wrong: values are quoted as JSON, long ones are cut, and differences are shown where they are.

A reflection model reads these words, and they are stored and printed: they can always be written as UTF-8.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import zip_longest

LONGEST = 200
"""Characters of a quoted value before it is cut."""
_MARGIN = 20
_MOST = 20


def cut(text: str, longest: int = LONGEST) -> str:
    """`text`, or its beginning and `…`."""
    return text if len(text) <= longest else text[:longest] + "…"


def quote(value: object, longest: int = LONGEST) -> str:
    """`value` as JSON on one line: texts in quotes with their control characters escaped; cut where long."""
    if isinstance(value, str):
        return json.dumps(cut(value, longest), ensure_ascii=False)
    return cut(json.dumps(value, ensure_ascii=False, default=repr), longest)


def quotes(values: Sequence[object]) -> str:
    """`"a", "b"`; long lists end in `and 7 more`."""
    shown = ", ".join(quote(value) for value in values[:_MOST])
    return f"{shown} and {len(values) - _MOST} more" if len(values) > _MOST else shown


def around(text: str, start: int, end: int) -> str:
    """The place in `text` from `start` to `end` with a little of what stands before and after it, quoted."""
    first, last = max(0, start - _MARGIN), end + _MARGIN
    inside = cut(text[first:last], LONGEST + 2 * _MARGIN)
    return json.dumps(f"{'…' if first else ''}{inside}{'…' if last < len(text) else ''}", ensure_ascii=False)


def parting(expected: str, found: str, *, fold: bool) -> str:
    """Where two texts that differ part, from 1: `; they part at character 4: expected the end, found ", sure."`.

    Empty where they have nothing in common at their beginning: the texts themselves say as much.
    """
    pairs = enumerate(zip_longest(expected, found, fillvalue=""))
    same = next(place for place, (one, other) in pairs if _fold(one, fold=fold) != _fold(other, fold=fold))
    if same == 0:
        return ""
    return f"; they part at character {same + 1}: expected {_rest(expected, same)}, found {_rest(found, same)}"


def utf8(text: str) -> str:
    r"""`text` with halves of surrogate pairs spelt out (`\ud800`), so that it can be stored and sent."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def joined(parts: Iterable[str]) -> str:
    """The parts that are not empty, with `; ` between them."""
    return "; ".join(part for part in parts if part)


def _fold(character: str, *, fold: bool) -> str:
    return character.casefold() if fold else character


def _rest(text: str, start: int) -> str:
    return quote(text[start : start + _MARGIN + 1], _MARGIN) if start < len(text) else "the end"
