"""A target that fails on its own account: scored 0 with that as feedback, counted, and never searched on blindly."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rollout_local.simulator import Simulator
from rollout_local.store.schema import open_store
from tests.conftest import TARGET, Project

Make = Callable[..., Project]
Simulate = Callable[..., Simulator]
SMALL = ["--max-metric-calls", "20"]
BODY = "    base = os.environ"


def broken(project: Project, *lines: str) -> Project:
    """The project with these lines at the beginning of its target."""
    added = "".join(f"    {line}\n" for line in lines)
    (project.folder / "target.py").write_text(TARGET.replace("RETRIES", "0").replace(BODY, added + BODY, 1))
    return project


def events(project: Project) -> list[str]:
    with open_store(project.folder / "rollout.db", create=False) as store:
        return [row["message"] for row in store.rows("SELECT message FROM events ORDER BY id")]


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("raise ValueError('no such\\nagent')", "the target raised ValueError: no such"),
        ("return None", "the target returned nothing; return an AgentResult"),
        ("raise SystemExit(3)", "the target raised SystemExit: 3"),
    ],
)
def test_a_target_that_fails_on_every_task_of_the_baseline_fails_the_run_before_its_search(
    make_project: Make, simulate: Simulate, line: str, error: str
) -> None:
    simulator = simulate()
    project = broken(make_project(simulator.url), line)
    done = project.document("optimize", "run", *project.flags, *SMALL, code=1)
    assert (done["status"], done["stop_reason"], done["report"]) == ("failed", "error", None)
    said = "the target itself failed on all 18 tasks of the baseline, so nothing was searched; the first, task-00: "
    assert said + error in done["message"]
    assert "Mend it and start a new run" in done["message"]
    assert simulator.calls()["total"] == 0
    assert f"failed: {done['message']}" in events(project)
    again = project.rollout("optimize", "run", done["run_id"])
    assert again.returncode == 1
    assert "is failed: the target itself failed on all 18 tasks" in again.stdout


def test_a_baseline_that_only_another_text_can_mend_is_searched_on_request(
    make_project: Make, simulate: Simulate
) -> None:
    project = broken(
        make_project(simulate().url),
        "if candidate.text == 'Answer the customer.':",
        "    raise ValueError('too short')",
    )
    failed = project.document("optimize", "run", *project.flags, *SMALL, code=1)
    done = project.document("optimize", "run", failed["run_id"], "--allow-failing-baseline")
    assert done["status"] == "completed"
    assert done["report"]["holdout"]["lift"] > 0
    found = done["report"]["target_failures"]
    assert found["trials"] >= 18
    assert found["first"] == {
        "candidate": 0, "split": "train", "task": "task-00", "error": "the target raised ValueError: too short",
    }  # fmt: skip
    direct = project.document("optimize", "run", *project.flags, *SMALL, "--allow-failing-baseline")
    assert direct["digest"] == done["digest"]


@pytest.fixture
def partly(make_project: Make, simulate: Simulate) -> Project:
    return broken(make_project(simulate().url), "if task.name in ('task-01', 'task-13'):", "    raise SystemExit('no')")


def test_what_the_target_failed_on_is_scored_zero_with_the_error_as_feedback(partly: Project) -> None:
    partly.document("optimize", "run", *partly.flags, *SMALL)
    with open_store(partly.folder / "rollout.db", create=False) as store:
        rows = store.rows("SELECT DISTINCT outcome, score, feedback, error_kind FROM trials WHERE error IS NOT NULL")
    said = "the target raised SystemExit: no"
    assert rows == [{"outcome": "scored", "score": 0.0, "feedback": said, "error_kind": "target"}]


def test_every_format_of_the_report_and_the_log_say_how_often_the_target_itself_failed(partly: Project) -> None:
    done = partly.document("optimize", "run", *partly.flags, *SMALL)
    found = done["report"]["target_failures"]
    with open_store(partly.folder / "rollout.db", create=False) as store:
        counted = store.row("SELECT count(*) AS n, sum(error_kind = 'target') AS failed FROM trials")
    assert (found["of"], found["trials"]) == (counted["n"], counted["failed"])  # type: ignore[index]
    sentence = f"In {found['trials']} of {found['of']} trials the target itself failed"
    for form in ("text", "md", "html"):
        shown = partly.rollout("optimize", "report", "latest", "--format", form).stdout
        assert sentence in " ".join(shown.split())
        assert "task-01 (train, candidate 0): the target raised SystemExit: no" in " ".join(shown.split())
    log = events(partly)
    assert any(line.startswith("baseline: In 2 of 18 trials the target itself failed") for line in log)
    assert any(line.startswith(sentence) for line in log)


def test_a_run_without_such_failures_does_not_speak_of_them(make_project: Make, simulate: Simulate) -> None:
    project = make_project(simulate().url)
    done = project.document("optimize", "run", *project.flags, *SMALL)
    assert "target_failures" not in done["report"]


def test_what_the_target_failed_on_is_counted_in_a_reused_trial_too(partly: Project) -> None:
    first = partly.document("optimize", "run", *partly.flags, *SMALL)
    again = partly.document("optimize", "run", *partly.flags, *SMALL, "--reuse")
    assert again["executed"] == 0
    assert again["report"]["target_failures"] == first["report"]["target_failures"]
    assert again["digest"] == first["digest"]
