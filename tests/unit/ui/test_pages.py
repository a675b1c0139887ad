"""Every page answers, says what it is about, and leads to the others."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import re
import shutil
import tarfile
import typing
from collections.abc import Callable
from pathlib import Path

import pytest

from rollout_local.domain.run import RunStatus
from rollout_local.store import reads, trial_index
from rollout_local.store.schema import Store, open_store
from rollout_local.ui import page_table, views
from rollout_local.ui.links import Links
from rollout_local.ui.pages import short
from rollout_local.ui.visit import Document, Page, Visit
from tests.conftest import ROOT
from tests.unit.ui.conftest import Markup, Site, change, pages_of, rows, run_of

PAGES = tuple(page.name for page in (*page_table.PAGES, page_table.NEW) if not page.document)
FAILED = (
    "INSERT INTO proposals (run_id, attempt, iteration, parent_candidate_id, component, accepted, reason,"
    " feedback_json, created_at) VALUES (?, 1, ?, 1, 'instructions', 0, ?, '[]', '2026')"
)
Open = Callable[..., Site]
LANDED = sorted((ROOT / "tests/landed").glob("*.tar.gz"), key=lambda path: path.name)


def address(path: Path, page: str) -> str:
    found = pages_of(path)
    return next(found[name] for name in found if name.split(" ")[0] == page)


def test_every_page_of_the_table_is_asked_for_here(finished: Path) -> None:
    """By name, and by its address: what is looked for first is the page itself."""
    found = {name.split(" ")[0]: where.partition("?")[0] for name, where in pages_of(finished).items()}
    assert set(found) == set(PAGES)
    for page in (*page_table.PAGES, page_table.NEW):
        if not page.document:
            answers = [row.name for row in page_table.PAGES if re.fullmatch(row.address, found[page.name])]
            assert (answers or [page_table.NEW.name])[0] == page.name


def test_every_view_that_is_written_is_a_page_of_the_table() -> None:
    modules = [importlib.import_module(f"{views.__name__}.{one.name}") for one in pkgutil.iter_modules(views.__path__)]
    public = {
        found for module in modules for name, found in vars(module).items()
        if inspect.isfunction(found) and found.__module__ == module.__name__ and not name.startswith("_")
    }  # fmt: skip
    hints = {found: typing.get_type_hints(found) for found in public}
    written = {
        found for found in public if hints[found] in ({"visit": Visit, "return": kind} for kind in (Page, Document))
    }
    assert written == {page.view for page in (*page_table.PAGES, page_table.NEW)}


def test_every_template_is_of_a_page() -> None:
    folder = ROOT / "rollout_local/ui"
    sources = "".join(path.read_text(encoding="utf-8") for kind in ("py", "html") for path in folder.rglob(f"*.{kind}"))
    assert [path.name for path in folder.rglob("*.html") if f'"{path.name}"' not in sources] == []


def test_the_tabs_of_a_run_are_those_of_the_table(finished: Path, site: Open) -> None:
    bar = site(finished).text(address(finished, "run")).partition('class="tabs"')[2].partition("</nav>")[0]
    assert re.findall(r">([A-Z]\w+)</a>", bar) == [page.tab for page in page_table.TABS]


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_whole_html_with_one_heading_and_landmarks(finished: Path, site: Open, page: str) -> None:
    answer = site(finished).get(address(finished, page))
    assert answer.status_code == 200, answer.text[:2000]
    found = Markup(answer.text)
    assert found.unclosed == []
    assert len(found.all("h1")) == 1
    assert len(found.all("main")) == 1
    assert found.all("html")[0]["lang"] == "en"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")


@pytest.mark.parametrize("page", PAGES)
def test_every_link_of_ours_leads_to_a_page(finished: Path, site: Open, page: str) -> None:
    opened = site(finished)
    found = Markup(opened.text(address(finished, page)))
    targets = {str(a["href"]).partition("#")[0] for a in found.all("a") if "/-/rollout/" in str(a["href"])}
    for target in sorted(targets)[:12]:
        assert opened.get(target).status_code == 200, target


def test_the_run_page_stands_without_script(finished: Path, site: Open) -> None:
    said = Markup(site(finished).text(address(finished, "run"))).text
    assert "completed" in said
    assert re.search(r"of \d+ trials", said)
    assert "candidate 0" in said
    assert "n 5" in said, "beside a mean stands its n"


def test_the_run_page_has_frontier_proposals_series_and_last_event(copy: Path, site: Open) -> None:
    with open_store(copy) as store:
        frontier = len(reads.frontier(store, run_of(copy), 1))
    judged = rows(copy, "SELECT count(*) FROM candidates WHERE status IN ('accepted', 'rejected')")[0][0]
    series = {row[0]: row[1] for row in rows(copy, "SELECT name, value FROM metrics ORDER BY step")}
    assert series["frontier"] == frontier
    assert series["accepted"] + series["rejected"] == judged
    assert 0 < series["calls"] <= rows(copy, "SELECT metric_calls FROM runs")[0][0]
    opened = site(copy)
    said = opened.text(address(copy, "run"))
    assert re.search(rf"On the frontier</dt><dd>{frontier}</dd>", said)
    assert f"{judged} judged" in said
    for label in ("Search calls from", "Candidates on the frontier from", "Accepted proposals from"):
        assert label in said
    assert "last event" in Markup(said).text
    listed = Markup(opened.text("/-/rollout/")).text
    assert f"{frontier} on the frontier" in listed
    assert "last event" in listed
    change(copy, "DELETE FROM metrics WHERE name NOT IN ('val_mean', 'best_val')")  # as of an older version
    assert "Search calls from" not in opened.text(address(copy, "run"))
    assert "on the frontier" not in Markup(opened.text("/-/rollout/")).text


def test_best_is_what_the_run_says_is_best(copy: Path, site: Open) -> None:
    other = rows(copy, "SELECT id, number FROM candidates WHERE val_n > 0 ORDER BY val_mean LIMIT 1")[0]
    change(copy, ("UPDATE runs SET best_candidate_id = ?", (other["id"],)))
    assert f"candidate {other['number']} best" in Markup(site(copy).text(address(copy, "run"))).text


def test_the_promotion_page_says_why_where_and_whether_it_is_luck(finished: Path, site: Open) -> None:
    said = Markup(site(finished).text(address(finished, "promotion"))).text
    report = json.loads(rows(finished, "SELECT report_json FROM reports")[0][0])
    assert report["verdict"]["sentence"] in said
    assert report["verdict"]["luck_sentence"] in said
    assert f"Better on {len(report['improved'])} task" in said
    for case in report["improved"]:
        assert case["task"] in said


def test_each_line_of_a_text_leads_to_the_candidate_that_brought_it(finished: Path, site: Open) -> None:
    found = Markup(site(finished).text(address(finished, "candidate")))
    anchors = {element.get("id") for _, element in found.elements}
    origins = [a for a in found.all("a") if "origin" in str(a.get("class"))]
    assert origins
    assert all(str(a["href"]).removeprefix("#") in anchors for a in origins)


@pytest.mark.parametrize("against", ["parent", "baseline", "best", "0", "999999", "x"])
def test_a_candidate_is_compared_with_whom_one_asks(finished: Path, site: Open, against: str) -> None:
    assert site(finished).get(f"{address(finished, 'candidate')}?against={against}").status_code == 200


def test_a_candidate_shows_what_changed_word_by_word(finished: Path, site: Open) -> None:
    found = Markup(site(finished).text(f"{address(finished, 'candidate')}?against=baseline"))
    assert found.all("ins")


@pytest.mark.parametrize("show", ["all", "accepted", "rejected", "failed", "open", "nonsense"])
def test_reflections_can_be_narrowed(finished: Path, site: Open, show: str) -> None:
    assert "Reflections" in site(finished).text(f"{address(finished, 'reflections')}?show={show}")


def test_a_reflection_that_gave_no_text_is_shown_with_its_reason(copy: Path, site: Open) -> None:
    run = run_of(copy)
    change(copy, (FAILED, (run, 99, "it said only Sorry")))
    said = Markup(site(copy).text(Links("/").run(copy.stem, run, "reflections", show="failed"))).text
    assert "No usable text" in said
    assert "It said only sorry" in said or "it said only Sorry" in said


def test_a_long_history_of_reflections_has_pages(copy: Path, site: Open) -> None:
    run = run_of(copy)
    change(copy, *[(FAILED, (run, 100 + n, "no")) for n in range(45)])
    opened, base = site(copy), Links("/").run(copy.stem, run, "reflections", show="failed")
    assert 'rel="next"' in opened.text(base)
    last = opened.text(f"{base}&page=3")
    assert 'rel="prev"' in last
    assert 'rel="next"' not in last


@pytest.mark.parametrize("status", list(RunStatus))
def test_every_status_has_its_page_and_what_to_type(copy: Path, site: Open, status: RunStatus) -> None:
    change(copy, ("UPDATE runs SET status = ?, message = 'the provider said no'", (status,)))
    opened = site(copy)
    said = Markup(opened.text(address(copy, "run"))).text
    assert status in said
    assert f"rollout optimize {'run' if status in ('created', 'paused') else ''}" in said
    assert status in Markup(opened.text(Links("/").jobs(status=status))).text
    assert opened.get(address(copy, "promotion")).status_code == 200


def test_a_created_run_says_how_to_start_it(copy: Path, site: Open) -> None:
    change(copy, "DELETE FROM reports", "DELETE FROM trials", "DELETE FROM candidate_tasks", "DELETE FROM candidates",
           "DELETE FROM proposals", "DELETE FROM metrics", "DELETE FROM events", "DELETE FROM candidate_parents",
           "DELETE FROM phase_calls",
           "UPDATE runs SET status = 'created', attempt = 0, phase = NULL, started_at = NULL, best_candidate_id = NULL,"
           " baseline_candidate_id = NULL, metric_calls = 0, trial_count = 0, stop_reason = NULL")  # fmt: skip
    opened, run = site(copy), run_of(copy)
    assert f"rollout optimize run {run}" in opened.text(address(copy, "run"))
    for page in ("candidates", "lineage", "pareto", "reflections", "events"):
        assert 'class="none"' in opened.text(address(copy, page)), page
    assert "No report yet" in opened.text(address(copy, "promotion"))
    both = Links("/").compare(f"{copy.stem}/{run}", f"{copy.stem}/{run}")
    assert opened.get(both).status_code == 200


def test_an_empty_file_says_what_to_type(empty: Path, site: Open) -> None:
    said = site(empty).text("/-/rollout/")
    assert "No runs yet" in said
    assert "rollout init" in said
    assert "There is no run yet" in site(empty).text("/-/rollout/compare")


def test_filters_that_fit_nothing_say_so(finished: Path, site: Open) -> None:
    opened = site(finished)
    assert "No run is like that" in opened.text("/-/rollout/?status=failed")
    assert "No run is like that" in opened.text("/-/rollout/?target=nobody")
    assert "No run is like that" not in opened.text("/-/rollout/?status=made-up")


def test_jobs_are_searched_by_name_tag_note_and_prompt(copy: Path, site: Open) -> None:
    change(copy, "UPDATE runs SET name = 'Tickets', tags_json = '[\"nightly\"]', note = 'kept for <audit>'")
    opened = site(copy)
    for words in ("tickets", "NIGHTLY", "audit kept", run_of(copy), "tickets audit"):
        assert "No run is like that" not in opened.text(f"/-/rollout/?search={words}"), words
    assert "No run is like that" in opened.text("/-/rollout/?search=tickets+unheard-of")
    said = opened.text("/-/rollout/?search=tickets")
    assert 'name="search" value="tickets"' in said
    assert "kept for &lt;audit&gt;" in said
    assert "kept for &lt;audit&gt;" in opened.text(f"/-/rollout/rollout/runs/{run_of(copy)}")


def test_jobs_that_were_put_away_are_shown_on_request(copy: Path, site: Open) -> None:
    change(copy, "UPDATE runs SET archived_at = '2026-01-01T00:00:00.000Z'")
    opened = site(copy)
    hidden = opened.text("/-/rollout/")
    assert "No runs yet" not in hidden
    assert "data-open" not in hidden
    shown = opened.text("/-/rollout/?archived=1")
    assert '<span class="kind">archived</span>' in shown
    assert 'name="archived" value="1" checked' in shown
    assert '<span class="kind archived">' in opened.text(f"/-/rollout/rollout/runs/{run_of(copy)}")


def test_a_file_of_before_runs_had_notes_is_shown(copy: Path, site: Open) -> None:
    change(copy, "DROP VIEW run_summary", "DROP VIEW trial_feed", "ALTER TABLE runs DROP COLUMN note",
           "ALTER TABLE runs DROP COLUMN archived_at")  # fmt: skip
    opened = site(copy)
    for path in ("/-/rollout/", "/-/rollout/?search=opt_&archived=1"):
        assert run_of(copy) in opened.text(path)


def test_many_jobs_have_pages(copy: Path, site: Open) -> None:
    columns = [row["name"] for row in rows(copy, "PRAGMA table_info(runs)") if row["name"] not in ("id", "created_at")]
    named = ", ".join(columns)
    change(copy, *[
        (f"INSERT INTO runs (id, created_at, {named}) SELECT ?, ?, {named} FROM runs LIMIT 1",
         (f"opt_copy{n:04}", f"2026-01-01T00:{n:02}:00.000Z"))
        for n in range(60)
    ])  # fmt: skip
    opened = site(copy)
    first, second = opened.text("/-/rollout/"), opened.text("/-/rollout/?page=2")
    assert first.count("data-open") == 50
    assert second.count("data-open") == 11
    assert 'rel="next"' in first
    assert 'rel="prev"' in second


def test_several_files_are_listed_together(finished: Path, tmp_path: Path, site: Open) -> None:
    one = Path(shutil.copy(finished, tmp_path / "one.db"))
    two = Path(shutil.copy(finished, tmp_path / "two.two.db"))
    change(two, "UPDATE runs SET name = 'the other'")
    opened = site(one, two)
    said = opened.text("/-/rollout/")
    assert "two.two" in said
    for path in (one, two):
        assert opened.get(Links("/").run(path.stem, run_of(path))).status_code == 200
    both = Links("/").compare(f"one/{run_of(one)}", f"two.two/{run_of(two)}")
    said = Markup(opened.text(both)).text
    assert "Nothing: they were set up the same" in said
    assert "The same text" in said


def test_compare_shows_only_what_differs(copy: Path, tmp_path: Path, site: Open) -> None:
    other = Path(shutil.copy(copy, tmp_path / "other.db"))
    change(other, "UPDATE runs SET metric_call_budget = 999, config_json = json_set(config_json, '$.seed', 7)")
    said = Markup(site(copy, other).text(Links("/").compare(f"rollout/{run_of(copy)}", f"other/{run_of(other)}"))).text
    assert "budget" in said
    assert "seed" in said
    assert "concurrency" not in said


def test_an_earlier_attempt_is_kept_as_evidence(copy: Path, site: Open) -> None:
    change(copy, "UPDATE runs SET attempt = 2, best_candidate_id = NULL, baseline_candidate_id = NULL")
    opened, run = site(copy), run_of(copy)
    assert "Earlier attempts" in opened.text(Links("/").run(copy.stem, run))
    old = opened.text(Links("/").run(copy.stem, run, attempt=1))
    assert "kept as evidence" in old
    assert "attempt=1" in old
    for page in ("candidates", "lineage", "pareto", "reflections", "promotion"):
        said = opened.text(Links("/").run(copy.stem, run, page, attempt=1))
        assert 'class="none">No' not in said, page


def test_what_is_not_there_is_said_and_leads_on(finished: Path, site: Open) -> None:
    opened, run = site(finished), run_of(finished)
    links = Links("/")
    for path in (
        links.run("rollout", "opt_nobody"), links.run("elsewhere", run), links.candidate("rollout", run, 999),
        links.trial("rollout", 999_999), links.trace("rollout", "trc_nobody"), links.data("rollout", "opt_nobody"),
        links.run("rollout", run, "task", name="nobody"), links.compare("elsewhere/x", "y"),
        links.compare("rollout/opt_nobody"),
    ):  # fmt: skip
        answer = opened.get(path)
        assert answer.status_code == 404, path
        assert "All jobs" in answer.text


def test_events_can_be_narrowed_and_paged(copy: Path, site: Open) -> None:
    run = run_of(copy)
    change(copy, *[
        ("INSERT INTO events (run_id, attempt, at, level, message) VALUES (?, 1, '2026-01-01T00:00:00.000Z', ?, ?)",
         (run, "warning" if n % 2 else "error", f"line {n}")) for n in range(250)
    ])  # fmt: skip
    opened, base = site(copy), Links("/").run(copy.stem, run, "events")
    first = opened.text(base)
    assert "line 249" in first
    assert "line 3<" not in first
    older = re.search(r'href="([^"]*before=\d+)"', first)
    assert older
    assert "line 3<" in opened.text(older[1].replace("&amp;", "&"))
    assert "line 248" not in opened.text(f"{base}?level=warning")
    assert "No line of this level" in opened.text(f"{base}?level=debug")


def test_a_trial_that_failed_is_shown_as_an_error(copy: Path, site: Open) -> None:
    trial = rows(copy, "SELECT id FROM trials LIMIT 1")[0]["id"]
    sql = (
        "UPDATE trials SET score = NULL, outcome = 'provider_error', error = '429 slow down', output = NULL,"
        " feedback = '', checks_json = NULL, trace_id = NULL WHERE id = ?"
    )
    change(copy, (sql, (trial,)))
    opened = site(copy)
    said = Markup(opened.text(Links("/").trial(copy.stem, trial))).text
    assert "provider error" in said
    assert "429 slow down" in said
    assert "It gave no output" in said
    assert "No call was recorded" in said
    feed = Markup(opened.text(f"{address(copy, 'run')}?show=errors")).text
    assert "429 slow down" in feed


def test_the_waterfall_shows_steps_under_their_parents_and_errors_as_errors(copy: Path, site: Open) -> None:
    span = rows(copy, "SELECT * FROM span_records LIMIT 1")[0]
    child = {**dict(span), "id": "spn_child", "parent_id": span["id"], "error": "timed out", "name": "inner step"}
    change(copy, (
        f"INSERT INTO span_records ({', '.join(child)}) VALUES ({', '.join('?' * len(child))})", tuple(child.values()),
    ))  # fmt: skip
    said = site(copy).text(Links("/").trace(copy.stem, span["trace_id"]))
    assert "depth-1" in said
    assert "inner step" in said
    assert "timed out" in said


def test_a_reflection_has_a_trace_of_its_own(finished: Path, site: Open) -> None:
    trace = rows(finished, "SELECT trace_id FROM reflections LIMIT 1")[0]["trace_id"]
    assert "What was called" in site(finished).text(Links("/").trace("rollout", trace))


def test_everything_stands_under_a_base_url(finished: Path, site: Open) -> None:
    opened, links = site(finished, base_url="user/me/proxy"), Links("/user/me/proxy/")
    said = opened.text(links.run("rollout", run_of(finished)))
    found = Markup(said)
    targets = [a["href"] for a in found.all("a")] + [link["href"] for link in found.all("link")]
    assert all(str(target).startswith(("/user/me/proxy/", "#")) for target in targets)
    assert opened.get(str(found.all("script")[0]["src"])).status_code == 200


def test_an_unwritable_folder_is_read_as_it_stands(copy: Path, site: Open) -> None:
    said = site(copy, writable=lambda _folder: False).text("/-/rollout/")
    assert "its folder cannot be written" in said


def test_a_replaced_file_is_opened_anew(copy: Path, tmp_path: Path, site: Open) -> None:
    opened = site(copy)
    opened.text("/-/rollout/")
    fresh = tmp_path / "fresh.db"
    with open_store(fresh):
        pass
    fresh.replace(copy)
    for leftover in ("-wal", "-shm"):
        copy.with_name(copy.name + leftover).unlink(missing_ok=True)
    assert "No runs yet" in opened.text("/-/rollout/")


def test_a_damaged_file_is_said_to_be_unreadable(copy: Path, site: Open) -> None:
    views = [row["name"] for row in rows(copy, "SELECT name FROM sqlite_master WHERE type = 'view'")]
    change(copy, *(f"DROP VIEW {name}" for name in views), "ALTER TABLE runs RENAME TO was_runs")
    answer = site(copy).get("/-/rollout/")
    assert answer.status_code == 503
    assert "could not be used" in answer.text


@pytest.mark.parametrize("page", ["run", "promotion"])
def test_a_report_of_an_older_version_is_shown_with_a_verdict_of_this_one(copy: Path, site: Open, page: str) -> None:
    older = "json_remove(report_json, '$.format', '$.doubts', '$.verdict.outcome', '$.verdict.more_tasks')"
    change(copy, f"UPDATE reports SET report_json = json_set({older}, '$.holdout.interval[0]', -0.1)")
    assert "Undecided: candidate" in Markup(site(copy).text(address(copy, page))).text
    assert "undecided" in Markup(site(copy).text("/-/rollout/")).text


@pytest.mark.parametrize("landed", ["0001_the_whole_path", "0011_unknown_costs"])
def test_pages_of_a_run_that_an_earlier_version_made_are_shown(landed: str, tmp_path: Path, site: Open) -> None:
    with tarfile.open(ROOT / f"tests/landed/{landed}.tar.gz") as archive:
        archive.extract("./rollout.db", tmp_path, filter="data")
    path = tmp_path / "rollout.db"
    open_store(path).close()
    opened = site(path)
    for name, page in pages_of(path).items():
        assert opened.get(page).status_code == 200, name


@pytest.mark.parametrize("landed", [LANDED[0], LANDED[-1]], ids=lambda path: path.name)
def test_a_file_of_an_earlier_schema_is_shown_as_it_is(
    landed: Path, tmp_path: Path, site: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read-only, say, and lacks what came later; the newest that landed lacks what is added now."""
    monkeypatch.setattr(Store, "select", inspect.unwrap(Store.select))  # else rows are held against today's columns
    with tarfile.open(landed) as archive:
        archive.extract("./rollout.db", tmp_path, filter="data")
    opened, path = site(tmp_path / "rollout.db"), tmp_path / "rollout.db"
    for name, page in pages_of(path).items():
        assert opened.get(page).status_code == 200, name


