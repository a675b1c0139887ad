"""Drawings: well-formed, inside their frame, saying in words what they show."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest
from markupsafe import Markup

from rollout_local.ui.draw.heat import heat, shade
from rollout_local.ui.draw.lines import best_so_far, interval, lifts, overlaid, slopes, spark, train_and_val, trend
from rollout_local.ui.draw.marks import bar, dots, dumbbell, share
from rollout_local.ui.draw.svg import el, steps, thinned
from rollout_local.ui.draw.tree import Node, tree
from rollout_local.ui.pages import ago, clock, pretty, short, took, whole

NODES = [
    Node(0, "baseline", 0.2, [], "/0"),
    Node(1, "accepted", 0.5, [0], "/1", frontier=True),
    Node(2, "rejected", None, [0], "/2"),
    Node(3, "accepted", 0.8, [1, 2], "/3", best=True),
    Node(9, "proposed", None, [77], "/9"),
]
CANDIDATES = [
    {"number": n, "val_mean": v, "train_mean": t} for n, v, t in ((0, 0.1, 0.2), (1, None, 0.4), (2, 0.5, None))
]
ROWS = [{"number": n, "mean": n / 4} for n in range(5)]
DRAWINGS = {
    "best": best_so_far([(0, 0.1), (30, 0.5)], 100, 60, {0.1: 0}),
    "beyond": best_so_far([(0, 0.1), (300, 1.0)], 100, 60, {}),
    "train": train_and_val(CANDIDATES),
    "overlaid": overlaid([("A", [(0, 0.1), (10, 0.9)], 40), ("B", [], 9), ("C", [(0, 0.3)], 20)]),
    "nothing overlaid": overlaid([("A", [], 0)]),
    "spark": spark([(0, 0.1), (10, 0.9)]),
    "trend": trend([(1, 1.0), (40, 1200.0)], "Search calls"),
    "a level trend": trend([(1, 0.0), (2, 0.0)], "Rejected proposals"),
    "interval": interval(0.2, (0.1, 0.3), "95 %"),
    "interval over zero": interval(0.01, (-0.2, 0.3), "95 %"),
    "lifts": lifts([0.5, 0.0, -0.3]),
    "no lift": lifts([0.0]),
    "slopes": slopes([("train", 0.1, 0.9), ("val", 0.1, 0.9), ("holdout", 0.1, 0.4)]),
    "dumbbell": dumbbell(0.2, 0.9),
    "worse": dumbbell(0.9, 0.2),
    "same": dumbbell(0.5, 0.5),
    "share": share(0.3),
    "dots": dots(ROWS, 3),
    "bar": bar(0.5, 0.9, failed=True),
    "instant": bar(1.0, 0.0, failed=False),
    "tree": tree(NODES),
    "heat": heat([(0, {"a": 0.1, "b": 1.0}), (1, {"b": 0.5})], ["a", "b", "c"]),
}


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_drawing_is_well_formed_and_has_no_style_of_its_own(name: str) -> None:
    root = ET.fromstring(DRAWINGS[name])
    assert root.get("aria-label") or root.get("aria-hidden") == "true"
    assert "style=" not in DRAWINGS[name]
    assert "None" not in DRAWINGS[name].replace('class="none"', "")
    assert "nan" not in DRAWINGS[name]


@pytest.mark.parametrize("name", [name for name in DRAWINGS if name != "tree"])
def test_a_drawing_stays_in_its_frame(name: str) -> None:
    root = ET.fromstring(DRAWINGS[name])
    width, height = (float(value) for value in str(root.get("viewBox")).split()[2:])
    for element in root.iter():
        for attribute, most in (
            ("cx", width),
            ("cy", height),
            ("x1", width),
            ("x2", width),
            ("y1", height),
            ("y2", height),
        ):
            value = element.get(attribute)
            assert value is None or -0.01 <= float(value) <= most + 0.01, (name, attribute)
        if element.tag == "rect":
            assert float(element.get("x", 0)) + float(element.get("width", 0)) <= width + 0.01


def test_what_is_not_known_is_not_drawn() -> None:
    assert dumbbell(None, 0.5) == share(None) == spark([]) == Markup("")


def test_text_in_a_drawing_is_escaped() -> None:
    assert el("text", '<b>"', title='"><script>') == ('<text title="&#34;&gt;&lt;script&gt;">&lt;b&gt;&#34;</text>')


def test_every_node_of_the_tree_is_a_link_with_words() -> None:
    found = ET.fromstring(tree(NODES)).findall(".//a")
    assert [a.get("href") for a in found] == ["/0", "/1", "/2", "/3", "/9"]
    assert "best" in str(found[3].findtext("title"))
    assert "second" in tree(NODES)


def test_no_two_nodes_of_a_deep_tree_stand_in_one_place() -> None:
    nodes = [Node(n, "accepted", 0.5, [max(0, n - 1 - n % 3)] if n else [], f"/{n}") for n in range(300)]
    marks = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)" r="11"', tree(nodes))
    assert len(set(marks)) == 300


@pytest.mark.parametrize(("score", "found"), [(0.0, 0), (0.19, 0), (0.2, 1), (0.99, 4), (1.0, 5)])
def test_shades(score: float, found: int) -> None:
    assert shade(score) == found


def test_a_long_series_is_thinned_but_keeps_its_ends() -> None:
    points = [(n, n / 10_000) for n in range(10_000)]
    found = thinned(points)
    assert len(found) <= 501
    assert (found[0], found[-1]) == (points[0], points[-1])
    assert steps([], 10) == ""


def test_words_on_the_page() -> None:
    assert short("a\n b  c" * 100, 10) == "a b ca b …"
    assert short(None) == ""
    assert whole("x" * 70_000).endswith("more characters; `Browse data` has them.")
    assert whole(None) == ""
    assert pretty('{"a": 1}') == '{\n  "a": 1\n}'
    assert pretty("no json") == "no json"
    assert pretty(None) == ""
    assert clock("2026-11-21T02:29:56.168Z") == "2026-11-21 02:29"
    assert ago(None, 0) == ""
    assert [took(value) for value in (None, 0.009, 0.67, 12.4, 200)] == ["–", "9 ms", "0.67 s", "12.4 s", "3 min"]


def test_a_trend_says_from_where_to_where_and_a_single_point_is_none() -> None:
    assert "Search calls from 1 to 1,200" in DRAWINGS["trend"]
    assert trend([], "Search calls") == trend([(1, 3.0)], "Search calls") == ""


def test_a_cell_of_the_heat_map_says_what_it_is_and_leads_to_its_task() -> None:
    drawn = heat([(3, {"a<b": 0.25, "c": 1.0})], ["a<b", "c", "d"], {"a<b": "/t/1"}, lambda number: f"/c/{number}")
    assert '<a href="/t/1" tabindex="-1"><rect' in drawn
    assert "<title>candidate 3, a&lt;b: 0.250</title>" in drawn
    assert drawn.count("<rect") == 2
    assert '<a href="/c/3"><text' in drawn
    assert 'role="group"' in drawn


def test_a_large_heat_map_joins_cells_of_one_shade() -> None:
    tasks = [f"t{n}" for n in range(100)]
    drawn = heat([(n, dict.fromkeys(tasks, 0.5)) for n in range(31)], tasks)
    assert drawn.count("<rect") == 31
    assert "<title>" not in drawn


def test_each_of_several_runs_is_drawn_to_its_own_end():
    drawn = overlaid([("A", [(0, 0.1), (10, 0.9)], 40), ("B", [(0, 0.2), (5, 0.4)], 20)])
    assert "run A ends at 0.900 after 40 calls, run B ends at 0.400 after 20 calls" in drawn
    ends = [float(path.rpartition("H")[2]) for path in re.findall(r'd="([^"]+)"', drawn)]
    whole, half = ends
    start = float(re.search(r'd="M([0-9.]+)', drawn)[1])
    assert half - start == pytest.approx((whole - start) / 2, abs=0.2)
    assert ">40 calls<" in drawn
