"""A run whose candidates are several texts: each text by itself, and merges with both their parents."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from rollout_local.domain.identity import content_hash
from rollout_local.reports import promotion
from rollout_local.store import lifecycle, reads
from rollout_local.store.schema import open_store
from rollout_local.ui.links import Links
from tests.unit.ui.conftest import ANSWERED, CLASSIFIED, PARTS, Markup, Site, change, inserted, pages_of, rows, run_of

Open = Callable[..., Site]


def candidate(opened: Site, path: Path, number: int, **query: str) -> str:
    return opened.text(Links("/").candidate(path.stem, run_of(path), number, **query))


def sections(page: str) -> dict[str, str]:
    """The words of each section of a page, by its id."""
    parts = re.split(r'<section id="([\w-]+)">', page)
    return {
        name: Markup(text.partition("</section>")[0]).text for name, text in zip(parts[1::2], parts[2::2], strict=True)
    }


def lines_of(page: str) -> list[tuple[int, str]]:
    """The lines of all texts with the candidates that they came from."""
    found = re.findall(r'<a class="origin"[^>]*>(\d+)</a><span class="text">([^<]*)</span>', page)
    return [(int(number), text) for number, text in found]


def test_each_text_stands_by_itself_with_where_its_lines_came_from(program: Path, site: Open) -> None:
    page = candidate(site(program), program, 4)
    assert lines_of(page) == [
        (0, "Name the topic of the message."), (1, "One word: refund, parcel or account."),
        (0, "Answer the customer."), (2, "Mention the 30 days."), (0, "Be brief."), (4, "Sign with your name."),
        (4, "Look whether the answer is polite and signed."),
    ]  # fmt: skip
    said = sections(page)
    assert "classify as in candidate 3" in said["text"]
    assert "answer.draft changed" in said["text"]
    assert "answer.check changed" in said["text"]
    assert "2 lines of answer.draft, answer.check" in said["origins"]


def test_what_changed_is_said_text_by_text(program: Path, site: Open) -> None:
    opened = site(program)
    changed = sections(candidate(opened, program, 4))["changed"]
    assert re.search(r"answer\.draft .*\+ ?Sign with your name\. answer\.check", changed)
    assert changed.endswith("The same: classify.")
    against = sections(candidate(opened, program, 4, against="baseline"))["changed"]
    assert "classify" in against
    assert "The same" not in against


def test_a_merge_is_compared_with_both_parents(program: Path, site: Open) -> None:
    opened = site(program)
    page = candidate(opened, program, 3)
    said = sections(page)
    assert "grew from candidate 1 and candidate 2" in Markup(page).text
    assert "classify as in candidate 1" in said["text"]
    assert "answer.draft as in candidate 2" in said["text"]
    first, second = said["changed"].split("Against candidate 2")
    assert "Against candidate 1 answer.draft" in first
    assert "The same: classify, answer.check." in first
    assert second.lstrip().startswith("classify")
    assert "no line of its own" in said["origins"]
    one = sections(candidate(opened, program, 3, against="2"))["changed"]
    assert "Against candidate" not in one
    assert "answer.draft" not in one.partition("The same:")[0]


def test_the_baseline_has_no_parent_to_be_as_in(program: Path, site: Open) -> None:
    said = sections(candidate(site(program), program, 0))
    assert "as in candidate" not in said["text"]
    assert "changed" not in said["text"].replace("what it changed", "")
    assert "there is nothing before it" in said["changed"]


def test_each_text_can_be_copied_whole(program: Path, site: Open) -> None:
    page = candidate(site(program), program, 4)
    for place, text in enumerate((CLASSIFIED, f"{ANSWERED}\nSign with your name."), 1):
        assert f'<pre id="text-{place}" class="hidden" hidden>{text}</pre>' in page


def test_the_lineage_draws_an_edge_from_each_parent(program: Path, site: Open) -> None:
    page = site(program).text(Links("/").run(program.stem, run_of(program), "lineage"))
    edges = [str(path.get("class")) for path in Markup(page).all("path")]
    assert sorted(edges) == ["edge", "edge", "edge", "edge", "edge second"]
    words = Markup(page).text
    assert "1 and 2" in words
    assert "answer.draft, answer.check" in words


def test_a_candidate_of_several_texts_is_one_reflection(program: Path, site: Open) -> None:
    page = site(program).text(Links("/").run(program.stem, run_of(program), "reflections"))
    words = Markup(page).text
    assert "all 4 accepted 4" in words
    assert page.count("<article") == 4
    assert "It wrote answer.draft, answer.check." in words
    assert "The answer.draft lacks something." in words
    assert "The answer.check lacks something." in words
    assert "from candidate 1 and candidate 2" in words
    assert "Merged: it takes answer.draft from candidate 2." in words


def test_reflections_that_gave_no_text_are_counted_each(program: Path, site: Open) -> None:
    run = run_of(program)
    row = {"run_id": run, "attempt": 1, "iteration": 9, "parent_candidate_id": 1, "accepted": 0, "reason": "no",
           "feedback_json": "[]", "created_at": "2026-11-21T00:00:00.000Z"}  # fmt: skip
    for component in ("classify", "answer.draft"):
        change(program, inserted("proposals", {**row, "component": component}))
    words = Markup(site(program).text(Links("/").run(program.stem, run, "reflections", show="failed"))).text
    assert "no usable text 2" in words
    assert "It was asked for classify." in words
    assert "It was asked for answer.draft." in words


def test_runs_are_compared_text_by_text(program: Path, tmp_path: Path, site: Open) -> None:
    other = Path(shutil.copy(program, tmp_path / "other.db"))
    change(other, "UPDATE runs SET best_candidate_id = (SELECT id FROM candidates WHERE number = 1)")
    run = run_of(program)
    words = Markup(site(program, other).text(Links("/").compare(f"{program.stem}/{run}", f"other/{run}"))).text
    prompts = words.partition("Best prompt, A to B")[2].partition("Others")[0]
    assert re.search(r"answer\.draft .*answer\.check", prompts)
    assert "classify" not in prompts


def test_the_new_texts_are_copied_as_they_are_promoted(program: Path, site: Open) -> None:
    with open_store(program) as store:
        run = reads.run(store, run_of(program))
        report = json.dumps(promotion.build(store, run))
        lifecycle.add_report(store, run["id"], run["attempt"], report, "2026-11-21T00:00:00.000Z")
    page = site(program).text(Links("/").run(program.stem, run_of(program), "promotion"))
    copied = re.search(r'<pre id="best-text" class="hidden" hidden>(.*?)</pre>', page, re.DOTALL)
    assert copied
    texts = json.loads(copied[1].replace("&#34;", '"'))
    assert set(texts) == set(PARTS)
    assert texts["answer.draft"].endswith("Sign with your name.")


@pytest.mark.parametrize("name", ["<img src=x>", "a" * 5000, "\u202egnp", 'it\'s "quoted"'])
def test_a_components_name_is_text_wherever_it_is_shown(program: Path, site: Open, name: str) -> None:
    for row in rows(program, "SELECT id, components_json FROM candidates"):
        texts = json.loads(row["components_json"])
        renamed = {name if part == "classify" else part: text for part, text in texts.items()}
        sql = "UPDATE candidates SET components_json = ?, content_hash = ? WHERE id = ?"
        change(program, (sql, (json.dumps(renamed), content_hash(renamed), row["id"])))
    change(program, ("UPDATE proposals SET component = ? WHERE component = 'classify'", (name,)))
    opened = site(program)
    for path in pages_of(program).values():
        found = Markup(opened.text(path))
        assert found.unclosed == []
        assert found.all("img") == []
        assert "\u202e" not in found.text
