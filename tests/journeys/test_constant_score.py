"""A baseline whose tasks all have one score teaches nothing: the run waits, says why, and goes on where it is told."""

import json
import sqlite3

from tests.conftest import Project


def constant(project: Project) -> list[str]:
    """The project graded by a check that nothing passes; the flags that run it."""
    checks = [{"type": "equals", "params": {"value": "no agent says this"}}]
    (project.folder / "verifier.json").write_text(json.dumps({"id": "strict", "checks": checks}))
    return [flag for flag in project.flags if flag != "--allow-constant-score"]


def test_it_waits_before_the_search_shows_outputs_and_goes_on_by_a_flag(simulate, make_project):
    project = make_project(simulate().url)
    done = project.rollout("optimize", "run", *constant(project), "--max-metric-calls", "10", "--json")
    waits = json.loads(done.stdout)
    assert (done.returncode, waits["status"], waits["stop_reason"]) == (3, "paused", "constant_score")
    assert "all 18 trials of the baseline have the score 0.000" in waits["message"]
    assert waits["message"].count(" gave '") + waits["message"].count(' gave "') == 3
    assert "no agent says this" in waits["message"]
    with sqlite3.connect(project.folder / "rollout.db") as db:
        assert db.execute("select count(*) from trials where phase = 'searching'").fetchone() == (0,)
    ended = project.document("optimize", "run", waits["run_id"], "--allow-constant-score")
    assert ended["status"] == "completed"
    assert ended["report"]["verdict"]["outcome"] == "do_not_promote"


def test_a_smaller_baseline_may_be_alike_by_chance(simulate, make_project):
    project = make_project(simulate().url, train=3, val=3, holdout=3)
    flags = constant(project)
    assert project.document("optimize", "run", *flags, "--max-metric-calls", "6")["status"] == "completed"
