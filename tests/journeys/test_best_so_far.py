"""The best so far of a run that has not ended: its text, its report, and its judgement on the holdout."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest

from rollout_local.errors import Paused
from rollout_local.runs.progress import Progress, Silent
from rollout_local.runs.runner import execute
from rollout_local.stop import StopFlag
from rollout_local.store.schema import open_store
from tests.conftest import Project, fresh_targets

BUDGET = ("--max-metric-calls", "60")


class UntilOneLeads(Silent):
    """Ends a run once a candidate is ahead of the baseline."""

    def __init__(self, stop: StopFlag) -> None:
        self.stop = stop

    def progress(self, progress: Progress) -> None:
        if progress.phase == "searching" and (progress.best or 0) > (progress.baseline or 1):
            self.stop.stop(Paused("one leads"))


@pytest.fixture
def waiting(simulate: Any, make_project: Any) -> tuple[Project, str]:
    """A project with a run that paused in its search, a candidate ahead of the baseline."""
    project = make_project(simulate().url)
    run: str = project.document("optimize", "create", *project.flags, *BUDGET, "--name", "first")["run_id"]
    stop = StopFlag()
    with open_store(project.folder / "rollout.db") as store, fresh_targets(project.folder):
        outcome = execute(store, run, folder=project.folder, watch=UntilOneLeads(stop), stop=stop)
    assert outcome.status == "paused"
    return project, run


def rows(project: Project, sql: str) -> list[tuple[Any, ...]]:
    with sqlite3.connect(project.folder / "rollout.db") as db:
        return db.execute(sql).fetchall()


def test_its_text_list_and_report_are_there_while_it_waits(waiting: tuple[Project, str]) -> None:
    project, run = waiting
    (leads,) = rows(project, "SELECT step FROM metrics WHERE name = 'val_mean' ORDER BY value DESC, step LIMIT 1")[0]
    assert leads > 0
    text = project.rollout("optimize", "export", run)
    assert text.stdout.strip() == rows(project, f"SELECT text FROM candidates WHERE number = {leads}")[0][0].strip()
    assert f"provisional: run {run} is paused; candidate {leads} is the best so far" in text.stderr
    baseline = project.rollout("optimize", "export", run, "--candidate", "0").stdout
    assert baseline.strip() == rows(project, "SELECT text FROM candidates WHERE number = 0")[0][0].strip()
    shown = project.document("optimize", "show", run, "--candidate", str(leads))
    assert (shown["number"], shown["text"].strip()) == (leads, text.stdout.strip())
    (listed,) = project.document("optimize", "list")
    assert (listed["best_number"], listed["verdict"]) == (leads, None)
    assert listed["best_val"] > listed["baseline_val"]
    report = project.document("optimize", "report", run)
    assert (report["provisional"], report["best"]["number"]) == (True, leads)
    assert f"`rollout optimize judge {run}` compares it on the holdout" in report["verdict"]["sentence"]
    assert project.rollout("optimize", "report", run, "--check").returncode == 1
    refused = project.rollout("optimize", "show", run, "--candidate", "99")
    assert (refused.returncode, "has no candidate 99; its candidates are 0 to" in refused.stderr) == (2, True)


def test_the_judgement_is_a_run_of_its_own_and_the_first_one_ends_as_it_would_have(
    waiting: tuple[Project, str],
) -> None:
    project, run = waiting
    before = rows(project, f"SELECT count(*) FROM trials WHERE run_id = '{run}'")
    judged = project.document("optimize", "judge", run)
    assert judged["status"] == "completed"
    assert rows(project, f"SELECT count(*) FROM trials WHERE run_id = '{run}'") == before
    report = judged["report"]
    assert report["holdout"]["n"] == 6
    assert report["holdout"]["lift"] is not None
    assert judged["executed"] == 6, "what the first run executed is not paid again"
    (listed, _first) = project.document("optimize", "list")
    assert listed["name"].endswith(f"of {run}")
    assert listed["verdict"] == report["verdict"]["outcome"]
    assert project.document("optimize", "report", judged["run_id"])["best"]["text"] == report["best"]["text"]
    other_recording = project.document("optimize", "reproduce", judged["run_id"], code=1)
    assert "23 trials were taken over from other runs" in other_recording["difference"]
    again = project.document("optimize", "judge", run, "--no-reuse")
    assert again["report"]["holdout"] == report["holdout"]
    assert project.document("optimize", "reproduce", again["run_id"])["identical"]
    ended = project.document("optimize", "run", run)
    other = project.document("optimize", "run", *project.flags, *BUDGET)
    assert ended["digest"] == other["digest"]


def test_there_must_be_something_to_judge(simulate: Any, make_project: Any) -> None:
    project = make_project(simulate().url)
    run = project.document("optimize", "create", *project.flags, "--max-metric-calls", "8")["run_id"]
    assert "has evaluated nothing yet" in project.rollout("optimize", "judge", run).stderr
    project.document("optimize", "run", run)
    done = project.rollout("optimize", "judge", run, "--candidate", "0")
    assert (done.returncode, "that is the baseline's text" in done.stderr) == (2, True)


def test_a_list_fits_80_columns_with_whole_ids(waiting: tuple[Project, str]) -> None:
    project, run = waiting
    shown = project.rollout("optimize", "list", COLUMNS="80").stdout
    line = next(line for line in shown.splitlines() if run in line)
    assert "first" in line
    assert max(map(len, shown.splitlines())) <= 80
