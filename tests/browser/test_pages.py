"""Every page in a real browser: for everyone, at every width, in both themes, with and without scripts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rollout_local.domain.target import Candidate
from rollout_local.ui.links import Links
from tests.browser.chromium import Tab
from tests.browser.conftest import Served
from tests.unit.ui.conftest import change, pages_of, rows, run_of

AXE = (Path(__file__).parent / "axe.min.js").read_text(encoding="utf-8")
Serve = Callable[..., Served]
Open = Callable[..., Tab]


def violations(tab: Tab) -> list[str]:
    tab.run(AXE + ";0")
    result: list[dict[str, Any]] = tab.run("axe.run().then((found) => found.violations)")
    return [f"{of['id']}: {node['target']} {node['failureSummary']}" for of in result for node in of["nodes"]]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_nobody_is_shut_out_of_any_page(finished: Path, serve: Serve, tab: Open, dark: bool) -> None:
    site, opened = serve(finished), tab(dark=dark)
    opened.open(site.link)
    for name, path in {**pages_of(finished), "missing": Links("/").run("rollout", "opt_nobody")}.items():
        opened.open(site.root + path)
        opened.run("for (const part of document.querySelectorAll('details')) part.open = true")
        assert violations(opened) == [], name
    opened.wrong = [said for said in opened.wrong if "404" not in said]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_nobody_is_shut_out_of_the_pages_of_a_program(program: Path, serve: Serve, tab: Open, dark: bool) -> None:
    site, opened, links, run = serve(program), tab(dark=dark, width=360), Links("/"), run_of(program)
    pages = [links.run("rollout", run, page) for page in ("lineage", "reflections", "promotion", "candidates")]
    for path in [*pages, *(links.candidate("rollout", run, number) for number in (0, 3, 4))]:
        opened.open(site.root + path)
        opened.run("for (const part of document.querySelectorAll('details')) part.open = true")
        assert violations(opened) == [], path
        assert opened.run("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0, path


def test_both_themes_are_themes(finished: Path, serve: Serve, tab: Open) -> None:
    site = serve(finished)
    seen = []
    for dark in (False, True):
        opened = tab(dark=dark)
        opened.open(site.root + "/-/rollout/")
        seen.append(opened.run("getComputedStyle(document.body).backgroundColor"))
    assert seen[0] != seen[1]


def test_no_page_is_wider_than_a_phone(finished: Path, serve: Serve, tab: Open) -> None:
    site, opened = serve(finished), tab(width=360)
    for name, path in pages_of(finished).items():
        opened.open(site.root + path)
        opened.run("for (const part of document.querySelectorAll('details')) part.open = true")
        over = opened.run("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert over <= 0, name


def test_without_scripts_everything_is_there(finished: Path, serve: Serve, tab: Open) -> None:
    site, opened = serve(finished), tab(scripts=False)
    opened.open(site.root + pages_of(finished)["run"])
    said = opened.text()
    assert "completed" in said
    assert "candidate 0" in said
    assert opened.run("document.querySelectorAll('#trials tr').length") == 50
    assert opened.run("[...document.querySelectorAll('button')].filter((b) => b.offsetParent && !b.form).length") == 0


def test_keys_lead_through_a_page(finished: Path, serve: Serve, tab: Open) -> None:
    site, opened = serve(finished), tab()
    opened.open(f"{site.root}{Links('/').run('rollout', run_of(finished), 'candidates')}")
    opened.press("j")
    opened.press("j")
    assert opened.run("[...document.querySelectorAll('[data-row]')].findIndex((r) => r.matches('.at'))") == 1
    opened.press("k")
    opened.press("Enter")
    opened.until(lambda: "/candidates/" in opened.run("location.pathname"))
    here = opened.run("location.pathname")
    opened.until(lambda: opened.run("document.readyState") == "complete")
    opened.press("[")
    opened.until(lambda: opened.run("location.pathname") != here)
    opened.until(lambda: opened.run("document.readyState") == "complete")
    opened.press("?")
    assert opened.run("document.getElementById('keys').open") is True


def test_the_keyboard_alone_reaches_the_content_first(finished: Path, serve: Serve, tab: Open) -> None:
    site, opened = serve(finished), tab()
    opened.open(site.root + "/-/rollout/")
    opened.send("Input.dispatchKeyEvent", type="keyDown", key="Tab", windowsVirtualKeyCode=9)
    assert opened.run("document.activeElement.className") == "skip"
    assert opened.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_hostile_text_runs_nothing(finished: Path, tmp_path: Path, serve: Serve, tab: Open) -> None:
    import shutil

    copy = Path(shutil.copy(finished, tmp_path / "hostile.db"))
    payload = "</script><script>document.title='ran'</script><img src=x onerror=\"document.title='ran'\">"
    change(copy, ("UPDATE runs SET name = ?, message = ?, status = 'running', heartbeat_at = ''", (payload, payload)),
           ("UPDATE trials SET feedback = ?, output = ?, task_name = ? || id", (payload, payload, payload)),
           ("UPDATE events SET message = ?", (payload,)))  # fmt: skip
    compared = "SELECT baseline_candidate_id FROM runs UNION SELECT best_candidate_id FROM runs"  # the report has those
    for row in rows(copy, f"SELECT id FROM candidates WHERE id NOT IN ({compared})"):
        made = Candidate(components={"instructions": f"{payload} {row['id']}"})
        kept = (made.text, json.dumps(dict(made.components)), made.content_hash, row["id"])
        change(copy, ("UPDATE candidates SET text = ?, components_json = ?, content_hash = ? WHERE id = ?", kept))
    site, opened = serve(copy), tab()
    for name, path in pages_of(copy).items():
        opened.open(site.root + path)
        assert opened.run("document.title") != "ran", name
        assert opened.run("document.images.length") == 0, name
    opened.wrong = [said for said in opened.wrong if "404" not in said]  # the task, which now has another name
    opened.open(f"{site.root}{Links('/').run('hostile', run_of(copy))}")
    change(copy, "UPDATE runs SET rev = rev + 1", "UPDATE trials SET id = id + 10000")
    opened.until(lambda: opened.run("document.querySelectorAll('#trials .fresh').length"))
    assert opened.run("document.querySelectorAll('#trials img, #trials script').length") == 0
    assert opened.run("document.title") != "ran"
