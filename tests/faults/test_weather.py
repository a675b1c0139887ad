"""Providers that limit, refuse, hang, break off or talk rubbish: a failure is retried or waited out, never scored."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest

from rollout_local.simulator import Simulator
from tests.children import BUDGET, Make, Nursery
from tests.conftest import Project
from tests.faults.conftest import Calm, Simulate, checked


def trials(project: Project, where: str) -> int:
    db = sqlite3.connect(project.folder / "rollout.db")
    found = db.execute(f"SELECT count(*) FROM trials WHERE superseded_by IS NULL AND {where}").fetchone()[0]
    db.close()
    return int(found)


def run(make_one: Make, simulator: Simulator, *flags: str, code: int = 0) -> tuple[Project, Any]:
    project = make_one(simulator.url)
    done = project.document("optimize", "run", *project.flags, *BUDGET, *flags, code=code)
    checked(project)
    assert trials(project, "score IS NOT NULL AND outcome != 'scored'") == 0
    assert trials(project, "score IS NULL AND outcome = 'scored'") == 0
    return project, done


@pytest.mark.parametrize(
    ("faults", "timeout"),
    [
        ("429:1:for=1:retry-after=50", "60"),
        ("503:0.15,500:0.05", "60"),
        ("reset:0.15", "60"),
        ("malformed:0.15", "60"),
        ("hang:1:first=2:model=sim-student", "3"),
    ],
)
@pytest.mark.usefixtures("hasty")
def test_what_may_pass_is_waited_out_and_leaves_no_mark(
    faults: str, timeout: str, make_one: Make, simulate: Simulate, calm: Calm
) -> None:
    project, done = run(make_one, simulate(faults=faults), "--timeout", timeout)
    assert done["digest"] == calm.digest
    assert not done["report"]["degraded"]
    assert trials(project, "outcome != 'scored'") == 0


@pytest.mark.parametrize(
    ("faults", "words"),
    [
        ("401:1", "refused the key"),
        ("quota:1", "quota is spent"),
        ("404:1", "does not know the model"),
    ],
)
def test_what_does_not_pass_stops_the_run_at_once(
    faults: str, words: str, make_one: Make, simulate: Simulate, calm: Calm
) -> None:
    simulator = simulate(faults=faults)
    project, done = run(make_one, simulator, "--concurrency", "3", code=3)
    assert (done["status"], done["stop_reason"]) == ("paused", "error")
    assert words in done["message"]
    assert simulator.calls()["total"] <= 3
    assert trials(project, "score IS NOT NULL") == 0
    base = ["--task-api-base", (mended := simulate().url), "--reflection-api-base", mended]
    assert project.document("optimize", "run", done["run_id"], *base)["digest"] == calm.digest


def test_a_reflection_model_that_refuses_the_key_stops_after_one_call(
    make_one: Make, simulate: Simulate, calm: Calm
) -> None:
    simulator = simulate(faults="401:1:model=sim-reflection")
    project, done = run(make_one, simulator, code=3)
    assert "reflection: the provider refused the key" in done["message"]
    assert simulator.calls()["by_model"]["sim-reflection"] == 1
    base = ["--task-api-base", (mended := simulate().url), "--reflection-api-base", mended]
    assert project.document("optimize", "run", done["run_id"], *base)["digest"] == calm.digest


@pytest.mark.long
def test_a_server_that_only_hangs_is_given_up_and_nothing_is_scored(
    make_one: Make, simulate: Simulate, calm: Calm
) -> None:
    project, done = run(make_one, simulate(faults="hang:1"), "--timeout", "2", code=3)
    assert (done["status"], done["stop_reason"]) == ("paused", "error")
    assert "did not answer in time" in done["message"] or "time limit" in done["message"]
    assert trials(project, "outcome != 'timeout'") == 0
    base = ["--task-api-base", (mended := simulate().url), "--reflection-api-base", mended]
    assert project.document("optimize", "run", done["run_id"], *base)["digest"] == calm.digest


def rubbish(make_one: Make, simulate: Simulate, budget: int) -> int:
    simulator = simulate(faults="garbage:0.85:model=sim-student,empty:1:model=sim-student")
    project = make_one(simulator.url)
    done = project.document("optimize", "run", *project.flags, "--max-metric-calls", str(budget), "--no-recording")
    assert done["status"] == "completed"
    checked(project)
    assert trials(project, "outcome != 'scored' OR score IS NULL OR score NOT BETWEEN 0 AND 1") == 0
    for form in ("text", "md", "json", "html"):
        assert project.rollout("optimize", "report", "latest", "--format", form).returncode == 0
    return int(simulator.calls()["by_model"]["sim-student"])


def test_outputs_that_are_rubbish_are_graded_and_crash_nothing(make_one: Make, simulate: Simulate) -> None:
    assert rubbish(make_one, simulate, 8) >= 11


@pytest.mark.long
def test_200_outputs_that_are_rubbish_are_graded_and_crash_nothing(make_one: Make, simulate: Simulate) -> None:
    assert rubbish(make_one, simulate, 200) >= 200


@pytest.mark.long
def test_a_storm_of_60_s_pauses_or_passes_and_ends_in_the_same_digest(
    nursery: Nursery, make_one: Make, simulate: Simulate, calm: Calm
) -> None:
    simulator = simulate(faults="429:1:for=60")
    project = make_one(simulator.url)
    run_id = nursery.create(project, *BUDGET)
    for _ in range(12):
        done = project.rollout("optimize", "run", run_id)
        assert done.returncode in (0, 3), done.stderr
        assert trials(project, "score IS NOT NULL AND output IS NULL") == 0
        if done.returncode == 0:
            break
        assert "limits the rate" in done.stdout
    assert project.document("optimize", "run", run_id)["digest"] == calm.digest
    checked(project)


def test_fewer_run_at_once_while_a_provider_limits_and_it_shows(make_one: Make, simulate: Simulate) -> None:
    project, done = run(make_one, simulate(faults="429:1:first=4:retry-after=0.02"))
    db = sqlite3.connect(project.folder / "rollout.db")
    said = [message for (message,) in db.execute("SELECT message FROM events WHERE message LIKE '%at once%'")]
    db.close()
    assert any(message.startswith("1 trials at once") for message in said), said
    assert project.document("optimize", "show", done["run_id"])["concurrency_now"] >= 1
