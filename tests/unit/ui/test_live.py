"""The live document: only what is new, what was left out is said, and how alive the runner is."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rollout_local.store.holders import Holder
from rollout_local.store.schema import open_store
from rollout_local.ui import readers
from rollout_local.ui.heartbeat import duration, heartbeat
from rollout_local.ui.links import Links
from rollout_local.ui.queries import DELTA
from rollout_local.ui.readers import is_rollout_file
from tests.unit.ui.conftest import Site, change, rows, run_of

Open = Callable[..., Site]


def data(path: Path, **query: Any) -> str:
    return Links("/").data(path.stem, run_of(path), **query)


def add_trials(path: Path, count: int, **changes: Any) -> None:
    """Copies of a trial, written as a runner writes them, triggers and all."""
    connection = sqlite3.connect(path)
    names = [row[1] for row in connection.execute("PRAGMA table_info(trials)")]
    row = dict(zip(names, connection.execute("SELECT * FROM trials ORDER BY id LIMIT 1").fetchone(), strict=True))
    first = connection.execute("SELECT max(id) FROM trials").fetchone()[0] + 1
    sql = f"INSERT INTO trials ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})"
    for n in range(count):
        new = {**row, "id": first + n, "occurrence": first + n, "trace_id": None, **changes}
        connection.execute(sql, tuple(new.values()))
    connection.commit()
    connection.close()


def test_the_first_look_has_the_counters_and_the_newest_trials(finished: Path, site: Open) -> None:
    found = site(finished).document(data(finished))
    run = rows(finished, "SELECT * FROM runs")[0]
    assert found["metric_calls"] == run["metric_calls"]
    assert found["trial_count"] == len(found["trials"])
    assert [trial["id"] for trial in found["trials"]] == sorted(trial["id"] for trial in found["trials"])
    assert found["trials"][-1]["href"].startswith("/-/rollout/")


def test_an_unchanged_run_is_told_in_a_few_bytes(finished: Path, site: Open) -> None:
    opened = site(finished)
    first = opened.document(data(finished))
    answer = opened.get(data(finished, since=first["trials"][-1]["id"], rev=first["rev"]))
    assert answer.json()["unchanged"] is True
    assert len(answer.content) < 200


def test_since_gives_only_what_came_after(copy: Path, site: Open) -> None:
    opened = site(copy)
    first = opened.document(data(copy))
    add_trials(copy, 3)
    found = opened.document(data(copy, since=first["trials"][-1]["id"], rev=first["rev"]))
    assert len(found["trials"]) == 3
    assert found["skipped"] == 0
    assert found["rev"] > first["rev"]


def test_rows_that_are_left_out_are_said(copy: Path, site: Open) -> None:
    opened = site(copy)
    last = opened.document(data(copy))["trials"][-1]["id"]
    add_trials(copy, DELTA + 37)
    found = opened.document(data(copy, since=last))
    assert len(found["trials"]) == DELTA
    assert found["skipped"] == 37


@pytest.mark.parametrize(("show", "score"), [("errors", None), ("low", 0.25), ("zero", 0.0)])
def test_the_feed_can_be_narrowed_on_the_page_and_live(copy: Path, site: Open, show: str, score: float | None) -> None:
    opened = site(copy)
    last = opened.document(data(copy))["trials"][-1]["id"]
    change(copy, "DELETE FROM trials WHERE score IS NULL OR score < 0.5")
    outcome = "scored" if score is not None else "timeout"
    add_trials(copy, 2, score=score, outcome=outcome, task_name="odd one", error=None if score is not None else "late")
    add_trials(copy, 2, score=1.0, task_name="good one")
    found = opened.document(data(copy, since=last, show=show))
    assert [trial["task"] for trial in found["trials"]] == ["odd one", "odd one"]
    page = opened.text(Links("/").run(copy.stem, run_of(copy), show=show))
    feed = page.partition('id="trials"')[2].partition("</tbody>")[0]
    assert "odd one" in feed
    assert "good one" not in feed


def test_nonsense_in_the_address_is_as_if_nothing_was_said(finished: Path, site: Open) -> None:
    found = site(finished).document(data(finished, since="x", rev="٣", show="everything"))
    assert found["trials"]


def test_a_writer_at_work_is_never_in_the_way(copy: Path, site: Open) -> None:
    opened = site(copy)
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            add_trials(copy, 5)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        seen = [opened.document(data(copy))["trial_count"] for _ in range(12)]
    finally:
        stop.set()
        writer.join()
    assert seen == sorted(seen)
    assert seen[-1] > seen[0]


def test_time_left_is_told_by_the_pace_of_the_search(copy: Path, site: Open) -> None:
    now = time.time()
    sql = (
        "UPDATE runs SET status = 'running', phase = 'searching', metric_call_budget = metric_calls + 100,"
        " heartbeat_at = ?, best_candidate_id = NULL"
    )
    change(copy, (sql, (iso(now),)),
           *[("UPDATE trials SET created_at = ? WHERE id = ?", (iso(now - 2 * n), row["id"]))
             for n, row in enumerate(rows(copy, "SELECT id FROM trials ORDER BY id DESC LIMIT 60"))])  # fmt: skip
    opened = site(copy)
    assert opened.document(data(copy))["left"] == "about 3 min left"
    assert "min left" in opened.text(Links("/").run(copy.stem, run_of(copy)))
    change(copy, ("UPDATE runs SET heartbeat_at = ?, last_event_at = ?, started_at = ?", (iso(now - 600),) * 3))
    page = opened.text(Links("/").run(copy.stem, run_of(copy)))
    assert "min left" not in page
    assert "Not heard from the runner for 10 min" in page
    change(
        copy,
        "UPDATE trials SET created_at = '2026-01-01T00:00:00.000Z'",
        ("UPDATE runs SET heartbeat_at = ?", (iso(now),)),
    )
    assert opened.document(data(copy))["left"] == ""


def iso(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(seconds))


def running(age: float, phase: str = "searching") -> dict[str, Any]:
    return {"status": "running", "phase": phase, "heartbeat_at": iso(1_000_000 - age), "last_event_at": None,
            "started_at": iso(900_000)}  # fmt: skip


@pytest.mark.parametrize(
    ("age", "state", "words"),
    [
        (3, "live", "Live"),
        (30, "quiet", "reflection model may be writing"),
        (83, "stale", "for 83 s"),
        (7200, "stale", "2 h"),
    ],
)
def test_silence_has_degrees(age: float, state: str, words: str) -> None:
    found = heartbeat(running(age), None, 1_000_000)
    assert found.state == state
    assert words in found.text


def test_outside_the_search_nobody_reflects() -> None:
    assert "reflection" not in heartbeat(running(30, "evaluating_baseline"), None, 1_000_000).text


def test_a_run_that_does_not_run_has_no_heartbeat() -> None:
    assert heartbeat({**running(3), "status": "paused"}, None, 1_000_000).state == "rest"


def test_a_run_that_was_never_heard_is_not_called_dead() -> None:
    row = {**running(3), "heartbeat_at": None, "started_at": None}
    assert heartbeat(row, None, 1_000_000).state == "live"


def test_a_process_that_ended_is_told_at_once() -> None:
    me = Holder.this()
    assert heartbeat(running(0), me, 1_000_000).state == "live"
    ended = Holder(me.pid, me.host, me.boot, "an earlier process with this number")
    found = heartbeat(running(0), ended, 1_000_000)
    assert found.state == "gone"
    assert str(me.pid) in found.text


def test_a_runner_that_was_killed_is_gone_on_its_pages(copy: Path, site: Open) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    me = Holder.this()
    stat = Path(f"/proc/{child.pid}/stat")
    started = stat.read_text().rpartition(")")[2].split()[19] if stat.exists() else me.process
    now = iso(time.time())
    lease = (
        "INSERT INTO leases (run_id, token, pid, host, boot, process, beats, beat_s) VALUES (?, 1, ?, ?, ?, ?, 1, 0)"
    )
    change(copy, ("UPDATE runs SET status = 'running', heartbeat_at = ?", (now,)), "DELETE FROM leases",
           (lease, (run_of(copy), child.pid, me.host, me.boot, started)))  # fmt: skip
    opened = site(copy)
    assert opened.document(data(copy))["heartbeat"]["state"] == "live"
    child.kill()
    child.communicate()
    assert opened.document(data(copy))["heartbeat"]["state"] == "gone"
    assert "has ended" in opened.text("/-/rollout/")


def test_a_file_without_leases_is_read_all_the_same(copy: Path, site: Open) -> None:
    change(copy, "DROP TABLE leases", "DROP TABLE run_commands",
           ("UPDATE runs SET status = 'running', heartbeat_at = ?", (iso(time.time()),)))  # fmt: skip
    assert site(copy).document(data(copy))["heartbeat"]["state"] == "live"
    assert "Live" in site(copy).text(Links("/").run(copy.stem, run_of(copy)))


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (89, "89 s"),
        (90, "1 min"),
        (5400, "1 h 30 min"),
        (7200, "2 h"),
        (172_800, "2 d"),
        (180_000, "2 d 2 h"),
    ],
)
def test_durations_are_said_as_people_say_them(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_a_time_that_is_none_breaks_nothing(copy: Path, site: Open) -> None:
    change(
        copy, "UPDATE runs SET status = 'running', heartbeat_at = 'yesterday', created_at = 'x', last_event_at = NULL"
    )
    assert site(copy).get("/-/rollout/").status_code == 200


def test_a_process_that_leaves_does_not_take_the_wal_with_it(copy: Path, site: Open) -> None:
    """Reading the file with `open()` here would drop SQLite's locks on it; the page would stand still for ever."""
    opened = site(copy)
    opened.text("/-/rollout/")
    script = "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); db.execute(sys.argv[2]); db.commit(); db.close()"
    for name in ("once", "twice"):
        sql = f"UPDATE runs SET name = '{name}'"
        subprocess.run([sys.executable, "-c", script, str(copy), sql], check=True, timeout=60)
        assert name in opened.text("/-/rollout/")
        assert copy.with_name(f"{copy.name}-wal").exists()