# -- trials to be read


def test_trials_are_read_with_question_and_output_and_narrowed_by_links(finished: Path, site: Open) -> None:
    opened, run = site(finished), run_of(finished)
    row = rows(finished, "SELECT t.*, k.instruction, k.input_json FROM trials t JOIN tasks k ON k.name = t.task_name"
                         " WHERE t.score IS NOT NULL ORDER BY t.id DESC LIMIT 1")[0]  # fmt: skip
    link = Links("/").run("rollout", run, "trials")
    said = Markup(opened.text(link)).text
    assert short(row["output"], 280) in said
    question = row["instruction"] if row["input_json"] == "{}" else next(iter(json.loads(row["input_json"]).values()))
    assert short(question, 100)[:90] in said
    only = opened.text(f"{link}?task={row['task_name']}&split={row['split']}&candidate=0")
    shown = {found for _, found in re.findall(r'(title="Only this task">)([^<]*)<', only)}
    assert shown == {row["task_name"]}
    assert "Show all" in only


def test_trials_are_sorted_by_the_heads_and_the_heads_say_how(finished: Path, site: Open) -> None:
    opened, link = site(finished), Links("/").run("rollout", run_of(finished), "trials")
    scores = []
    for step in ("", "?sort=score", "?sort=-score"):
        said = opened.text(link + step)
        scores.append([float(one) for one in re.findall(r'class="score">([\d.]+)', said)])
        sorted_ = re.findall(r'aria-sort="(\w+)"><a href="([^"]*)"', said)
        assert [name for name, _ in sorted_] == {"": [], "?sort=score": ["ascending"]}.get(step, ["descending"])
    assert scores[1] == sorted(scores[1])
    assert scores[2] == sorted(scores[2], reverse=True)
    assert scores[1] != scores[2]


