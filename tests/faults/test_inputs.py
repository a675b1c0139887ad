"""Same inputs or no resume: one changed byte is refused by name; what does not decide the search changes nothing."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.children import BUDGET, Make
from tests.conftest import ROOT, Project
from tests.faults.conftest import Calm, Simulate, checked

PARTLY = ["--price", "sim-student=1000,0", "--price", "sim-reflection=0,0", "--max-cost"]


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The folder of a run that waits half-way, and its id; and a simulator that may finish it."""
    from rollout_local.simulator import Settings, Simulator, load_script
    from tests.children import make_small

    with Simulator(load_script(None), Settings()) as simulator:
        project = make_small(tmp_path_factory.mktemp("begun"))(simulator.url)
        target = project.folder / "target.py"
        target.write_text(
            target.read_text()
            .replace("import mv37", "import wording\nimport mv37")
            .replace('baseline="Answer the customer."', "baseline=wording.BASELINE")
        )
        wording = 'BASELINE = "Answer the customer."\n\n\ndef shout(text):\n    return text.upper()\n'
        (project.folder / "wording.py").write_text(wording)
        flags = ["--reflection-param", "top_p=0.5", "--task-param", "top_p=0.5", "--arg", "reflection_minibatch_size=2"]
        paused = project.document("optimize", "run", *project.flags, *BUDGET, *flags, *PARTLY, "0.9", code=3)
        assert paused["stop_reason"] == "cost_limit"
        assert paused["executed"] >= 5
        yield project, paused["run_id"], simulator


def copy_of(begun: Any, folder: Path) -> tuple[Project, str]:
    project, run_id, _ = begun
    shutil.copytree(project.folder, folder / "copy")
    return Project(folder / "copy", project.url), run_id


def in_file(name: str, was: str, now: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        text = (folder / name).read_text()
        assert text.count(was) >= 1
        (folder / name).write_text(text.replace(was, now, 1))

    return change


def in_database(table: str, column: str, was: str, now: str) -> Callable[[Path], None]:
    """Change stored inputs behind the program's back."""

    def change(folder: Path) -> None:
        db = sqlite3.connect(folder / "rollout.db")
        for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            db.execute(f"DROP TRIGGER {name}")
        marked = f"UPDATE {table} SET {column} = replace({column}, ?, ?) WHERE instr({column}, ?)"
        changed = db.execute(marked, (was, now, was)).rowcount
        db.commit()
        db.close()
        assert changed >= 1

    return change


CHANGES = {
    "target code": ("target", in_file("target.py", "task.instruction", "task.instructioN")),
    "a module that the target imports": ("target", in_file("wording.py", "text.upper", "text.lower")),
    "baseline": ("target", in_file("wording.py", "the customer", "thy customer")),
    "kind": ("target", in_file("target.py", 'kind="prompt"', 'kind="agent"')),
    "description": ("target", in_file("target.py", "Answers customers.", "Answers customers!")),
    "a task": ("dataset", in_database("tasks", "instruction", "order 0", "order 9")),
    "a split": ("splits", in_database("runs", "split_json", "task-04", "task-09")),
    "verifier": ("verifier", in_database("verifiers", "spec_json", "900", "901")),
    "task model": ("models", in_database("runs", "config_json", "sim-student", "sim-studenu")),
    "task parameter": ("models", in_database("runs", "config_json", '"top_p":0.5', '"top_p":0.6')),
    "reflection model": ("models", in_database("runs", "config_json", "sim-reflection", "sim-reflectiom")),
    "reflection parameter": ("models", in_database("runs", "config_json", "32000", "32001")),
    "optimizer argument": ("optimizer", in_database("runs", "config_json", '_size":2', '_size":3')),
    "budget": ("budget", in_database("runs", "metric_call_budget", "16", "17")),
    "seed": ("seed", in_database("runs", "config_json", '"seed":0', '"seed":1')),
}  # fmt: skip


@pytest.mark.parametrize("what", CHANGES)
def test_one_changed_byte_is_refused_and_named(what: str, begun: Any, tmp_path: Path) -> None:
    project, run_id = copy_of(begun, tmp_path)
    name, change = CHANGES[what]
    calls = begun[2].calls()["total"]
    change(project.folder)
    # with a yes to what it reaches for: an edit of that in the file is asked about first
    done = project.rollout("optimize", "run", run_id, "--max-cost", "9", "--trust")
    assert done.returncode == 2, done.stderr + done.stdout
    assert f"the {name} changed since this run began" in done.stderr
    assert f"--accept-changed {name}" in done.stderr
    assert "Traceback" not in done.stderr
    assert begun[2].calls()["total"] == calls


def test_another_version_of_gepa_is_refused_and_named(begun: Any, tmp_path: Path) -> None:
    project, run_id = copy_of(begun, tmp_path)
    info = project.folder / "gepa-0.0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: gepa\nVersion: 0.0.1\n")
    done = run_beside(project, info.parent, run_id)
    assert done.returncode == 2, done.stderr
    assert "the versions changed since this run began" in done.stderr
    assert "0.0.1" in done.stderr


