"""A real run, watched from its start to its promotion; another one, cancelled from its page."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

from rollout_local.capabilities import promote_as_asked
from rollout_local.runs import worker
from rollout_local.simulator import Simulator
from rollout_local.stop import StopFlag
from rollout_local.ui.links import Links
from tests.browser.chromium import Tab
from tests.browser.conftest import Served
from tests.conftest import Project
from tests.unit.ui.conftest import change, run_of

Serve = Callable[..., Served]
Open = Callable[..., Tab]


def calls(tab: Tab) -> int:
    return int(tab.text('[data-live="metric_calls"]').replace(",", "") or 0)


def test_a_run_is_watched_from_its_start_to_its_promotion(
    simulate: Callable[..., Simulator], make_project: Callable[..., Project], serve: Serve, tab: Open
) -> None:
    project = make_project(simulate(latency_ms=150).url)
    run = project.document("optimize", "create", *project.flags, "--max-metric-calls", "60")["run_id"]
    site, opened = serve(project.folder / "rollout.db"), tab()
    page = site.root + Links("/").run("rollout", run)
    opened.open(page)
    assert "Not started yet" in opened.text()
    runner = threading.Thread(target=project.process, args=("optimize", "run", run, "-q"))
    runner.start()
    try:
        opened.until(lambda: "running" in opened.text("#head"), 40)
        first = opened.until(lambda: calls(opened), 30)
        opened.until(lambda: calls(opened) > first)
        assert opened.run("document.querySelectorAll('#trials .fresh').length") > 0
        assert "Live" in opened.text("#head")
        opened.until(lambda: "completed" in opened.text("#head"), 40)
    finally:
        runner.join()
    opened.until(lambda: opened.text("#verdict"))
    assert "The run is completed." in opened.text("#announce")
    opened.open(str(opened.run("document.querySelector('#trials .trace a').href")))
    assert "What was called" in opened.text()
    assert "system" in opened.text()
    opened.open(site.root + Links("/").run("rollout", run, "promotion"))
    assert "Better on" in opened.text()
    assert "luck" in opened.text(".verdict")


def test_cancel_cancels(
    simulate: Callable[..., Simulator], make_project: Callable[..., Project], serve: Serve, tab: Open
) -> None:
    project = make_project(simulate(latency_ms=300).url)
    run = project.document("optimize", "create", *project.flags, "--max-metric-calls", "400")["run_id"]
    site, opened = serve(project.folder / "rollout.db"), tab()
    opened.open(site.link)
    runner = threading.Thread(target=project.process, args=("optimize", "run", run, "-q"))
    runner.start()
    try:
        opened.open(site.root + Links("/").run("rollout", run))
        opened.until(lambda: opened.run("!!document.querySelector('#actions button[value=cancel]')") and
                     "running" in opened.text("#head"), 40)  # fmt: skip
        opened.run("document.querySelector('#actions button[value=cancel]').click()")
        opened.until(lambda: "cancelled" in opened.text("#head"), 30)
    finally:
        runner.join()
    assert "Cancel was asked for by root" in opened.text("#actions")


def test_a_promotion_that_is_asked_for_is_answered_on_its_page(
    finished: Path, tmp_path: Path, serve: Serve, tab: Open
) -> None:
    copy = Path(shutil.copy(finished, tmp_path / "rollout.db"))
    site, opened = serve(copy), tab()
    opened.open(site.link)
    opened.open(site.root + Links("/").run("rollout", run_of(copy), "promotion"))
    opened.run("document.querySelector('#actions button[value=promote]').click()")
    opened.until(lambda: "Promote was asked for by root" in opened.text("#actions"))
    assert f"rollout optimize promote {run_of(copy)} --to FILE" in opened.text("#actions")
    worker.work(copy, tmp_path, StopFlag(), once=True, heeds={"promote": promote_as_asked})
    opened.until(lambda: "refused: support is a target in code; say with --to FILE" in opened.text("#actions"))


def test_rows_that_came_too_fast_are_counted_on_the_page(
    finished: Path, tmp_path: Path, serve: Serve, tab: Open
) -> None:
    copy = Path(shutil.copy(finished, tmp_path / "fast.db"))
    change(copy, "UPDATE runs SET status = 'running', heartbeat_at = '2030-01-01T00:00:00.000Z'")
    site, opened = serve(copy), tab()
    opened.open(site.root + Links("/").run("fast", run_of(copy)))
    connection = sqlite3.connect(copy)
    names = [row[1] for row in connection.execute("PRAGMA table_info(trials)") if row[1] not in ("id", "occurrence")]
    connection.execute(
        f"INSERT INTO trials (occurrence, {', '.join(names)}) WITH RECURSIVE n (i) AS (SELECT 1000 UNION ALL SELECT"
        f" i + 1 FROM n WHERE i < 1450) SELECT i, {', '.join(names)} FROM n, (SELECT * FROM trials LIMIT 1)"
    )
    connection.execute("UPDATE runs SET rev = rev + 1")
    connection.commit()
    connection.close()
    opened.until(lambda: "251 trials came too fast" in opened.text("#skipped"))
    assert opened.run("document.querySelectorAll('#trials tr').length") == 200
    opened.press("p")
    assert opened.run("document.getElementById('pause').getAttribute('aria-pressed')") == "true"
