"""The shipped experiments: each reproduces, and one change in what it is made of is named.

That `multihop-qa` reproduces is what test_program.py begins with.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT, Project

Make = Callable[..., Project]
EXPERIMENTS = sorted(path.parent.name for path in (ROOT / "experiments").glob("*/experiment.lock"))


@pytest.mark.parametrize("name", [name for name in EXPERIMENTS if name != "multihop-qa"])
def test_every_shipped_experiment_reproduces_to_the_same_digest(name: str, make_project: Make) -> None:
    project = make_project("http://127.0.0.1:9/v1")
    done = project.document("experiments", "reproduce", str(ROOT / "experiments" / name))
    assert done[0]["identical"], done[0]
    assert done[0]["report"]["simulated"] == (ROOT / "experiments" / name / "simulator.json").exists()


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_says_whether_its_models_were_real(name: str) -> None:
    readme = (ROOT / "experiments" / name / "README.md").read_text(encoding="utf-8")
    listed = (ROOT / "recordings/README.md").read_text(encoding="utf-8")
    row = next(line for line in listed.splitlines() if line.startswith(f"| `{name}.yaml` |"))
    real = not (ROOT / "experiments" / name / "simulator.json").exists()
    assert ("**real**" in row) == real == ("models are real" in readme.replace("\n", " ") or "are real**" in readme)


def damaged(tmp_path: Path, file: str, old: str, new: str) -> Path:
    """A copy of the shipped experiment (and its recording) with one change."""
    copy = tmp_path / "experiments" / "facility-triage"
    shutil.copytree(ROOT / "experiments/facility-triage", copy)
    shutil.copytree(ROOT / "recordings", tmp_path / "recordings")
    path = (copy / file).resolve()
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return copy


@pytest.mark.parametrize(
    ("file", "old", "new", "cause"),
    [
        ("../../recordings/facility-triage.yaml", "neutral", "neutrel", "facility-triage.yaml:"),
        ("datasets/facility/uncles-flat/task.json", '"neutral"', '"positive"', "dataset"),
        pytest.param("verifier.json", '"weight": 2', '"weight": 3', "verifier", marks=pytest.mark.long),
        pytest.param("target.py", "temperature=0", "temperature=1", "target", marks=pytest.mark.long),
        ("splits.json", "uncles-flat", "no-such-task", "no-such-task"),
    ],
)
def test_one_change_in_an_input_is_named(
    tmp_path: Path, make_project: Make, file: str, old: str, new: str, cause: str
) -> None:
    folder = damaged(tmp_path, file, old, new)
    project = make_project("http://127.0.0.1:9/v1")
    done = project.rollout("experiments", "reproduce", str(folder))
    assert done.returncode in (1, 2), done.stdout
    assert cause in done.stdout + done.stderr


def test_two_locked_experiments_are_compared_by_what_differs(tmp_path: Path, make_project: Make) -> None:
    copy = damaged(tmp_path, "experiment.lock", '"promote": true', '"promote": false')
    project = make_project("http://127.0.0.1:9/v1")
    rows = project.document("experiments", "compare", str(ROOT / "experiments/facility-triage"), str(copy))
    assert rows == [{"what": "result promote", "values": [True, False]}]