def test_a_file_that_is_being_written_to_is_ours_at_every_moment(tmp_path: Path) -> None:
    """Its first page is not whole for whoever takes no lock: one look in five would say that it is somebody else's."""
    path = tmp_path / "busy.db"
    open_store(path).close()
    script = (
        "import sqlite3, sys, time; db = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "db.execute('PRAGMA synchronous=OFF'); db.execute('PRAGMA wal_autocheckpoint=1'); end = time.time() + 1.5\n"
        "while time.time() < end: db.execute('INSERT INTO texts VALUES (hex(randomblob(8)), hex(zeroblob(20000)))')"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(path)]) as writer:
        while writer.poll() is None:
            assert readers._has_our_id(path)
    assert writer.returncode == 0


def test_a_file_that_becomes_ours_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "later.db"
    assert not is_rollout_file(path)
    path.touch()
    assert not is_rollout_file(path)
    open_store(path).close()
    assert is_rollout_file(path)
    other = tmp_path / "other.db"
    other.write_text("something else")
    other.replace(path)
    assert not is_rollout_file(path)


def test_the_feed_shows_what_was_asked_on_the_page_and_live(copy: Path, site: Open) -> None:
    change(
        copy, "UPDATE tasks SET instruction = 'Reply to this.', input_json = json_object('text', 'Where is ' || name)"
    )
    name = rows(copy, "SELECT task_name FROM trials ORDER BY id DESC LIMIT 1")[0]["task_name"]
    opened = site(copy)
    assert opened.document(data(copy))["trials"][-1]["question"] == f"Where is {name}"
    assert f'<span class="question">Where is {name}</span>' in opened.text(Links("/").run(copy.stem, run_of(copy)))
    change(copy, "UPDATE tasks SET instruction = 'Reply to ' || name")
    assert opened.document(data(copy))["trials"][-1]["question"] == f"Reply to {name} Where is {name}"
