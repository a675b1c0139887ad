"""Where each line of a text comes from, through its ancestors: pure functions over texts.

A line belongs to the earliest ancestor from which it survives unchanged. A line that is much like one that its
parent had in its place is a rewrite of it and keeps that line's history; any other line is new. In a merge a
line may come from either parent.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

REWRITE = 0.6
"""The `difflib` ratio from which on a line is a rewrite of another."""


@dataclass(frozen=True)
class LineStep:
    """One wording of a line: the candidate that brought it, the text, and how alike the wording before was."""

    candidate: int
    text: str
    ratio: float | None = None


History = tuple[LineStep, ...]
"""The wordings of a line, the oldest first; the last is the line as it is."""


@dataclass(frozen=True)
class Family:
    """One component's text by candidate number, and each candidate's parents."""

    texts: Mapping[int, str]
    parents: Mapping[int, Sequence[int]]

    def histories(self, number: int) -> list[History]:
        """The history of each line of a candidate's text."""
        known: dict[int, list[History]] = {}
        for candidate in self._ancestors_first(number):
            lines = self.texts[candidate].split("\n")
            inherited = [
                _inherited(candidate, lines, known[parent])
                for parent in self.parents.get(candidate, ())
                if parent in known
            ]
            known[candidate] = [
                _best(candidate, line, options) for line, *options in zip(lines, *inherited, strict=True)
            ]
        return known[number]

    def _ancestors_first(self, number: int) -> list[int]:
        """The candidate's ancestors and itself; numbers are in the order of proposal, so parents come first."""
        seen, waiting = {number}, [number]
        while waiting:
            for parent in self.parents.get(waiting.pop(), ()):
                if parent not in seen and parent in self.texts:
                    seen.add(parent)
                    waiting.append(parent)
        return sorted(seen)


def _best(candidate: int, line: str, options: Sequence[History | None]) -> History:
    """Of what the parents offer: unchanged before rewritten, then the oldest, then the most alike; else new."""
    found = [option for option in options if option is not None]
    if not found:
        return (LineStep(candidate, line),)
    return min(found, key=lambda history: (history[-1].candidate, history[0].candidate, -(history[-1].ratio or 1.0)))


def _inherited(candidate: int, lines: Sequence[str], parent: Sequence[History]) -> list[History | None]:
    """What one parent gives to each line: its history, a longer one where it was rewritten, or None."""
    texts = [history[-1].text for history in parent]
    given: list[History | None] = [None] * len(lines)
    for place, source in _unchanged(texts, lines):
        given[place] = parent[source]
    taken = {source for _, source in _unchanged(texts, lines)}
    free = [source for source in range(len(texts)) if source not in taken and texts[source].strip()]
    new = [place for place, line in enumerate(lines) if given[place] is None and line.strip()]
    for place, source, ratio in _rewrites(lines, texts, new, free):
        given[place] = (*parent[source], LineStep(candidate, lines[place], ratio))
    return given


def _unchanged(before: Sequence[str], after: Sequence[str]) -> list[tuple[int, int]]:
    """`(place after, place before)` of lines that stayed or moved."""
    blocks = difflib.SequenceMatcher(None, before, after, autojunk=False).get_matching_blocks()
    pairs = [(block.b + i, block.a + i) for block in blocks for i in range(block.size)]
    placed, taken = {place for place, _ in pairs}, {source for _, source in pairs}
    left: dict[str, list[int]] = {}
    for source, line in enumerate(before):
        if source not in taken:
            left.setdefault(line, []).append(source)
    moved = [(place, line) for place, line in enumerate(after) if place not in placed]
    return pairs + [(place, left[line].pop(0)) for place, line in moved if left.get(line)]


def _rewrites(
    lines: Sequence[str], texts: Sequence[str], new: Sequence[int], free: Sequence[int]
) -> Iterator[tuple[int, int, float]]:
    """`(place, source, ratio)`: new lines matched to lines that went away, the most alike first, one to one."""
    alike = [
        (ratio, place, source) for place in new for source in free if (ratio := _ratio(texts[source], lines[place]))
    ]
    places, sources = set(new), set(free)
    for ratio, place, source in sorted(alike, key=lambda found: (-found[0], found[1], found[2])):
        if place in places and source in sources:
            places.remove(place)
            sources.remove(source)
            yield place, source, ratio


def _ratio(one: str, other: str) -> float:
    """How alike two lines are, in [REWRITE, 1]; 0 where they are less alike."""
    matcher = difflib.SequenceMatcher(None, one.strip(), other.strip(), autojunk=False)
    if matcher.real_quick_ratio() < REWRITE or matcher.quick_ratio() < REWRITE:
        return 0.0
    ratio = matcher.ratio()
    return round(ratio, 3) if ratio >= REWRITE else 0.0