def run_beside(project: Project, first_on_path: Path, run_id: str) -> Any:
    before = list(sys.path)
    sys.path.insert(0, str(first_on_path))
    try:
        return project.rollout("optimize", "run", run_id, "--max-cost", "9")
    finally:
        sys.path[:] = before


def test_a_changed_input_that_is_accepted_is_gone_on_with_and_recorded(begun: Any, tmp_path: Path) -> None:
    project, run_id = copy_of(begun, tmp_path)
    CHANGES["description"][1](project.folder)
    flags = ["--accept-changed", "target", "--max-cost", "9"]
    assert project.document("optimize", "run", run_id, *flags)["status"] == "completed"
    events = sqlite3.connect(project.folder / "rollout.db").execute("SELECT level, message FROM events").fetchall()
    assert ("warning", "went on although the target changed (--accept-changed target)") in events
    checked(project)


def test_accepting_one_input_does_not_accept_another(begun: Any, tmp_path: Path) -> None:
    project, run_id = copy_of(begun, tmp_path)
    CHANGES["seed"][1](project.folder)
    done = project.rollout("optimize", "run", run_id, "--accept-changed", "target", "--max-cost", "9")
    assert done.returncode == 2
    assert "the seed changed" in done.stderr


def test_the_difference_is_shown(begun: Any, tmp_path: Path) -> None:
    project, run_id = copy_of(begun, tmp_path)
    CHANGES["target code"][1](project.folder)
    said = project.rollout("optimize", "run", run_id).stderr
    assert "-        messages=" in said
    assert "task.instructioN" in said


def test_comments_and_layout_are_no_change(begun: Any, tmp_path: Path) -> None:
    project, run_id = copy_of(begun, tmp_path)
    target = project.folder / "target.py"
    target.write_text(
        "# A word about this file.\n\n\n" + target.read_text().replace("_clients = {}", "\n_clients = {}  # kept open")
    )
    done = project.document("optimize", "run", run_id, "--max-cost", "9")
    assert done["status"] == "completed"


def digest_under(project: Project, seeds: list[str], calm: Calm) -> None:
    """All at once, each in a process of its own as a user starts it."""
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "rollout_local", "optimize", "run", *project.flags, *BUDGET, "--json",
             "--db", f"{seed}.db"],
            cwd=project.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OPENAI_API_KEY": "", "PYTHONHASHSEED": seed},
        )
        for seed in seeds
    ]  # fmt: skip
    for process in started:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        assert json.loads(out)["digest"] == calm.digest


def test_another_hash_seed_from_outside_gives_the_same_digest(make_one: Make, simulate: Simulate, calm: Calm) -> None:
    digest_under(make_one(simulate().url), ["random"], calm)


@pytest.mark.long
def test_eight_hash_seeds_from_outside_give_one_digest(make_one: Make, simulate: Simulate, calm: Calm) -> None:
    project = make_one(simulate().url)
    for pair in (["0", "1"], ["2", "3"], ["42", "4711"], ["4294967295", "random"]):
        digest_under(project, pair, calm)
