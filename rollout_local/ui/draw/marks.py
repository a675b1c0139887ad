"""Small drawings that stand in a table's row: a score before and after, dots of candidates, bars of time."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from markupsafe import Markup

from rollout_local.reports.wording import number
from rollout_local.ui.draw.svg import WIDTH, drawing, el, joined, line, text
from rollout_local.ui.shown_rows import TaskOfCandidate

_STRIP = 132.0


@lru_cache(4096)
def dumbbell(before: float | None, after: float | None) -> Markup:
    """One task's score before (hollow) and after (filled) on a scale from 0 to 1."""
    if before is None or after is None:
        return Markup("")
    tone = "best" if after > before else "worse" if after < before else "same"

    def place(score: float) -> float:
        return 6 + score * (_STRIP - 12)

    return drawing(
        f"from {number(before)} to {number(after)}", _STRIP, 16, line(6, 8, _STRIP - 6, 8, "grid"),
        line(place(before), 8, place(after), 8, f"span {tone}"),
        el("circle", cx=place(before), cy=8, r=3.5, class_="mark train"),
        el("circle", cx=place(after), cy=8, r=3.5, class_=f"mark {tone}"), class_="strip",
    )  # fmt: skip


@lru_cache(4096)
def share(value: float | None) -> Markup:
    """A score as a bar."""
    if value is None:
        return Markup("")
    bar = el("rect", x=0, y=3, width=round(value * 72, 1), height=6, class_="bar")
    track = el("rect", x=0, y=3, width=72, height=6, class_="track")
    return el("svg", track, bar, class_="drawing share", viewBox="0 0 72 12", width=72, height=12, aria_hidden="true")


def dots(rows: Sequence[TaskOfCandidate], best: int | None) -> Markup:
    """One task's mean score for every candidate, in the order of proposal."""
    height = 120
    shown = list(rows)[-120:]

    def x(place: int) -> float:
        return 34 + (place + 0.5) / len(shown) * (WIDTH - 48)

    def y(score: float) -> float:
        return 10 + (1 - score) * (height - 34)

    frame = [
        joined((line(34, y(t), WIDTH - 14, y(t), "grid"), text(28, y(t) + 4, f"{t:g}", "tick", "end")))
        for t in (0.0, 0.5, 1.0)
    ]
    marks = [
        el("g", el("title", f"candidate {row['number']}: {number(row['mean'])}"),
           el("circle", cx=x(place), cy=y(row["mean"]), r=4.5 if row["number"] == best else 3.5,
              class_="mark best" if row["number"] == best else "mark train"))
        for place, row in enumerate(shown)
    ]  # fmt: skip
    label = f"Score on this task of {len(shown)} candidates, from {shown[0]['number']} to {shown[-1]['number']}."
    ends = [
        text(34, height - 6, f"candidate {shown[0]['number']}", "tick"),
        text(WIDTH - 14, height - 6, f"candidate {shown[-1]['number']}", "tick", "end"),
    ]
    return drawing(label, WIDTH, height, *frame, *marks, *ends)


def bar(start: float, length: float, *, failed: bool) -> Markup:
    """A span's place in its trace; `start` and `length` are shares of the whole."""
    x = min(min(max(start, 0.0), 1.0) * 200, 198)
    width = max(2.0, min(length, 1.0) * 200)
    return el(
        "svg", el("rect", x=0, y=6, width=200, height=2, class_="track"),
        el("rect", x=x, y=3, width=min(width, 200 - x), height=8, class_="bar bad" if failed else "bar"),
        class_="drawing wait", viewBox="0 0 200 14", width=200, height=14, aria_hidden="true",
    )  # fmt: skip
