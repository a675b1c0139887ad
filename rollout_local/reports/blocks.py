"""What a report is told in: a few kinds of blocks that every format knows how to draw.

Blocks hold raw text; each format makes it visible and escapes it at the moment of drawing, once.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Tone(StrEnum):
    """How a sentence is meant."""

    PLAIN = "plain"
    GOOD = "good"
    BAD = "bad"
    NOTE = "note"


@dataclass(frozen=True)
class Heading:
    """A title. Level 1 is the report's own."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Say:
    """A sentence or two."""

    text: str
    tone: Tone = Tone.PLAIN


@dataclass(frozen=True)
class Grid:
    """A small table. `align` has a letter per column: `l` or `r`."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    align: str


@dataclass(frozen=True)
class Lines:
    """Lines in a fixed font, as they are; in a diff the first character says what became of a line."""

    lines: Sequence[str]
    is_diff: bool = False


@dataclass(frozen=True)
class Side:
    """What one text gave for a task."""

    label: str
    score: str
    output: str
    feedback: str

    def said_beside(self, other: Side) -> str:
        """The line of feedback that tells this side from the other one; the first where there is none."""
        lines = self.feedback.splitlines()
        return next((line for line in lines if line not in other.feedback.splitlines()), lines[0] if lines else "")


@dataclass(frozen=True)
class Case:
    """One task under both texts. Short formats show scores and the line of feedback that differs."""

    task: str
    lift: str
    before: Side
    after: Side
    tone: Tone


Block = Heading | Say | Grid | Lines | Case


def diff(before: Mapping[str, str], after: Mapping[str, str], names: tuple[str, str]) -> Lines:
    """A unified diff of two candidates, component by component; named where there are several."""
    lines: list[str] = []
    for component in dict.fromkeys([*before, *after]):
        suffix = f" {component}" if len(after) > 1 else ""
        lines += difflib.unified_diff(
            before.get(component, "").split("\n"), after.get(component, "").split("\n"),
            names[0] + suffix, names[1] + suffix, lineterm="",
        )  # fmt: skip
    return Lines(lines, is_diff=True)
