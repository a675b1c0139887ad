"""The map of tasks and candidates: a row per candidate, a column per task, five shades of score."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby

from markupsafe import Markup

from rollout_local.reports.escape import one_line
from rollout_local.reports.wording import number
from rollout_local.ui.draw.svg import drawing, el, joined, text

_LEAST, _MOST, _SPAN, _LEFT, _TOP = 11, 20, 560, 46, 4
SHADES = 5
MOST_NAMED = 3_000
"""Cells up to which each is named and linked; more would make the page heavy."""


def shade(score: float) -> int:
    """0 (none) to 4 (all but full), 5 for a full score."""
    return SHADES if score >= 1 - 1e-9 else min(SHADES - 1, int(score * SHADES))


def heat(
    rows: Sequence[tuple[int, Mapping[str, float]]],
    tasks: Sequence[str],
    links: Mapping[str, str] | None = None,
    candidate_link: Callable[[int], str] | None = None,
) -> Markup:
    """Candidates (number, scores by task) from top to bottom, tasks from left to right.

    A map of up to `MOST_NAMED` cells names candidate, task and score of each when it is pointed at, and leads to the
    task's page where `links` has one; in a larger one, cells of one shade side by side are one rectangle. The number of
    a candidate leads to its page.
    """
    cell = max(_LEAST, min(_MOST, _SPAN // max(len(tasks), 1)))
    width = _LEFT + len(tasks) * cell + 4
    height = _TOP + len(rows) * cell + 4
    is_named = len(rows) * len(tasks) <= MOST_NAMED
    drawn: list[Markup] = []
    for place, (number_, scores) in enumerate(rows):
        y = _TOP + place * cell
        name = text(_LEFT - 6, y + cell / 2 + 4, str(number_), "tick", "end")
        drawn.append(name if candidate_link is None else el("a", name, href=candidate_link(number_)))
        found = [scores.get(task) for task in tasks]
        if is_named:
            drawn += _named(cell, y, number_, list(zip(tasks, found, strict=True)), links or {})
        else:
            drawn.append(_row(cell, y, found))
    label = f"Scores of {len(rows)} candidates on {len(tasks)} validation tasks; the darker, the higher."
    role = "img" if candidate_link is None and not links else "group"
    return drawing(label, width, height, joined(drawn), class_="heat", role=role)


def _named(
    cell: int, y: int, candidate: int, scores: Sequence[tuple[str, float | None]], links: Mapping[str, str]
) -> Iterator[Markup]:
    """A rectangle for each score, that says what it is and leads to its task. The keyboard passes them by."""
    for column, (task, score) in enumerate(scores):
        if score is None:
            continue
        said = el("title", f"candidate {candidate}, {one_line(task, 60)}: {number(score)}")
        drawn = el("rect", said, x=_LEFT + column * cell, y=y, width=cell - 1, height=cell - 1,
                   class_=f"heat-{shade(score)}")  # fmt: skip
        yield el("a", drawn, href=links[task], tabindex=-1) if task in links else drawn


def _row(cell: int, y: int, scores: Sequence[float | None]) -> Markup:
    """Cells of one shade side by side are one rectangle: most rows have few."""
    parts: list[Markup] = []
    start = 0
    for found, same in groupby(scores, key=lambda score: None if score is None else shade(score)):
        end = start + len(list(same))
        if found is not None:
            width = (end - start) * cell - 1
            parts.append(el("rect", x=_LEFT + start * cell, y=y, width=width, height=cell - 1, class_=f"heat-{found}"))
        start = end
    return joined(parts)
