"""Diffs and origins of lines: quick whatever the texts are, and right."""

from __future__ import annotations

import threading
import time

import pytest

from rollout_local.ui.figures import Kept
from rollout_local.ui.texts import ancestors, differences, origins


def lines_of(before: str, after: str) -> list[tuple[str, str]]:
    found = differences({"instructions": before}, {"instructions": after})
    return [(line.kind, "".join(part.text for part in line.parts)) for of in found for line in of.lines]


def test_the_same_text_has_no_difference() -> None:
    assert differences({"a": "x\ny"}, {"a": "x\ny"}) == []


def test_lines_that_came_and_went() -> None:
    assert lines_of("one\ntwo", "one\nthree and a half\nfour") == [
        ("same", "one"), ("del", "two"), ("ins", "three and a half"), ("ins", "four"),
    ]  # fmt: skip


def test_a_rewritten_line_is_compared_word_by_word() -> None:
    found = differences({"a": "Reply with JSON only."}, {"a": "Reply with JSON objects only."})
    (gone, came) = found[0].lines
    assert [part.text for part in came.parts if part.changed] == ["objects "]
    assert not any(part.changed for part in gone.parts)


def test_a_wholly_other_line_is_not_compared_word_by_word() -> None:
    found = differences({"a": "Be brief."}, {"a": "1 + 2 = 3, 4, 5, 6, 7"})
    assert not any(part.changed for line in found[0].lines for part in line.parts)


def test_unchanged_lines_are_left_out_and_counted() -> None:
    before = "\n".join(f"line {n}" for n in range(30))
    found = differences({"a": before}, {"a": before.replace("line 15", "other")})
    gaps = [line.skipped for line in found[0].lines if line.kind == "gap"]
    assert gaps == [13, 12]


def test_a_new_component_is_all_new() -> None:
    found = differences({}, {"planner": "plan"})
    assert found[0].component == "planner"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("word " * 20_000, "other " * 20_000),
        ("x" * 200_000, "y" * 200_000),
        ("\n".join(f"a {n % 7}" for n in range(1_400)), "\n".join(f"b {n % 5}" for n in range(1_400))),
        ("\n" * 50_000, "\n" * 60_000),
    ],
    ids=["words", "one long word", "many alike lines", "too many lines"],
)
def test_long_texts_do_not_hold_up_a_page(before: str, after: str) -> None:
    begun = time.perf_counter()
    assert differences({"a": before}, {"a": after})
    assert time.perf_counter() - begun < 30, "what is compared is bounded: unbounded, it takes minutes"


def test_texts_that_are_too_long_say_so() -> None:
    (found,) = differences({"a": "x\n" * 2_000}, {"a": "y\n" * 2_000})
    assert "Too long" in found.note


def test_lines_are_traced_to_the_candidate_that_brought_them() -> None:
    texts = {0: "Be kind.", 1: "Be kind.\nBe brief.", 2: "Be kind.\nBe brief.\nUse JSON."}
    found = origins(2, texts, {1: [0], 2: [1]})
    assert found is not None
    assert [steps[-1].candidate for steps in found] == [0, 1, 2]
    assert origins(2, texts, {1: [0], 2: [1]}) == found


def test_a_family_that_is_too_long_is_not_traced_here() -> None:
    assert origins(1, {0: "x" * 50_000, 1: "y" * 50_000}, {1: [0]}) is None


def test_ancestors_come_through_both_parents_of_a_merge() -> None:
    assert ancestors(4, {4: [2, 3], 3: [1], 2: [0], 1: [0], 9: [8]}) == [0, 1, 2, 3, 4]


def test_what_is_kept_is_bounded_and_made_once() -> None:
    kept: Kept[int] = Kept(2)
    made: list[int] = []

    def make(n: int) -> int:
        made.append(n)
        return n

    for n in (1, 2, 1, 3, 1, 2):
        assert kept.get(n, lambda n=n: make(n)) == n  # type: ignore[misc]
    assert made == [1, 2, 3, 2]


def test_what_is_kept_may_be_asked_for_by_many_threads() -> None:
    kept: Kept[int] = Kept(10)
    wrong: list[int] = []

    def ask() -> None:
        wrong.extend(n for n in range(500) if kept.get(n % 20, lambda n=n: n % 20) != n % 20)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
