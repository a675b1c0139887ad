"""A program taken elsewhere: what `export --format dspy` writes works where there is nothing of ours."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.conftest import ROOT, Project

EXPERIMENT = ROOT / "experiments" / "multihop-qa"
RECORDING = ROOT / "recordings" / "multihop-qa.yaml"
PLAIN = """\
import json, sys

for name in ("rollout_local", "mv37"):
    sys.modules[name] = None  # importing it fails

import dspy, vcr
from program import MultiHop

base, recording, questions = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
program = MultiHop()
program.load("multihop.json")
dspy.configure(lm=dspy.LM("openai/sim-student", api_base=base, api_key="none", engine="litellm", cache=False))
player = vcr.VCR(record_mode="none", match_on=["method", "uri", "body"])
with player.use_cassette(recording, allow_playback_repeats=True):
    print(json.dumps([dict(program(question=question).items()) for question in questions]))
"""


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The experiment's run, replayed."""
    path = tmp_path_factory.mktemp("kept") / "kept.db"
    done = Project(path.parent, "").rollout("experiments", "reproduce", str(EXPERIMENT), "--keep", str(path), "-q")
    assert done.returncode == 0, done.stderr
    return path


def test_what_the_predictors_are_told_has_no_answer_that_was_not_given_and_no_title_to_copy(database: Path) -> None:
    with closing(sqlite3.connect(database)) as db:
        rows = db.execute(
            "SELECT t.feedback, t.output, json_extract(k.expected_output_json, '$.answer'),"
            " json_extract(k.metadata_json, '$.titles[1]') FROM trials AS t JOIN runs AS r ON r.id = t.run_id"
            " JOIN tasks AS k ON k.dataset_id = r.dataset_id AND k.name = t.task_name"
        ).fetchall()
    assert len(rows) > 300
    for feedback, output, answer, title in rows:
        given = json.loads(output)
        told = re.sub(r"\d+ words", "", feedback)  # how long the answer is, or may be
        assert answer in given["answer"] or not re.search(rf"\b{answer}\b", told), feedback
        assert title in given["titles"] or title not in feedback, feedback


def test_the_script_of_the_student_knows_no_name_of_the_encyclopaedia() -> None:
    script = (EXPERIMENT / "simulator.json").read_text()
    for path in EXPERIMENT.glob("datasets/*/*/task.json"):
        task = json.loads(path.read_text())
        names = [*task["metadata"]["titles"]]
        if task["metadata"]["kind"] in ("person", "place"):
            names.append(task["expected_output"]["answer"])
        assert not [name for name in names if name in script], path


def test_an_exported_program_answers_in_plain_dspy_as_it_did_in_the_run(database: Path, tmp_path: Path) -> None:
    source = Project(EXPERIMENT, "")
    exported = source.rollout("optimize", "export", "latest", "--db", str(database), "--format", "dspy")
    assert exported.returncode == 0, exported.stderr
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "multihop.json").write_text(exported.stdout)
    (elsewhere / "plain.py").write_text(PLAIN)
    for name in ("program.py", "corpus.py"):
        shutil.copy(EXPERIMENT / name, elsewhere)
    with closing(sqlite3.connect(database)) as db:
        rows = db.execute(
            "SELECT json_extract(k.input_json, '$.question'), t.output FROM trials AS t"
            " JOIN runs AS r ON r.id = t.run_id AND r.best_candidate_id = t.candidate_id"
            " JOIN tasks AS k ON k.dataset_id = r.dataset_id AND k.name = t.task_name WHERE t.split = 'holdout'"
        ).fetchall()
    assert len(rows) == 14
    with RECORDING.open() as lines:
        recorded = next(json.loads(line[2:]) for line in lines if line.startswith("- {"))
    base = recorded["request"]["uri"].removesuffix("/chat/completions")
    done = subprocess.run(
        [sys.executable, "plain.py", base, str(RECORDING), json.dumps([question for question, _ in rows])],
        cwd=elsewhere, capture_output=True, text=True, timeout=120, check=False,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [json.loads(output) for _, output in rows]
