"""`--isolate`: a run whose target is in child processes is the run that it is without, and outlives what they do."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

import pytest

import rollout_local as rollout
from rollout_local.errors import InputError
from rollout_local.simulator import Simulator
from rollout_local.store.schema import open_store
from rollout_local.targets.registry import clear_optimization_targets
from tests.conftest import Project, fresh_targets

Simulate = Callable[..., Simulator]
SMALL = ["--max-metric-calls", "12", "--concurrency", "2"]
LIGHT = """\
import json, os, signal, time, urllib.request
from pathlib import Path

import rollout_local as rollout

BODY


@rollout.optimize(id="support", kind="prompt", description="Answers customers.", baseline="Answer the customer.")
def answer(task, candidate):
    odd(task)
    said = [{"role": "system", "content": candidate.text}, {"role": "user", "content": task.instruction}]
    body = json.dumps({"model": "sim-student", "messages": said}).encode()
    asked = urllib.request.Request(os.environ["ROLLOUT_GEPA_STUDENT_MODEL_API_BASE"] + "/chat/completions", body)
    with urllib.request.urlopen(asked) as reply:
        return json.load(reply)["choices"][0]["message"]["content"]
"""


def light(project: Project, body: str = "def odd(task): pass") -> Project:
    """The project with a target that imports little, and does `odd` first; its place is a file that is there or not."""
    (project.folder / "target.py").write_text(LIGHT.replace("BODY", body))
    return project


@pytest.fixture
def project(make_project: Callable[..., Project], simulate: Simulate) -> Project:
    return light(make_project(simulate().url, train=3, val=2, holdout=2))


def test_a_run_with_isolated_trials_is_the_same_run_and_either_replays_the_other(project: Project) -> None:
    def run(*flags: str) -> Any:
        return project.document("optimize", "run", *project.flags, *SMALL, *flags)

    plain = run("--recording", "plain.yaml")
    assert run("--recording", "apart.yaml", "--isolate")["digest"] == plain["digest"]
    assert run("--replay", "plain.yaml", "--isolate")["digest"] == plain["digest"]
    assert run("--replay", "apart.yaml")["digest"] == plain["digest"]
    with open_store(project.folder / "rollout.db", create=False) as store:
        kept = store.rows("SELECT json_extract(config_json, '$.isolate') AS isolate, fingerprint FROM runs")
    assert [row["isolate"] for row in kept] == [0, 1, 1, 0]
    assert len({row["fingerprint"] for row in kept}) == 1


def test_a_child_that_is_killed_pauses_the_run_which_goes_on_to_the_same_result(project: Project) -> None:
    calm = project.document("optimize", "run", *project.flags, *SMALL)
    shutil.rmtree(project.folder / ".rollout")
    once = """\
def odd(task):
    mark = Path("struck")
    if task.name == "task-01" and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
"""
    light(project, once)
    paused = project.document("optimize", "run", *project.flags, *SMALL, "--isolate", code=3)
    assert (paused["status"], paused["stop_reason"]) == ("paused", "error")
    assert "the target's own process was killed from outside (SIGKILL" in paused["message"]
    done = project.document("optimize", "run", paused["run_id"])
    assert done["digest"] == calm["digest"]


def test_a_trial_that_hangs_is_ended_and_scored_by_the_rules_of_the_time_limit(project: Project) -> None:
    light(project, "def odd(task):\n    while task.name == 'task-01': pass")
    done = project.document(
        "optimize", "run", *project.flags, *SMALL, "--isolate", "--timeout", "3", "--max-tasks", "2"
    )
    assert done["status"] == "completed"
    with open_store(project.folder / "rollout.db", create=False) as store:
        rows = store.rows("SELECT DISTINCT score, feedback FROM trials WHERE task_name = 'task-01'")
    assert rows == [{"score": 0.0, "feedback": "the target ran past its time limit of 3 s"}]


def test_a_dry_run_runs_the_target_where_the_run_would(project: Project) -> None:
    here = "if 'rollout_local.isolation.child' in sys.modules: raise ValueError('not in a child')"
    light(project, f"import sys\n{here}\ndef odd(task): pass")
    done = project.rollout("optimize", "dry-run", *project.flags, *SMALL)
    assert done.returncode == 0, done.stderr
    done = project.rollout("optimize", "dry-run", *project.flags, *SMALL, "--isolate")
    assert done.returncode == 2
    said = "the target's own process (--isolate) cannot load the target: module 'target' raised on import"
    assert said in done.stderr
    assert "not in a child; mend that and go on" in done.stderr


PROGRAM = """
import dspy
import rollout_local as rollout


@rollout.optimize_program(id="qa")
def build():
    return dspy.Predict("question -> answer")
"""


def test_what_cannot_be_isolated_is_refused_in_a_sentence(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    (project.folder / "program.py").write_text(PROGRAM)
    flags = ["program" if flag == "target" else flag for flag in project.flags]
    done = project.rollout("optimize", "create", *flags, *SMALL, "--isolate")
    assert done.returncode == 2
    assert "the traces of a DSPy program, which optimizers need, do not leave the process" in done.stderr
    done = project.rollout("optimize", "create", *project.flags[2:], "--target-url", "http://127.0.0.1:1/", "--isolate")
    assert done.returncode == 2
    assert "--isolate is for a target in the run's own process; leave it out for one behind" in done.stderr
    monkeypatch.chdir(project.folder)
    with fresh_targets(project.folder):
        rollout.optimize(id="of-a-script", baseline="Answer.")(lambda task, candidate: "x")
        with pytest.raises(InputError, match="'of-a-script' was made by a script that none can import"):
            rollout.run(
                "of-a-script", dataset="dataset", verifier="verifier.json", reflection_model="openai/sim-reflection",
                max_metric_calls=2, isolate=True,
            )  # fmt: skip
        clear_optimization_targets()
