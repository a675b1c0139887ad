"""What a signed-in reader may ask of a run, and what becomes of it."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from rollout_local.domain.run import RunStatus
from rollout_local.errors import Refused
from rollout_local.store.lease import acquire
from rollout_local.store.schema import open_store
from rollout_local.ui import readers
from rollout_local.ui.commands import OFFERED, ask
from rollout_local.ui.links import Links
from tests.unit.ui.conftest import Markup, Site, change, inserted, rows, run_of

Open = Callable[..., Site]
AT_ONCE = {"start": RunStatus.QUEUED, "cancel": RunStatus.CANCELLED}
"""What needs no runner where nobody works on a run."""


def asked(opened: Site, path: Path, action: str) -> Any:
    page = Links("/").run(path.stem, run_of(path))
    form = {"action": action, **opened.token(page)}
    return opened.ask("POST", Links("/").run(path.stem, run_of(path), "actions"), data=form)


def held(path: Path) -> None:
    """Let this process be the runner of the run, which is running."""
    change(path, "UPDATE runs SET status = 'running'")
    with open_store(path) as store:
        acquire(store, run_of(path))
        store.fence = None


def test_something_is_offered_in_every_status() -> None:
    assert set(OFFERED) == set(RunStatus)


@pytest.mark.parametrize(("status", "action"), [(s, a) for s, offered in OFFERED.items() for a in offered])
def test_what_is_offered_is_recorded_with_who_asked(copy: Path, site: Open, status: RunStatus, action: str) -> None:
    change(copy, ("UPDATE runs SET status = ?", (status,)))
    if status is RunStatus.RUNNING:
        held(copy)
    opened = site(copy)
    opened.sign_in()
    answer = asked(opened, copy, action)
    assert answer.status_code == 303
    command = rows(copy, "SELECT * FROM run_commands")[0]
    assert (command["action"], command["actor"]) == (action, "root")
    now = rows(copy, "SELECT status FROM runs")[0]["status"]
    if action in AT_ONCE and status is not RunStatus.RUNNING:
        assert now == AT_ONCE[action]
        assert command["handled_at"] is not None
    else:
        assert now == status
        assert command["handled_at"] is None
    assert f"{action.capitalize()} was asked for by root" in Markup(opened.text(answer.headers["location"])).text


def test_a_request_that_nobody_heard_says_what_to_type(copy: Path, site: Open) -> None:
    held(copy)
    opened = site(copy)
    opened.sign_in()
    asked(opened, copy, "cancel")
    said = Markup(opened.text(Links("/").run(copy.stem, run_of(copy)))).text
    assert f"If nobody is listening, type rollout optimize cancel {run_of(copy)}" in said


def test_what_is_not_offered_is_refused(copy: Path, site: Open) -> None:
    opened = site(copy)
    opened.sign_in()
    for action in ("pause", "delete everything", ""):
        answer = asked(opened, copy, action)
        assert answer.status_code == 400
        assert "cannot be asked" in answer.text
    assert rows(copy, "SELECT * FROM run_commands") == []


def test_the_status_counts_at_the_moment_of_asking(copy: Path) -> None:
    change(copy, "UPDATE runs SET status = 'cancelled'")
    with pytest.raises(Refused, match="cancelled"):
        ask(copy, run_of(copy), "cancel", "root")


@pytest.mark.parametrize(("action", "to"), [("cancel", "cancelled"), ("pause", "paused")])
def test_a_run_whose_runner_is_gone_hears_at_once(copy: Path, action: str, to: str) -> None:
    change(copy, "UPDATE runs SET status = 'running'")
    ask(copy, run_of(copy), action, "root")
    assert rows(copy, "SELECT status FROM runs")[0]["status"] == to
    assert rows(copy, "SELECT note FROM run_commands")[0]["note"] == f"{to}: nobody was working on it"


@pytest.mark.parametrize("status", ["created", "paused"])
def test_a_started_run_waits_as_a_submitted_one_does(copy: Path, status: str) -> None:
    """Should its worker die, another one takes it up: it is marked as of the queue."""
    change(copy, ("UPDATE runs SET status = ?, queued = 0, wants_fresh = 0", (status,)))
    ask(copy, run_of(copy), "start", "root")
    run = rows(copy, "SELECT status, queued, wants_fresh FROM runs")[0]
    assert tuple(run) == ("queued", 1, 0)
    assert rows(copy, "SELECT note FROM run_commands")[0]["note"] == "queued"


def test_a_queued_run_that_was_never_started_waits_for_a_worker(copy: Path, site: Open) -> None:
    change(copy, "UPDATE runs SET status = 'queued', attempt = 0, phase = NULL")
    said = Markup(site(copy).text(Links("/").run(copy.stem, run_of(copy)))).text
    assert "Waiting for a worker" in said
    assert "rollout worker" in said
    assert f"rollout optimize run {run_of(copy)}" not in said


def test_what_to_type_names_the_file_that_a_target_in_code_is_written_to(copy: Path, site: Open) -> None:
    said = Markup(site(copy).text(Links("/").run(copy.stem, run_of(copy), "promotion"))).text
    assert f"rollout optimize promote {run_of(copy)} --to FILE" in said
    change(copy, "UPDATE runs SET config_json = json_set(config_json, '$.capability', 'desk@1.0.0')")
    said = Markup(site(copy).text(Links("/").run(copy.stem, run_of(copy), "promotion"))).text
    assert "--to FILE" not in said


def test_a_promotion_that_was_asked_for_is_looked_after_until_somebody_heard(copy: Path, site: Open) -> None:
    opened, page = site(copy), Links("/").run(copy.stem, run_of(copy), "promotion")
    assert "data-refresh" not in opened.text(page)
    ask(copy, run_of(copy), "promote", "root")
    assert "data-refresh" in opened.text(page)
    assert "data-refresh" not in opened.text(Links("/").run(copy.stem, run_of(copy))), "that page refreshes itself"
    change(copy, "UPDATE run_commands SET handled_at = '2026-01-01T00:00:00.000Z', note = 'published as desk@1.0.1'")
    said = opened.text(page)
    assert "published as desk@1.0.1." in Markup(said).text
    assert "data-refresh" not in said


def test_promotions_stand_on_their_page(copy: Path, site: Open) -> None:
    texts = dict.fromkeys(("text", "text_hash", "former_text", "former_hash"), "")
    row = {"run_id": run_of(copy), "attempt": 1, "target_id": "support", "to_path": "/p.txt", **texts, "forced": 1,
           "reason": "why", "actor": "ada", "at": "2026-01-01T00:00:00.000Z"}  # fmt: skip
    change(copy, inserted("promotions", row))
    said = Markup(site(copy).text(Links("/").run(copy.stem, run_of(copy), "promotion"))).text
    assert "Promoted to /p.txt by ada" in said
    assert "forced: why" in said


def test_a_file_that_is_not_rollout_db_is_named_in_what_to_type(copy: Path, site: Open) -> None:
    other = copy.rename(copy.with_name("my runs.db"))
    assert "--db" in site(other).text(Links("/").run("my runs", run_of(other)))


def test_buttons_that_wait_for_another_process_keep_nobody_from_reading(
    copy: Path, site: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "PATIENCE_S", 0.5)
    change(copy, "UPDATE runs SET status = 'completed'")
    opened = site(copy)
    opened.sign_in()
    form, link = {"action": "retry", **opened.token()}, Links("/").run(copy.stem, run_of(copy), "actions")
    with contextlib.closing(sqlite3.connect(copy, isolation_level=None)) as other, ThreadPoolExecutor(4) as people:
        other.execute("BEGIN IMMEDIATE")
        clicks = [people.submit(opened.ask, "POST", link, data=form) for _ in range(4)]
        assert opened.get(Links("/").run(copy.stem, run_of(copy))).status_code == 200
        assert not any(click.done() for click in clicks[1:])
        refused = [click.result() for click in clicks]
    assert [answer.status_code for answer in refused] == [503] * 4
    assert "database is locked" in Markup(refused[0].text).text
    assert asked(opened, copy, "retry").status_code == 303