def test_what_no_trial_says_is_said_and_odd_addresses_are_no_mistakes(finished: Path, site: Open) -> None:
    opened, link = site(finished), Links("/").run("rollout", run_of(finished), "trials")
    for query in ("?search=unheard-of", "?candidate=99", "?task=nobody", "?split=holdout&score=errors", "?before=1"):
        said = opened.text(link + query)
        assert "data-trial" not in said, query
        assert "No trial" in said, query
    for query in ("?sort=made-up", "?score=x&split=y", "?page=0", "?search=%22", "?search=NEAR(", "?candidate=x"):
        assert "data-trial" in opened.text(link + query) or "NEAR" in query, query
    assert "rollout db index" in opened.text(link + "?search=the")


def test_with_an_index_words_are_found_in_the_page_and_it_is_not_asked_for(copy: Path, site: Open) -> None:
    with open_store(copy) as store:
        trial_index.build(store)
    missing = rows(copy, "SELECT count(*) AS n FROM trials WHERE feedback LIKE '%missing%'")[0]["n"]
    said = site(copy).text(Links("/").run("rollout", run_of(copy), "trials", search="missing"))
    assert said.count("data-trial") == min(missing, 50) > 0
    assert "rollout db index" not in said


def test_older_trials_are_a_link_away_until_there_are_none(copy: Path, site: Open) -> None:
    opened, link = site(copy), Links("/").run("rollout", run_of(copy), "trials")
    seen: list[str] = []
    while link:
        said = opened.text(link)
        seen += re.findall(r'data-trial="(\d+)"', said)
        older = re.search(r'href="([^"]*)" rel="next"', said)
        link = older[1].replace("&amp;", "&") if older else ""
    everything = [str(row["id"]) for row in rows(copy, "SELECT id FROM trials ORDER BY id DESC")]
    assert seen == everything
    assert len(seen) > 50


