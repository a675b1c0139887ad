"""What does not tell two requests apart: the fields, and pieces of texts, that `--ignore-field` names.

    user                        a field of this name, at any depth of the body and in the query
    metadata.user               a path from the root of the body; through a list it goes into every item
    messages.0.content          … or into one item
    /meta.data/user             the same with slashes, for names that hold a dot
    messages.0.content~PATTERN  not the field: what in its texts matches a regular expression
    ~PATTERN                    what in any text of the body does

Invariant: pure functions of the body; what is named and not there changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from rollout_local.errors import RecordingError

Path = tuple[str, ...]
_MARK = "…"


@dataclass(frozen=True)
class Ignored:
    """The parsed names, as they are given to `--ignore-field`."""

    anywhere: frozenset[str]
    paths: tuple[Path, ...]
    patterns: tuple[tuple[Path, re.Pattern[str]], ...]

    def without(self, content: object) -> Any:
        """The body's content without what is ignored."""
        if self.anywhere:
            content = _strip(content, self.anywhere)
        for path in self.paths:
            content = _cut(content, path)
        for path, pattern in self.patterns:
            content = _blank(content, path, pattern)
        return content


def parse(names: Iterable[str]) -> Ignored:
    """Raises `RecordingError` for a name that is none, or a pattern that is no regular expression."""
    anywhere, paths, patterns = [], [], []
    for name in names:
        place, tilde, pattern = name.partition("~")
        path = tuple(place[1:].split("/") if place.startswith("/") else place.split(".")) if place else ()
        if not all(path) or not (path or pattern):
            raise RecordingError(f"--ignore-field {name!r} names no field; give one such as user or messages.0.content")
        if tilde:
            patterns.append((path, _compiled(name, pattern)))
        elif len(path) == 1 and not place.startswith("/"):
            anywhere.append(place)
        else:
            paths.append(path)
    return Ignored(frozenset(anywhere), tuple(paths), tuple(patterns))


def written(path: Path) -> str:
    """A path as `parse` reads it."""
    return "/" + "/".join(path) if len(path) == 1 or any("." in name for name in path) else ".".join(path)


def _compiled(name: str, pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise RecordingError(
            f"--ignore-field {name!r}: {pattern!r} is no regular expression ({error}); write it as Python's `re` has it"
        ) from None


def _strip(value: object, names: frozenset[str]) -> object:
    if isinstance(value, dict):
        return {name: _strip(item, names) for name, item in value.items() if name not in names}
    return [_strip(item, names) for item in value] if isinstance(value, list) else value


def _cut(value: object, path: Path) -> object:
    """The value without what stands at the path."""
    name, rest = path[0], path[1:]
    if isinstance(value, dict):
        if name not in value:
            return value
        others = {key: item for key, item in value.items() if key != name}
        return {**others, name: _cut(value[name], rest)} if rest else others
    if not isinstance(value, list):
        return value
    place = _index(name, value)
    if place is None:
        return [_cut(item, path) for item in value]
    return [*value[:place], *([_cut(value[place], rest)] if rest else []), *value[place + 1 :]]


def _blank(value: object, path: Path, pattern: re.Pattern[str]) -> object:
    """The value with the pattern's matches taken out of the texts at the path, and below it."""
    if isinstance(value, dict):
        inside = value if not path else {path[0]} & value.keys()
        return {key: _blank(item, path[1:], pattern) if key in inside else item for key, item in value.items()}
    if isinstance(value, list):
        place = _index(path[0], value) if path else None
        if place is None:
            return [_blank(item, path, pattern) for item in value]
        return [*value[:place], _blank(value[place], path[1:], pattern), *value[place + 1 :]]
    return pattern.sub(_MARK, value) if isinstance(value, str) and not path else value


def _index(name: str, items: list[object]) -> int | None:
    """The place in a list that a step of a path names; None where it names none."""
    if not name.isascii() or not name.isdigit():
        return None
    return int(name) if int(name) < len(items) else None
