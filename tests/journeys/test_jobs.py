"""Jobs: submitted, worked off, watched, cancelled, tried anew, promoted."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from rollout_local.clock import now
from rollout_local.simulator import Simulator
from rollout_local.store import queue
from rollout_local.store.schema import open_store
from tests.children import Nursery, until
from tests.conftest import Project

Make = Callable[..., Project]
Simulate = Callable[..., Simulator]


def submitted(project: Project, *more: str) -> str:
    """The id of a newly queued run."""
    run: str = project.document("optimize", "submit", *project.flags, "--max-metric-calls", "10", *more)["run_id"]
    return run


def test_a_submitted_run_waits_until_a_worker_runs_it_as_run_would(make_project: Make, simulate: Simulate) -> None:
    project = make_project(simulate().url)
    run = submitted(project)
    assert project.document("optimize", "show", run)["status"] == "queued"
    done = project.document("worker", "--once")
    assert [(job["run_id"], job["status"]) for job in done] == [(run, "completed")]
    direct = project.document("optimize", "run", *project.flags, "--max-metric-calls", "10")
    assert project.document("optimize", "digest", run)["digest"] == direct["digest"]
    assert project.document("optimize", "watch", run)["status"] == "completed"


@pytest.mark.parametrize("moment", [("status", "running"), ("phase", "searching")], ids=["claimed", "searching"])
def test_a_cancelled_job_does_not_end_its_worker(
    make_project: Make, simulate: Simulate, nursery: Nursery, moment: tuple[str, str]
) -> None:
    project = make_project(simulate(latency_ms=60).url)
    first, second = submitted(project), submitted(project)
    child = nursery.start(project, "worker", "--once", "--json")
    until(lambda: project.document("optimize", "show", first)[moment[0]] == moment[1])
    project.rollout("optimize", "cancel", first)
    done = child.wait()
    assert done.code == 0, done.stderr
    assert [(job["run_id"], job["status"]) for job in done.document] == [(first, "cancelled"), (second, "completed")]


def test_jobs_of_another_project_are_left_alone(make_project: Make, simulate: Simulate) -> None:
    project = make_project(simulate().url)
    mine, theirs = submitted(project, "--project", "mine"), submitted(project, "--project", "theirs")
    assert [job["run_id"] for job in project.document("worker", "--once", "--project", "mine")] == [mine]
    assert project.document("optimize", "show", theirs)["status"] == "queued"


def test_a_queued_run_is_cancelled_at_once_and_a_worker_passes_it_by(make_project: Make, simulate: Simulate) -> None:
    project = make_project(simulate().url)
    run = submitted(project)
    assert project.document("optimize", "cancel", run)["status"] == "cancelled"
    assert project.document("optimize", "cancel", run)["status"] == "cancelled"
    assert project.document("worker", "--once") == []
    assert project.rollout("worker", "--once").stderr == "Nothing is queued.\n"
    assert project.rollout("worker", "--once", "-q").stderr == ""


def test_a_queued_run_cannot_be_paused_and_is_told_how_it_is_ended(make_project: Make, simulate: Simulate) -> None:
    project = make_project(simulate().url)
    run = submitted(project, "--db", "jobs.db")
    refused = project.rollout("optimize", "pause", run, "--db", "jobs.db")
    assert refused.returncode == 1
    assert f"there is nothing to pause (`rollout optimize cancel {run}` ends it)" in refused.stderr
    again = project.rollout("optimize", "submit", *project.flags, "--max-metric-calls", "10", "--db", "jobs.db")
    assert again.stdout.endswith("is queued; `rollout worker --db jobs.db` runs it.\n")
    worked = project.rollout("worker", "--once", "--db", "jobs.db")
    assert f"run {run} of support" in worked.stderr


def test_a_dry_run_of_a_stored_run_names_its_own_recording(make_project: Make, simulate: Simulate) -> None:
    project = make_project(simulate().url)
    run = submitted(project)
    found = project.document("optimize", "dry-run", run)
    details = {check["check"]: check["detail"] for check in found["checks"]}
    assert details["recording"] == f".rollout/{run}/recording.yaml, mode new_episodes"
    assert details["keys"].endswith(f"is not set, nor needed at {project.url}")


def test_a_retry_is_a_new_attempt_that_keeps_the_old_evidence(make_project: Make, simulate: Simulate) -> None:
    project = make_project(simulate().url)
    run = submitted(project)
    refused = project.rollout("optimize", "retry", run)
    assert refused.returncode == 1
    assert "queued" in refused.stderr
    project.document("worker", "--once")
    assert project.document("optimize", "retry", run)["status"] == "queued"
    assert [job["status"] for job in project.document("worker", "--once")] == ["completed"]
    shown = project.document("optimize", "show", run)
    assert shown["attempt"] == 2
    with open_store(project.folder / "rollout.db", create=False) as store:
        attempts = store.rows("SELECT attempt, count(*) AS n FROM trials GROUP BY attempt")
    assert [row["attempt"] for row in attempts] == [1, 2]
    assert attempts[0]["n"] == attempts[1]["n"]


def test_a_run_that_cannot_start_fails_with_its_reason(make_project: Make, simulate: Simulate) -> None:
    project = make_project(simulate().url)
    run = submitted(project)
    (project.folder / "target.py").write_text("raise RuntimeError('broken since')\n")
    done = project.document("worker", "--once")
    assert (done[0]["run_id"], done[0]["status"]) == (run, "failed")
    assert "broken since" in done[0]["message"]


def test_a_job_of_a_dead_worker_goes_back_to_the_queue_and_ends_equal(
    make_project: Make, simulate: Simulate, nursery: Nursery
) -> None:
    project = make_project(simulate(latency_ms=30).url)
    run = submitted(project)
    child = nursery.start(project, "worker", "--once", "-q")
    with open_store(project.folder / "rollout.db", create=False) as store:
        until(lambda: store.rows("SELECT 1 FROM trials LIMIT 1") != [])
        child.signal(signal.SIGKILL)
        child.wait()
        assert queue.reap(store, 3, now()) == [(run, "queued")]
    assert [job["status"] for job in project.document("worker", "--once")] == ["completed"]
    calm = project.document("optimize", "run", *project.flags, "--max-metric-calls", "10")
    assert project.document("optimize", "digest", run)["digest"] == calm["digest"]
    assert project.document("db", "check")["ok"]


def many_workers(nursery: Nursery, project: Project, jobs: int, workers: int) -> None:
    """Queue jobs, let several processes work them off, and look that each ran once."""
    flags = [*project.flags, "--max-metric-calls", "1", "--max-tasks", "1", "--concurrency", "1", "--no-recording"]
    runs = {project.document("optimize", "submit", *flags)["run_id"] for _ in range(jobs)}
    started = [nursery.start(project, "worker", "--once", "--json") for _ in range(workers)]
    done = [job for child in started for job in child.wait(timeout=600).document]
    assert sorted(job["run_id"] for job in done) == sorted(runs)
    assert {job["status"] for job in done} == {"completed"}
    assert project.document("db", "check")["ok"]


def test_several_workers_on_one_file_run_each_job_once(
    make_project: Make, simulate: Simulate, nursery: Nursery
) -> None:
    many_workers(nursery, make_project(simulate().url), jobs=8, workers=3)


@pytest.mark.long
def test_ten_workers_run_two_hundred_jobs_once_each(make_project: Make, simulate: Simulate, nursery: Nursery) -> None:
    many_workers(nursery, make_project(simulate().url), jobs=200, workers=10)


def test_a_winning_text_is_previewed_and_written_where_it_is_said(make_project: Make, simulate: Simulate) -> None:
    project = make_project(simulate().url)
    run = project.document("optimize", "run", *project.flags, "--max-metric-calls", "60")["run_id"]
    shown = project.rollout("optimize", "promote", run, "--to", "prompt.txt", "--dry-run")
    assert shown.returncode == 0, shown.stderr
    assert "+" in shown.stdout
    assert not (project.folder / "prompt.txt").exists()
    assert project.rollout("optimize", "promote", run, "--to", "prompt.txt").returncode == 0
    written = (project.folder / "prompt.txt").read_text()
    assert written.strip() == project.document("optimize", "report", run)["best"]["text"].strip()
    refused = project.rollout("optimize", "promote", run, "--to", "target.py")
    assert refused.returncode == 1
    assert "give a file that holds that prompt and nothing else, or a new one" in refused.stderr
