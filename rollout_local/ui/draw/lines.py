"""Lines over calls and over candidates, and the small ones in tables."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from markupsafe import Markup

from rollout_local.reports.wording import number, signed
from rollout_local.ui.draw.svg import WIDTH, drawing, el, joined, line, steps, text, thinned
from rollout_local.ui.shown_rows import ShortCandidate

HEIGHT = 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 34, 14, 14, 26
_TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)

Points = Sequence[tuple[int, float]]


def _y(score: float) -> float:
    return _TOP + (1 - score) * (HEIGHT - _TOP - _BOTTOM)


def _x(value: float, most: float) -> float:
    return _LEFT + value / (most or 1) * (WIDTH - _LEFT - _RIGHT)


def _frame(right: float = WIDTH - _RIGHT) -> Markup:
    """Horizontal lines at quarters of the score."""
    return joined(
        joined(
            (line(_LEFT, _y(tick), right, _y(tick), "grid"), text(_LEFT - 6, _y(tick) + 4, f"{tick:g}", "tick", "end"))
        )
        for tick in _TICKS
    )


def _ends(first: str, last: str) -> Markup:
    """What the other axis begins and ends with."""
    return joined((text(_LEFT, HEIGHT - 8, first, "tick"), text(WIDTH - _RIGHT, HEIGHT - 8, last, "tick", "end")))


def best_so_far(best: Points, budget: int, spent: int, names: dict[float, int]) -> Markup:
    """The best validation mean against search calls spent; the baseline's as a dashed line."""
    points = thinned(best)
    baseline, most = points[0][1], max(budget, points[-1][0], 1)
    placed = [(_x(step, most), _y(value)) for step, value in points]
    marks = [
        el("g", el("title", f"candidate {names.get(value, '?')}: {number(value)} after {step} calls"),
           el("circle", cx=x, cy=y, r=3.5, class_="mark best"))
        for (step, value), (x, y) in zip(points, placed, strict=True)
    ]  # fmt: skip
    spent = max(spent, points[-1][0])
    end = _x(min(spent, most), most)
    label = (
        f"Best validation mean so far, from {number(baseline)} to {number(points[-1][1])} after {spent} of "
        f"{budget} search calls."
    )
    return drawing(
        label, WIDTH, HEIGHT, _frame(), _ends("0", f"{most} calls"),
        line(_LEFT, _y(baseline), WIDTH - _RIGHT, _y(baseline), "reference"),
        el("path", d=steps(placed, end), class_="line best"), joined(marks),
        text(min(end, WIDTH - _RIGHT - 4), _y(points[-1][1]) - 8, number(points[-1][1]), "value", "end"),
    )  # fmt: skip


def train_and_val(candidates: Sequence[ShortCandidate]) -> Markup:
    """Each candidate's validation mean (filled) and train mean (hollow), in the order of proposal."""
    shown = list(candidates)[-120:]
    most = max(len(shown) - 1, 1)
    parts = []
    for place, row in enumerate(shown):
        x = _x(place + 0.5, most + 1)
        val, train = row["val_mean"], row["train_mean"]
        if val is not None and train is not None:
            parts.append(line(x, _y(val), x, _y(train), "link"))
        if train is not None:
            parts.append(el("circle", cx=x, cy=_y(train), r=3.5, class_="mark train"))
        if val is not None:
            parts.append(el("circle", cx=x, cy=_y(val), r=3.5, class_="mark best"))
    label = f"Train and validation means of {len(shown)} candidates in the order of proposal."
    first, last = shown[0]["number"], shown[-1]["number"]
    return drawing(
        label, WIDTH, HEIGHT, _frame(), _ends(f"candidate {first}", f"candidate {last}"), joined(parts),
    )  # fmt: skip


def overlaid(runs: Sequence[tuple[str, Points, int]]) -> Markup:
    """Several runs' best validation means against calls, each to the call at which it ended; a dash pattern each."""
    drawn = [
        (place, name, points, max(spent, points[-1][0])) for place, (name, points, spent) in enumerate(runs) if points
    ]
    most = max((end for *_, end in drawn), default=1) or 1
    parts = []
    for place, name, points, end in drawn:
        placed = [(_x(step, most), _y(value)) for step, value in thinned(points)]
        parts.append(el("path", d=steps(placed, _x(end, most)), class_=f"line run run-{place % 5}"))
        parts.append(text(max(_x(end, most), _LEFT + 12), placed[-1][1] - 5, name, "value", "end"))
    label = "Best validation mean against search calls: " + ", ".join(
        f"run {name} ends at {number(points[-1][1])} after {end} calls" for _, name, points, end in drawn
    )
    return drawing(label, WIDTH, HEIGHT, _frame(), _ends("0", f"{most} calls"), joined(parts))


def spark(points: Points) -> Markup:
    """The best validation mean of a run, small."""
    if not points:
        return Markup("")
    most = points[-1][0] or 1
    placed = [(2 + 92 * step / most, 22 - 20 * value) for step, value in thinned(points, 60)]
    label = f"Best validation mean from {number(points[0][1])} to {number(points[-1][1])}"
    path = el("path", d=steps(placed, 94), class_="line best")
    return drawing(label, 96, 24, line(2, 22, 94, 22, "grid"), path, class_="spark")


