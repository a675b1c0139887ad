"""Files that people wrote, read strictly: a value that comes out of here can be written and hashed again.

Refused with file, line and column where they are known: what is not UTF-8 (a byte-order mark is accepted),
malformed JSON or TOML, NaN and infinities, numbers that no float can hold, a key given twice, half of a
surrogate pair, and nesting beyond `MAX_DEPTH`.
"""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

from rollout_local import limits
from rollout_local.errors import InputError

MAX_DEPTH = 100
"""Levels of nesting that a value may have; far below what hashing and validation can walk."""

_CONSTANT = re.compile(r'"(?:[^"\\]|\\.)*"|NaN|-?Infinity')
_TOML_PLACE = re.compile(r"^(?P<what>.*) \(at line (?P<line>\d+), column (?P<column>\d+)\)$", re.DOTALL)
_JSON_NAMES = {
    dict: "an object", list: "a list", str: "a text", bool: "true or false", int: "a number", float: "a number",
}  # fmt: skip


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, without its byte-order mark; `InputError` where there is none."""
    try:
        raw = limits.read(path, "text file", pipes=True)
    except FileNotFoundError:
        _refuse(f"{path} does not exist; check the path")
    except IsADirectoryError:
        _refuse(f"{path} is a folder where a file is needed")
    except limits.TooLarge as error:
        _refuse(f"{path} {error}; split it")
    except OSError as error:
        _refuse(f"{path} cannot be read: {error.strerror or error}")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        _refuse(f"{path}:{line}: byte 0x{raw[error.start]:02x} is not UTF-8; save the file as UTF-8")


def parse_json(text: str, where: Path | str, line: int | None = None) -> Any:
    """The value of a JSON text; `line` is the text's own line in the file, where it is one of many."""
    start = line or 1
    place = f"{where}:{line}" if line else f"{where}"
    try:
        value = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        _refuse(f"{where}:{start - 1 + error.lineno}:{error.colno}: not valid JSON: {error.msg}; correct it")
    except RecursionError:
        _refuse(f"{place}: nested more than {MAX_DEPTH} levels deep; flatten it")
    except ValueError as error:
        _refuse(f"{_place_of(text, str(error), where, start) or place}: {error}")
    if problem := json_problem(value):
        _refuse(f"{place}: {problem}")
    return value


def parse_toml(text: str, where: Path | str) -> dict[str, object]:
    """The table of a TOML text."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = _TOML_PLACE.match(str(error))
        if place:
            _refuse(f"{where}:{place['line']}:{place['column']}: not valid TOML: {place['what']}; correct it")
        what = str(error).replace(" (at end of document)", "")
        _refuse(f"{where}:{text.count(chr(10)) + 1}: not valid TOML: {what}, at the end of the file; correct it")
    except RecursionError:
        _refuse(f"{where}: nested more than {MAX_DEPTH} levels deep; flatten it")


def json_problem(value: object) -> str:
    """Why `value` cannot be kept as JSON, in words; empty where it can."""
    waiting = [(value, 0)]
    while waiting:
        item, depth = waiting.pop()
        if depth > MAX_DEPTH:
            return f"nested more than {MAX_DEPTH} levels deep; flatten it"
        if problem := _scalar_problem(item):
            return problem
        if isinstance(item, dict):
            waiting.extend((key, depth + 1) for key in item)
            if odd := next((key for key in item if not isinstance(key, str)), None):
                return f"the key {odd!r} is not a text; JSON keys are texts"
            waiting.extend((part, depth + 1) for part in item.values())
        elif isinstance(item, list | tuple):
            waiting.extend((part, depth + 1) for part in item)
    return ""


def kind_of(value: object) -> str:
    """What a JSON value is, with its article: `a list`, `a text`, `null`."""
    return "null" if value is None else _JSON_NAMES.get(type(value), f"a {type(value).__name__}")


def suggestion(word: str, known: Iterable[str]) -> str:
    """`did you mean "…"?` where a known word is near, else the list of known ones."""
    known = list(known)
    closest = near(word, known)
    return f'did you mean "{closest[0]}"?' if closest else f"known are {', '.join(known)}"


def near(word: str, known: Iterable[str], most: int = 1) -> list[str]:
    """The known words that a mistyped one is nearest to."""
    return get_close_matches(word, list(known), n=most)


def _scalar_problem(item: object) -> str:
    if isinstance(item, str):
        return "" if _encodable(item) else "a text holds half of a surrogate pair, which no UTF-8 can say; remove it"
    if isinstance(item, float) and not math.isfinite(item):
        return f"{item} has no place in JSON; use null or a number"
    if item is not None and not isinstance(item, bool | int | float | dict | list | tuple):
        return f"{kind_of(item)} has no place in JSON; use a text, a number, a list or an object"
    return ""


def _encodable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _refuse_constant(name: str) -> NoReturn:
    msg = f"{name} has no place in JSON; use null or a number"
    raise ValueError(msg)


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        msg = f"the number {text} is too large; write it as a text"
        raise ValueError(msg)
    return number


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in found if names.count(name) > 1)
        msg = f'the key "{twice}" is given twice in one object; keep one'
        raise ValueError(msg)
    return found


def _place_of(text: str, problem: str, where: Path | str, start: int) -> str:
    """`file:line:column` of the first NaN or infinity that stands outside quotes; empty for other problems."""
    if not problem.startswith(("NaN", "Infinity", "-Infinity")):
        return ""
    match = next(match for match in _CONSTANT.finditer(text) if not match[0].startswith('"'))
    line = text.count("\n", 0, match.start())
    column = match.start() - text.rfind("\n", 0, match.start())
    return f"{where}:{start + line}:{column}"


def _refuse(message: str) -> NoReturn:
    raise InputError(message) from None
