"""The family tree of candidates: generations from left to right, a merge's second parent dashed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from rollout_local.reports.wording import number as score_of
from rollout_local.ui.draw.svg import drawing, el, joined, text

_COLUMN, _ROW, _MARGIN, _LABEL = 88.0, 30.0, 22.0, 50.0
MOST = 300


@dataclass(frozen=True)
class Node:
    """A candidate in the tree. `parents` are numbers, the first one is the one it grew from."""

    number: int
    status: str
    score: float | None
    parents: Sequence[int]
    href: str
    best: bool = False
    frontier: bool = False

    @property
    def words(self) -> str:
        """What the node says, in words."""
        marks = [self.status, *(["best"] if self.best else []), *(["on the frontier"] if self.frontier else [])]
        return f"Candidate {self.number}: {', '.join(marks)}; validation {score_of(self.score)}"


def tree(nodes: Sequence[Node]) -> Markup:
    """The drawing; each node is a link. At most `MOST` nodes, the oldest."""
    shown = list(nodes)[:MOST]
    places = _places(shown)
    width = max(x for x, _ in places.values()) + _MARGIN + 54
    height = max(y for _, y in places.values()) + _MARGIN
    scored = {node.number: node.score is not None for node in shown}
    edges = [
        _edge(places[parent], places[node.number], second=place > 0, label=scored[parent])
        for node in shown
        for place, parent in enumerate(node.parents)
        if parent in places
    ]
    drawn = [_node(node, *places[node.number]) for node in shown]
    label = f"Family tree of {len(shown)} candidates; the table below says the same."
    return drawing(label, width, height, joined(edges), joined(drawn), class_="tree", role="group")


def _places(nodes: Sequence[Node]) -> dict[int, tuple[float, float]]:
    """Depth to the right; leaves one under the other, a parent at the height of its first child."""
    depth: dict[int, int] = {}
    children: dict[int, list[int]] = {}
    for node in nodes:
        known = [parent for parent in node.parents if parent in depth]
        depth[node.number] = max((depth[parent] for parent in known), default=-1) + 1
        if known:
            children.setdefault(known[0], []).append(node.number)
    rows: dict[int, float] = {}
    roots = [node.number for node in nodes if not any(parent in depth for parent in node.parents)]
    next_row = _descend(roots, children, rows)
    assert next_row >= 1
    return {number: (_MARGIN + depth[number] * _COLUMN, _MARGIN + row * _ROW) for number, row in rows.items()}


def _descend(roots: Sequence[int], children: Mapping[int, Sequence[int]], rows: dict[int, float]) -> int:
    """Give each candidate a row, without recursion: a chain may be long. Returns the rows used."""
    used = 0
    waiting = [(root, True) for root in reversed(roots)]
    while waiting:
        number, opens_row = waiting.pop()
        if opens_row:
            used += 1
        rows[number] = used - 1
        kept = children.get(number, ())
        waiting += [(child, place > 0) for place, child in reversed(list(enumerate(kept)))]
    return used


def _edge(start: tuple[float, float], end: tuple[float, float], *, second: bool, label: bool) -> Markup:
    """From behind the parent's mark and score to the child."""
    (x1, y1), (x2, y2) = start, end
    x1, x2 = x1 + (_LABEL if label else 12), x2 - 12
    middle = x2 - 12
    path = f"M{x1:.0f} {y1:.0f}H{middle:.0f}V{y2:.0f}H{x2:.0f}"
    if second:
        path = f"M{x1:.0f} {y1:.0f}C{middle:.0f} {y1:.0f} {middle:.0f} {y2:.0f} {x2:.0f} {y2:.0f}"
    return el("path", d=path, class_="edge second" if second else "edge")


def _node(node: Node, x: float, y: float) -> Markup:
    kind = "best" if node.best else "frontier" if node.frontier else node.status
    parts = [
        el("title", node.words),
        el("rect", x=x - 13, y=y - 13, width=62, height=26, rx=6, class_="hit"),
        el("circle", cx=x, cy=y, r=11, class_=f"node {kind}"),
        text(x, y + 4, str(node.number), "number", "middle"),
    ]
    if node.score is not None:
        parts.append(text(x + 16, y + 4, f"{node.score:.2f}", "value"))
    return el("a", *parts, href=node.href)
