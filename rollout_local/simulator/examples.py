"""A text that matches a regular expression: what a model writes when it is told to match a pattern.

Only what is simple is written (literals, classes, repeats, groups, alternatives). The result is checked against the
pattern; where nothing simple matches, there is none.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterable
from typing import Any

_CATEGORY = {"CATEGORY_DIGIT": "1", "CATEGORY_WORD": "a", "CATEGORY_SPACE": " "}
_CLASS = {"CATEGORY_DIGIT": r"\d", "CATEGORY_WORD": r"\w", "CATEGORY_SPACE": r"\s"}
_ANYTHING = "a1 -._A:/"


def example_of(pattern: str) -> str | None:
    """A short text in which `pattern` is found, or None."""
    parser = importlib.import_module("re._parser")  # the standard library has no public parser of patterns
    try:
        text = _sequence(parser.parse(pattern))
        return text if text and re.search(pattern, text) else None
    except (re.error, OverflowError, RecursionError):
        return None


def _sequence(nodes: Iterable[tuple[object, object]]) -> str:
    return "".join(_WRITE[str(op)](value) for op, value in nodes if str(op) in _WRITE)


def _one_of(options: list[tuple[object, object]]) -> str:
    if str(options[0][0]) != "NEGATE":
        return _sequence(options[:1])
    match = re.search(f"[^{''.join(_class(op, value) for op, value in options[1:])}]", _ANYTHING)
    return match[0] if match else ""


def _class(op: object, value: object) -> str:
    if str(op) == "CATEGORY":
        return _CLASS.get(str(value), "")
    ends = value if isinstance(value, tuple) else (value,)
    return "-".join(re.escape(chr(end)) for end in ends)


def _repeat(value: tuple[int, int, Any]) -> str:
    least, most, inner = value
    return _sequence(inner) * min(max(int(least), 1), int(most), 1000)


_WRITE: dict[str, Callable[[Any], str]] = {
    "LITERAL": lambda code: chr(code),
    "NOT_LITERAL": lambda code: "a" if code != ord("a") else "b",
    "ANY": lambda _: "a",
    "RANGE": lambda ends: chr(ends[0]),
    "CATEGORY": lambda category: _CATEGORY.get(str(category), "-"),
    "IN": _one_of,
    "BRANCH": lambda value: _sequence(value[1][0]),
    "SUBPATTERN": lambda value: _sequence(value[3]),
    "MAX_REPEAT": _repeat,
    "MIN_REPEAT": _repeat,
}