def test_a_candidate_and_a_run_lead_to_their_trials(finished: Path, site: Open) -> None:
    opened, run = site(finished), run_of(finished)
    link = Links("/").run("rollout", run, "trials")
    assert f'action="{link}" role="search"' in opened.text(Links("/").run("rollout", run))
    said = opened.text(Links("/").candidate("rollout", run, 0))
    assert f'action="{link}" role="search"><input type="hidden" name="candidate" value="0">' in said
    assert f'href="{link}?candidate=0"' in said
    assert "<h3>Question</h3>" in said


def test_a_text_that_was_changed_in_the_file_is_not_shown_as_the_candidates(copy: Path, site: Open) -> None:
    change(copy, "UPDATE candidates SET text = text || ' Evil.' WHERE number = 1")
    answer = site(copy).get(Links("/").candidate(copy.stem, run_of(copy), 1))
    assert answer.status_code == 503
    assert "the text of candidate 1" in answer.text
    assert "Evil." not in answer.text


@pytest.mark.parametrize(
    ("table", "column", "leads_to"),
    [
        ("runs", "status", "runs/{run}"),
        ("run_summary", "id", "runs/{run}"),
        ("candidates", "run_id", "runs/{run}"),
        ("leaderboard", "number", "runs/{run}/candidates/"),
        ("trials", "trace_id", "traces/"),
        ("trials", "task_name", "runs/{run}/task?name="),
        ("trial_feed", "id", "trials/"),
        ("traces", "name", "traces/"),
        ("traces", "trial_id", "trials/"),
    ],
)
def test_ids_in_datasettes_tables_lead_to_our_pages(
    finished: Path, site: Open, table: str, column: str, leads_to: str
) -> None:
    opened = site(finished)
    page = opened.text(f"/{finished.stem}/{table}?_size=3")
    wanted = "/-/rollout/" + f"{finished.stem}/{leads_to}".format(run=run_of(finished))
    links = [str(a.get("href")) for a in Markup(page).all("a") if wanted in str(a.get("href"))]
    assert links, f"{table}.{column} is no link"
    assert opened.get(links[0]).status_code == 200


def test_a_hostile_id_in_datasettes_tables_is_text(copy: Path, site: Open) -> None:
    change(copy, "PRAGMA foreign_keys=OFF", ("UPDATE traces SET name = ?", ('"><img src=x>',)))
    found = Markup(site(copy).text(f"/{copy.stem}/traces?_size=3"))
    assert found.all("img") == []
    assert any("/-/rollout/" in str(a.get("href")) and "/traces/" in str(a.get("href")) for a in found.all("a"))


def test_a_table_of_others_is_left_alone(finished: Path, site: Open) -> None:
    opened = site(finished)
    opened.sign_in()
    page = opened.text(f"/{finished.stem}?sql=select+'x'+as+trial_id,+2+as+number")
    assert f"/-/rollout/{finished.stem}/" not in page
