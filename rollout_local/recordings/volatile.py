"""What in two requests differs from one time to the next (an id, the time), and the `--ignore-field` that mends it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations

from rollout_local.recordings.identity import Asked
from rollout_local.recordings.ignored import written

_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*\.?"
_WORDS = rf"(?:\d{{1,2}} {_MONTH}|{_MONTH} \d{{1,2}}),? \d{{4}}"
_CLOCK = r"\d{1,2}:\d\d(?::\d\d(?:\.\d+)?)?(?: ?[AaPp][Mm])?"
_DAY = r"(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day"
_ZONE = r"(?: ?(?:Z|UTC|GMT|[+-]\d\d:?\d\d))?"
COUNTED = "a number"
KINDS: dict[str, str] = {
    "a UUID": r"[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}",
    "a date": r"\d{4}-\d\d-\d\d",
    "a time": _CLOCK + _ZONE,
    "a date and time": r"\d{4}-\d\d-\d\d[T ,]+" + _CLOCK + _ZONE,
    "a date in words": _WORDS,
    "a date in numbers": r"\b\d{1,4}[./]\d{1,2}[./]\d{1,4}\b",
    "a date and time in numbers": r"\b\d{1,4}[./]\d{1,2}[./]\d{1,4},? (?:at )?" + _CLOCK + _ZONE,
    "a date and time in words": rf"{_WORDS},? (?:at )?{_CLOCK}{_ZONE}",
    "a weekday": _DAY,
    "a weekday and date": rf"{_DAY},? {_WORDS}",
    "a weekday, date and time": rf"{_DAY},? {_WORDS},? (?:at )?{_CLOCK}{_ZONE}",
    "a Unix time": r"\b1\d{9}(?:\d{3})?(?:\.\d+)?\b",
    "a random id": r"\b(?=\w*[0-9])(?=\w*[A-Za-z])\w{8,}\b",
    "an address in memory": r"\b0x[0-9a-f]{6,}\b",
    COUNTED: r"\d+(?:\.\d+)?",
}
"""By what it is, the pattern that takes it out of a text; the first that does is told."""


@dataclass(frozen=True)
class Volatile:
    """One place where two requests differ by something that differs each time."""

    what: str
    where: str
    ignore: str

    def __str__(self) -> str:
        """A clause, with the flag that mends it."""
        return f"{self.what} in {self.where} (--ignore-field {shlex.quote(self.ignore)})"


def volatile(one: Asked, other: Asked) -> list[Volatile]:
    """What makes two requests differ, where all of it is of a kind that is known; else nothing."""
    if (one.method, one.path) != (other.method, other.path):
        return []
    found = [*_in_query(one, other), *_between(one.content, other.content, ())]
    return [] if None in found else [place for place in dict.fromkeys(found) if place is not None]


def _in_query(one: Asked, other: Asked) -> Iterator[Volatile | None]:
    before, now = dict(one.query), dict(other.query)
    for name in sorted(before.keys() | now.keys()):
        if before.get(name) != now.get(name):
            for found in _in_texts(before.get(name), now.get(name), (name,)):
                yield found and Volatile(found.what, f"the query's {name}", name)


def _between(old: object, new: object, path: tuple[str, ...]) -> Iterator[Volatile | None]:
    """What differs, place by place; None where it is of no known kind."""
    if old == new:
        return
    if isinstance(old, dict) and isinstance(new, dict) and old.keys() == new.keys():
        for name in old:
            yield from _between(old[name], new[name], (*path, name))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for place, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from _between(one, other, (*path, str(place)))
    elif _is_number(old) and _is_number(new):
        yield from _in_texts(str(old), str(new), path)
    else:
        yield from _in_texts(old, new, path)


def _in_texts(old: object, new: object, path: tuple[str, ...]) -> list[Volatile | None]:
    """The one kind that makes two texts differ, or the two; `[None]` where it takes others, or more."""
    if not isinstance(old, str) or not isinstance(new, str):
        return [None]
    where, place = ".".join(path) or "the body", written(path) if path else ""
    for what, pattern in KINDS.items():
        if what == COUNTED and (both := _both(old, new)):
            return [Volatile(name, where, f"{place}~{KINDS[name]}") for name in both]
        if _without(old, pattern) == _without(new, pattern):
            whole = bool(path and re.fullmatch(pattern, old) and re.fullmatch(pattern, new))
            return [Volatile(what, where, place if whole else f"{place}~{pattern}")]
    return [None]


def _both(old: str, new: str) -> tuple[str, ...]:
    """The two kinds that make two texts differ; what is taken out first may be part of a longer one."""
    there = [name for name, pattern in KINDS.items() if name != COUNTED and re.search(pattern, old)]
    for both in permutations(there, 2):
        one, other = (KINDS[name] for name in both)
        if _without(_without(old, one), other) == _without(_without(new, one), other):
            return both
    return ()


def _without(text: str, pattern: str) -> str:
    return re.sub(pattern, "…", text)


def differing(one: object, other: object, path: tuple[str, ...] = ()) -> Iterator[str]:
    """Where two bodies differ, each place as `--ignore-field` takes it; nothing for a body that differs as a whole."""
    if one == other:
        return
    if isinstance(one, dict) and isinstance(other, dict):
        for name in sorted(one.keys() | other.keys()):
            yield from differing(one.get(name), other.get(name), (*path, name))
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for place, (old, new) in enumerate(zip(one, other, strict=True)):
            yield from differing(old, new, (*path, str(place)))
    elif path:
        yield written(path)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