def trend(points: Points, what: str) -> Markup:
    """A series of counts, small, from 0 to its largest value."""
    if len(points) <= 1:
        return Markup("")
    least, most, top = points[0][0], points[-1][0], max(value for _, value in points) or 1
    placed = [(2 + 92 * (step - least) / (most - least), 22 - 20 * value / top) for step, value in thinned(points, 60)]
    label = f"{what} from {points[0][1]:,.0f} to {points[-1][1]:,.0f}"
    path = el("path", d=steps(placed, 94), class_="line best")
    return drawing(label, 96, 24, line(2, 22, 94, 22, "grid"), path, class_="spark")


def interval(lift: float, bounds: tuple[float, float], level: str) -> Markup:
    """The holdout lift with its interval on a line from the least to the most that is shown, zero marked."""
    low, high = bounds
    least, most = min(low, 0.0) - 0.05, max(high, 0.0) + 0.05
    width, height = WIDTH, 58

    def place(value: float) -> float:
        return 20 + (value - least) / (most - least) * (width - 40)

    tone = "best" if low > 0 else "unsure"
    return drawing(
        f"Holdout lift {signed(lift)}; {level} interval {signed(low)} to {signed(high)}.", width, height,
        line(20, 26, width - 20, 26, "grid"), line(place(0), 10, place(0), 42, "zero"),
        text(place(0), 54, "0", "tick", "middle"),
        line(place(low), 26, place(high), 26, f"span {tone}"),
        el("circle", cx=place(lift), cy=26, r=5, class_=f"mark {tone}"),
        text(place(lift), 15, signed(lift), "value", "middle"),
        text(place(low), 42, signed(low), "tick", "middle"), text(place(high), 42, signed(high), "tick", "middle"),
    )  # fmt: skip


def lifts(values: Sequence[float]) -> Markup:
    """The lift of every holdout task as a bar, the largest first: how many tasks carry the mean."""
    ordered = sorted(values, reverse=True)[:240]
    most = max(0.1, *(abs(value) for value in ordered))
    low = min(0.0, ordered[-1])
    height, step = 150, (WIDTH - _LEFT - _RIGHT) / len(ordered)
    scale = (height - 26) / (most - low)

    def y(value: float) -> float:
        return 12 + (most - value) * scale

    bars = [
        el("rect", x=_LEFT + place * step, y=min(y(value), y(0.0)), width=max(step - min(2.0, step / 4), 0.8),
           height=max(abs(value) * scale, 1.5), class_="bar" if value > 0 else "bar bad" if value < 0 else "bar none")
        for place, value in enumerate(ordered)
    ]  # fmt: skip
    ticks = [
        joined((line(_LEFT, y(t), WIDTH - _RIGHT, y(t), "zero" if t == 0 else "grid"),
                text(_LEFT - 6, y(t) + 4, f"{t:+.2g}" if t else "0", "tick", "end")))
        for t in sorted({most, 0.0, low if low < -0.12 * most else 0.0})
    ]  # fmt: skip
    up, down = sum(value > 0 for value in ordered), sum(value < 0 for value in ordered)
    label = f"Lift by task: {up} better, {down} worse, {len(ordered) - up - down} the same."
    return drawing(label, WIDTH, height, *ticks, *bars)


def slopes(splits: Sequence[tuple[str, float, float]]) -> Markup:
    """Baseline to best on each split: parallel lines mean that what was learnt holds on unseen tasks."""
    left, right = 60.0, WIDTH - 150.0
    ends = _spaced([_y(after) for _, _, after in splits])
    parts = []
    for (name, before, after), end in zip(splits, ends, strict=True):
        kind = "best" if name == "holdout" else name
        parts += [
            line(left, _y(before), right, _y(after), f"slope {kind}"),
            el("circle", cx=left, cy=_y(before), r=3.5, class_=f"mark {kind}"),
            el("circle", cx=right, cy=_y(after), r=3.5, class_=f"mark {kind}"),
            text(right + 12, end + 4, f"{name} {signed(after - before)}", "value"),
        ]
    label = "; ".join(f"{name} from {number(before)} to {number(after)}" for name, before, after in splits)
    return drawing(
        f"From baseline to best: {label}.", WIDTH, HEIGHT, _frame(right), joined(parts),
        text(left, HEIGHT - 8, "baseline", "tick", "middle"), text(right, HEIGHT - 8, "best", "tick", "middle"),
    )  # fmt: skip


def _spaced(places: Sequence[float], gap: float = 15.0) -> list[float]:
    """The same heights, moved apart so that labels do not cover one another."""
    order = sorted(range(len(places)), key=lambda index: places[index])
    spaced = list(places)
    for before, index in pairwise(order):
        spaced[index] = max(spaced[index], spaced[before] + gap)
    return spaced
