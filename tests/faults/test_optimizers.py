"""MIPROv2, SIMBA and BetterTogether as whole runs: reproduced, killed and gone on with, or refused."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from rollout_local.simulator import Settings, Simulator, load_script
from tests.children import Make, Nursery, make_small
from tests.conftest import Project
from tests.faults.conftest import KILLED, Simulate, checked

PROGRAM = """\
import dspy
import rollout_local as rollout


class Support(dspy.Module):
    def __init__(self):
        super().__init__()
        self.draft = dspy.Predict(dspy.Signature("instruction -> notes", "Note what matters."))
        text = 'Answer the customer. Mention "30 days".'
        self.answer = dspy.Predict(dspy.Signature("instruction, notes -> reply", text))

    def forward(self, instruction):
        notes = self.draft(instruction=instruction).notes
        return dspy.Prediction(reply=self.answer(instruction=instruction, notes=notes).reply)


@rollout.optimize_program(id="support", description="Answers customers.")
def build():
    return Support()
"""

RUNS = {
    "simba": ["--optimizer", "simba", "--max-metric-calls", "60", "--arg", "bsize=3", "--arg", "num_candidates=2",
              "--arg", "max_steps=2"],
    "mipro": ["--optimizer", "mipro", "--max-metric-calls", "30", "--arg", "num_candidates=4", "--arg", "num_trials=5",
              "--arg", "minibatch=false", "--arg", "max_bootstrapped_demos=2", "--arg", "max_labeled_demos=1"],
    "bettertogether": ["--optimizer", "bettertogether", "--strategy", "few_shot -> gepa", "--max-metric-calls", "40",
                       "--arg", "few_shot.max_labeled_demos=2"],
}  # fmt: skip


def program_project(folder: Path, url: str) -> Project:
    folder.mkdir(exist_ok=True)
    project = make_small(folder)(url)
    (project.folder / "target.py").write_text(PROGRAM)
    return project


def rows(project: Project, statement: str) -> list[Any]:
    with closing(sqlite3.connect(project.folder / "rollout.db")) as db:
        return db.execute(statement).fetchall()


@pytest.mark.parametrize(
    "optimizer", ["bettertogether", *(pytest.param(name, marks=pytest.mark.long) for name in ("mipro", "simba"))]
)
def test_a_whole_run_has_a_report_keeps_its_budget_and_is_reproduced(
    nursery: Nursery, tmp_path: Path, simulate: Simulate, optimizer: str
) -> None:
    project = program_project(tmp_path, simulate().url)
    done = nursery.run(project, "optimize", "run", *project.flags, *RUNS[optimizer], "--json")
    assert done.code == 0, done.stderr
    assert done.document["status"] == "completed"
    budget = int(RUNS[optimizer][RUNS[optimizer].index("--max-metric-calls") + 1])
    assert 0 < rows(project, "SELECT metric_calls FROM runs")[0][0] <= budget
    assert any("demos" in text for (text,) in rows(project, "SELECT components_json FROM candidates"))
    assert rows(project, "SELECT count(*) FROM candidates WHERE status = 'proposed'") == [(0,)]
    assert "ootstrapp" not in done.stderr, "what DSPy says of itself is left out"
    again = nursery.run(project, "optimize", "reproduce", "latest")
    assert again.code == 0, again.stdout + again.stderr
    served = nursery.run(project, "optimize", "run", "latest", "--json")
    assert served.document["digest"] == done.document["digest"]
    assert served.document["executed"] == 0
    checked(project)


@pytest.mark.parametrize(
    ("optimizer", "threads"),
    [
        pytest.param("simba", 4, marks=pytest.mark.long),
        pytest.param("simba", 1, marks=pytest.mark.long),
        ("mipro", 4),
        pytest.param("bettertogether", 4, marks=pytest.mark.long),
    ],
)
def test_killed_anywhere_it_goes_on_to_the_same_digest(
    nursery: Nursery, make_one: Make, tmp_path: Path, optimizer: str, threads: int
) -> None:
    with Simulator(load_script(None), Settings()) as simulator:
        calm = program_project(tmp_path / "calm", simulator.url)
        whole = nursery.run(calm, "optimize", "run", *calm.flags, *RUNS[optimizer], "--json")
        assert whole.code == 0, whole.stderr
        calls = simulator.calls()["total"]
    killed = 0
    for part in (3, 5, 7, 9):
        with Simulator(load_script(None), Settings()) as simulator:
            project = make_one(simulator.url)
            (project.folder / "target.py").write_text(PROGRAM)
            run_id = nursery.create(project, *RUNS[optimizer], "--concurrency", str(threads))
            die = {"call": calls * part // 10, "when": ("before", "after")[part % 2]}
            killed += nursery.run(project, "optimize", "run", run_id, die=die).code == KILLED
            done = nursery.run(project, "optimize", "run", run_id, "--json")
            assert done.code == 0, done.stderr
            assert done.document["digest"] == whole.document["digest"]
            assert simulator.calls()["total"] <= calls + 2 * threads  # a program asks twice in a trial
    assert killed == 4


REFUSED = {
    "a strategy without stages": (["--strategy", "bootstrap"], "--strategy names the stages"),
    "a stage that there is not": (
        ["--optimizer", "bettertogether", "--strategy", "copro -> gepa"], "no stage 'copro'"),
    "weights": (["--optimizer", "bettertogether", "--strategy", "gepa -> finetune"], "trains a model's weights"),
    "arguments of another stage": (
        ["--optimizer", "bettertogether", "--strategy", "gepa", "--arg", "simba.bsize=3"], "--strategy does not have"),
    "a teacher": (["--optimizer", "mipro", "--arg", "teacher=x:y"], "--arg teacher is refused"),
    "iterations": (["--optimizer", "simba", "--no-improvement", "3"], "counts the iterations of gepa"),
    "reuse": (["--optimizer", "simba", "--reuse"], "same answer"),
    "a seed": (["--optimizer", "simba", "--seed", "-1"], "numpy takes a seed"),
    "a wrong type": (["--optimizer", "simba", "--arg", "bsize=0"], "bsize=0"),
    "a stage's wrong type": (["--optimizer", "bettertogether", "--arg", "gepa.use_merge=3"], "gepa.use_merge"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_is_refused_when_the_run_is_created(nursery: Nursery, tmp_path: Path, what: str) -> None:
    flags, said = REFUSED[what]
    project = program_project(tmp_path, "http://127.0.0.1:9/v1")
    done = nursery.run(project, "optimize", "create", *project.flags, *flags)
    assert done.code == 2
    assert said in " ".join(done.stderr.split())


@pytest.mark.parametrize("optimizer", RUNS)
def test_a_target_that_is_no_program_is_refused_with_the_reason(
    nursery: Nursery, tmp_path: Path, optimizer: str
) -> None:
    project = make_small(tmp_path)("http://127.0.0.1:9/v1")
    done = nursery.run(project, "optimize", "create", *project.flags, "--optimizer", optimizer)
    assert done.code == 2
    assert "only a DSPy program has" in " ".join(done.stderr.split())


def test_a_program_without_a_model_to_sample_is_refused(nursery: Nursery, tmp_path: Path) -> None:
    project = program_project(tmp_path, "http://127.0.0.1:9/v1")
    flags = project.flags[: project.flags.index("--task-model")]
    done = nursery.run(project, "optimize", "create", *flags, "--optimizer", "simba")
    assert done.code == 2
    assert "give --task-model" in " ".join(done.stderr.split())


@pytest.mark.parametrize(("flags", "warned"), [([], True), (["--arg", "metric_threshold=0.7"], False)])
def test_a_dry_run_says_where_every_run_would_become_a_demonstration(
    nursery: Nursery, tmp_path: Path, flags: list[str], warned: bool
) -> None:
    project = program_project(tmp_path, "http://127.0.0.1:9/v1")
    metric = "\n\ndef metric(gold, pred, *_):\n    return dspy.Prediction(score=0.5, feedback='so so')\n"
    text = PROGRAM.replace("import rollout_local as rollout\n", "import rollout_local as rollout\n" + metric)
    (project.folder / "target.py").write_text(text.replace('id="support"', 'id="support", metric=metric'))
    given = project.flags
    at = given.index("--verifier")
    done = nursery.run(
        project, "optimize", "dry-run", *given[:at], *given[at + 2 :], "--optimizer", "mipro", *flags, "--json"
    )
    assert done.code == 0, done.stderr
    assert ("Prediction" in done.stdout) == warned
