"""A secret that a stream hands out in pieces: the pieces are joined, searched, and taken out where they stood.

A model writes its answer a few letters at a time, each in an event of its own (`data: {…}`) or a line of JSON. Texts
at the same place of consecutive documents are one text; what is found in it goes from every event that holds a piece,
and everything else of the stream stays, so that it replays as it came. Documents of several choices are told apart by
the `index` in them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from rollout_local.redaction.known import MARK

Find = Callable[[bytes], list[tuple[int, int]]]
"""The spans to take out of a text: in order, apart from one another."""
_Place = tuple[str | int, ...]


def without(data: bytes, find: Find) -> bytes:
    """`data` without what `find` finds in the joined texts; the same object where that is nothing."""
    if not (b"data:" in data or b"}\n{" in data or b"}\r\n{" in data):
        return data
    lines = data.split(b"\n")
    documents = {number: found for number, line in enumerate(lines) if (found := _document(line)) is not None}
    if len(documents) < 2:
        return data
    texts: dict[_Place, list[tuple[int, _Place, str]]] = {}
    for number, (_, document) in documents.items():
        for named, place, text in _leaves(document, (), ()):
            texts.setdefault(named, []).append((number, place, text))
    changed = {number for pieces in texts.values() for number in _cut(pieces, documents, find)}
    for number in changed:
        start, document = documents[number]
        end = b"\r" if lines[number].endswith(b"\r") else b""
        lines[number] = start + json.dumps(document, ensure_ascii=False).encode("utf-8", "surrogatepass") + end
    return b"\n".join(lines) if changed else data


def _document(line: bytes) -> tuple[bytes, object] | None:
    """What stands before the JSON of a line, and the JSON; None where the line is none."""
    bare = line.removeprefix(b"data:").lstrip()
    if bare[:1] != b"{":
        return None
    try:
        return line[: len(line) - len(bare)], json.loads(bare)
    except (ValueError, RecursionError):
        return None


def _leaves(value: object, named: _Place, place: _Place) -> Iterator[tuple[_Place, _Place, str]]:
    """The texts of a document: the place that tells them apart from others', where they stand, what they say."""
    if isinstance(value, str):
        yield named, place, value
    elif isinstance(value, dict):
        index = value.get("index")
        mine = (*named, "#", index) if isinstance(index, int) else named
        for name, item in value.items():
            yield from _leaves(item, (*mine, name), (*place, name))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _leaves(item, (*named, number), (*place, number))


def _cut(pieces: list[tuple[int, _Place, str]], documents: dict[int, tuple[bytes, object]], find: Find) -> set[int]:
    """Take what is found in the joined pieces out of the documents; returns those that changed."""
    raw = [text.encode("utf-8", "surrogatepass") for _, _, text in pieces]
    spans = find(b"".join(raw)) if len(raw) > 1 else []
    changed, begin = set(), 0
    for (number, place, _), text in zip(pieces, raw, strict=True):
        mine = [(s - begin, e - begin) for s, e in spans if s < begin + len(text) and e > begin]
        if mine:
            _put(documents[number][1], place, _kept(text, mine))
            changed.add(number)
        begin += len(text)
    return changed


def _kept(text: bytes, spans: list[tuple[int, int]]) -> str:
    """A piece without the spans; the mark stands where a span begins, once."""
    out, at = b"", 0
    for start, end in spans:
        out += text[at : max(at, start)] + (MARK if start >= 0 else b"")
        at = max(at, min(end, len(text)))
    return (out + text[at:]).decode("utf-8", "replace")


def _put(document: Any, place: _Place, text: str) -> None:
    for step in place[:-1]:
        document = document[step]
    document[place[-1]] = text
