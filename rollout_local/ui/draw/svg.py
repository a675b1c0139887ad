"""SVG elements as escaped markup. Text and attributes are escaped here and nowhere else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache

from markupsafe import Markup, escape

from rollout_local.reports.escape import one_line

WIDTH = 480
"""Units of a chart's width; on a narrow screen it is scaled, and the style sheet enlarges its letters."""


def el(tag: str, *children: str | Markup, **attributes: object) -> Markup:
    """An element: `el("text", "a < b", x=1, text_anchor="end")`. Attributes that are None are left out."""
    given = "".join(f' {_name(name)}="{_value(value)}"' for name, value in attributes.items() if value is not None)
    inner = "".join(map(escape, children))
    return Markup(f"<{tag}{given}>{inner}</{tag}>")  # noqa: S704 - escaped above, piece by piece


@cache
def _name(name: str) -> str:
    return name.strip("_").replace("_", "-")


def _value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return str(value) if isinstance(value, int) else str(escape(value))


def drawing(label: str, width: float, height: float, *children: Markup, class_: str = "", role: str = "img") -> Markup:
    """A whole drawing; `label` is what it says, in a sentence."""
    return el(
        "svg", *children, class_=f"drawing {class_}".strip(), viewBox=f"0 0 {width:g} {height:g}", role=role,
        aria_label=one_line(label, 300), width=f"{width:g}", height=f"{height:g}",
    )  # fmt: skip


def text(x: float, y: float, words: str, class_: str | None = None, anchor: str | None = None) -> Markup:
    """A label; long ones are cut."""
    shown = words if words.isalnum() and len(words) < 60 else one_line(words[:400], 60)
    return el("text", shown, x=x, y=y, class_=class_, text_anchor=anchor)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    """A straight line."""
    return el("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def steps(points: Sequence[tuple[float, float]], until: float) -> str:
    """The path of a value that holds until it changes; `until` is where the last one ends."""
    if not points:
        return ""
    parts = [f"M{points[0][0]:.1f} {points[0][1]:.1f}"]
    parts += [f"H{x:.1f}V{y:.1f}" for x, y in points[1:]]
    return "".join([*parts, f"H{until:.1f}"])


def thinned(points: Sequence[tuple[int, float]], most: int = 500) -> list[tuple[int, float]]:
    """At most about `most` points of a series, the first and the last among them."""
    if len(points) <= most:
        return list(points)
    every = -(-len(points) // most)
    return [*points[:-1:every], points[-1]]


def joined(parts: Iterable[Markup]) -> Markup:
    """Parts, one after the other."""
    return Markup("").join(parts)
