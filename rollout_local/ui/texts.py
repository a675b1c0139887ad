"""What changed between two prompts, and where each line of one came from.

Lines are compared first and words only inside changed lines: a word-by-word comparison of two prompts of 8 KB takes
seconds (`difflib` is quadratic), which must not happen on a page. What is too long is shown whole and said to be.
Results are pure functions of texts and are kept.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from rollout_local.reports.lineage import Family, History
from rollout_local.ui.figures import Kept

CONTEXT = 2
MOST_LINES = 1_500
MOST_TOKENS = 300
MOST_BLAMED = 60_000
"""Characters of a text and its ancestors, together, whose lines are traced back."""

_TOKEN = re.compile(r"\w+|\s+|[^\w\s]")


@dataclass(frozen=True)
class Part:
    """A piece of a line; `changed` within a line that was rewritten."""

    text: str
    changed: bool = False


@dataclass(frozen=True)
class DiffLine:
    """A line of a diff: `kind` is same, del, ins, or gap (unchanged lines that are not shown)."""

    kind: str
    parts: Sequence[Part] = ()
    skipped: int = 0


@dataclass(frozen=True)
class Difference:
    """A diff of one component. `note` says where it could not be made in full."""

    component: str
    lines: Sequence[DiffLine] = field(default_factory=tuple)
    note: str = ""


_differences: Kept[list[Difference]] = Kept(500)
_histories: Kept[list[History] | None] = Kept(500)


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> list[Difference]:
    """What changed, component by component; those that did not change are left out."""
    key = (tuple(before.items()), tuple(after.items()))
    return _differences.get(key, lambda: list(_differences_of(before, after)))


def _differences_of(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Difference]:
    for component in dict.fromkeys([*before, *after]):
        one, other = before.get(component, "").split("\n"), after.get(component, "").split("\n")
        if one == other:
            continue
        if max(len(one), len(other)) > MOST_LINES:
            yield Difference(component, note=f"Too long to compare here ({len(one)} and {len(other)} lines).")
        else:
            yield Difference(component, list(_lines(one, other)))


def _lines(before: Sequence[str], after: Sequence[str]) -> Iterator[DiffLine]:
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    ended = 0
    for group in matcher.get_grouped_opcodes(CONTEXT):
        if group[0][1] > ended:
            yield DiffLine("gap", skipped=group[0][1] - ended)
        for tag, i1, i2, j1, j2 in group:
            if tag == "equal":
                yield from (DiffLine("same", (Part(line),)) for line in before[i1:i2])
            else:
                yield from _replaced(before[i1:i2], after[j1:j2])
        ended = group[-1][2]
    if ended < len(before):
        yield DiffLine("gap", skipped=len(before) - ended)


def _replaced(before: Sequence[str], after: Sequence[str]) -> Iterator[DiffLine]:
    """Lines that went and lines that came; where as many came as went, word by word."""
    if len(before) == len(after):
        pairs = [_words(one, other) for one, other in zip(before, after, strict=True)]
        yield from (DiffLine("del", one) for one, _ in pairs)
        yield from (DiffLine("ins", other) for _, other in pairs)
        return
    yield from (DiffLine("del", (Part(line),)) for line in before)
    yield from (DiffLine("ins", (Part(line),)) for line in after)


def _words(before: str, after: str) -> tuple[Sequence[Part], Sequence[Part]]:
    if max(len(before), len(after)) > 8 * MOST_TOKENS:
        return (Part(before),), (Part(after),)
    one, other = _TOKEN.findall(before), _TOKEN.findall(after)
    if max(len(one), len(other)) > MOST_TOKENS:
        return (Part(before),), (Part(after),)
    matcher = difflib.SequenceMatcher(None, one, other, autojunk=False)
    if matcher.ratio() < 0.4:
        return (Part(before),), (Part(after),)
    codes = matcher.get_opcodes()
    left = [Part("".join(one[i1:i2]), tag != "equal") for tag, i1, i2, _, _ in codes if i2 > i1]
    right = [Part("".join(other[j1:j2]), tag != "equal") for tag, _, _, j1, j2 in codes if j2 > j1]
    return left, right


def ancestors(number: int, parents: Mapping[int, Sequence[int]]) -> list[int]:
    """A candidate and all that it descends from, by number."""
    seen, waiting = {number}, [number]
    while waiting:
        for parent in parents.get(waiting.pop(), ()):
            if parent not in seen:
                seen.add(parent)
                waiting.append(parent)
    return sorted(seen)


def origins(number: int, texts: Mapping[int, str], parents: Mapping[int, Sequence[int]]) -> list[History] | None:
    """The history of each line of a candidate's text; None where the family's texts are too long to trace here."""
    if sum(map(len, texts.values())) > MOST_BLAMED:
        return None
    edges = {child: tuple(of) for child, of in parents.items() if child in texts}
    key = (number, tuple(sorted(texts.items())), tuple(sorted(edges.items())))
    return _histories.get(key, lambda: list(Family(texts, edges).histories(number)))
