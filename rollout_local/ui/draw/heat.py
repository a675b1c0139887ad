"""The map of tasks and candidates: a row per candidate, a column per task, five shades of score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

from markupsafe import Markup

from rollout_local.ui.draw.svg import drawing, el, joined, text

_LEAST, _MOST, _SPAN, _LEFT, _TOP = 11, 20, 560, 46, 4
SHADES = 5


def shade(score: float) -> int:
    """0 (none) to 4 (all but full), 5 for a full score."""
    return SHADES if score >= 1 - 1e-9 else min(SHADES - 1, int(score * SHADES))


def heat(rows: Sequence[tuple[int, Mapping[str, float]]], tasks: Sequence[str]) -> Markup:
    """Candidates (number, scores by task) from top to bottom, tasks from left to right."""
    cell = max(_LEAST, min(_MOST, _SPAN // max(len(tasks), 1)))
    width = _LEFT + len(tasks) * cell + 4
    height = _TOP + len(rows) * cell + 4
    drawn = [
        _row(cell, place, number, [scores.get(task) for task in tasks]) for place, (number, scores) in enumerate(rows)
    ]
    label = f"Scores of {len(rows)} candidates on {len(tasks)} validation tasks; the darker, the higher."
    return drawing(label, width, height, joined(drawn), class_="heat")


def _row(cell: int, place: int, number: int, scores: Sequence[float | None]) -> Markup:
    """Cells of one shade side by side are one rectangle: most rows have few."""
    y = _TOP + place * cell
    parts = [text(_LEFT - 6, y + cell / 2 + 4, str(number), "tick", "end")]
    start = 0
    for found, same in groupby(scores, key=lambda score: None if score is None else shade(score)):
        end = start + len(list(same))
        if found is not None:
            width = (end - start) * cell - 1
            parts.append(el("rect", x=_LEFT + start * cell, y=y, width=width, height=cell - 1, class_=f"heat-{found}"))
        start = end
    return joined(parts)
