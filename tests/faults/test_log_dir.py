"""The database is lost, the log_dir is there: the run is rebuilt from it, and only what is missing is paid for."""

from __future__ import annotations

import json

import pytest

from tests.children import BUDGET, Make, Nursery
from tests.conftest import Project
from tests.faults.conftest import KILLED, Calm, Simulate, checked, settled


def lose_database(project: Project) -> None:
    for path in project.folder.glob("rollout.db*"):
        path.unlink()


def test_a_finished_run_is_rebuilt_without_a_call(make_one: Make, simulate: Simulate, calm: Calm) -> None:
    simulator = simulate()
    project = make_one(simulator.url)
    first = project.document("optimize", "run", *project.flags, *BUDGET, "--log-dir", "log")
    lose_database(project)
    simulator.stop()
    again = project.document("optimize", "run", "--log-dir", "log")
    assert again["digest"] == first["digest"] == calm.digest
    assert again["run_id"] == first["run_id"]
    assert simulator.calls()["total"] == calm.calls
    checked(project)


@pytest.mark.parametrize("call", [3, *(pytest.param(call, marks=pytest.mark.long) for call in (12, 25)), 17])
def test_a_run_that_was_killed_pays_only_for_what_is_missing(
    call: int, nursery: Nursery, make_one: Make, simulate: Simulate, calm: Calm
) -> None:
    simulator = simulate()
    project = make_one(simulator.url)
    flags = [*project.flags, *BUDGET, "--log-dir", "log"]
    assert nursery.run(project, "optimize", "run", *flags, die={"call": call, "when": "after"}).code == KILLED
    settled(simulator)
    lose_database(project)
    done = nursery.run(project, "optimize", "run", "--log-dir", "log", "--json")
    assert done.code == 0, done.stderr
    assert done.document["digest"] == calm.digest
    assert simulator.calls()["total"] <= calm.calls + 4
    checked(project)


def test_the_same_flags_with_the_log_dir_go_on_too(
    nursery: Nursery, make_one: Make, simulate: Simulate, calm: Calm
) -> None:
    simulator = simulate()
    project = make_one(simulator.url)
    flags = [*project.flags, *BUDGET, "--log-dir", "log"]
    assert nursery.run(project, "optimize", "run", *flags, die={"call": 14, "when": "before"}).code == KILLED
    done = nursery.run(project, "optimize", "run", *flags, "--json")
    assert done.document["digest"] == calm.digest
    assert len(project.document("optimize", "list")) == 1
    assert settled(simulator) <= calm.calls + 4


def test_the_log_dir_of_another_run_is_not_mixed_with_this_one(make_one: Make, simulate: Simulate) -> None:
    project = make_one(simulate().url)
    project.document("optimize", "run", *project.flags, "--max-metric-calls", "4", "--log-dir", "log")
    done = project.rollout("optimize", "run", *project.flags, "--max-metric-calls", "5", "--log-dir", "log")
    assert done.returncode == 2
    assert "the budget changed" in done.stderr
    assert "give another --log-dir" in done.stderr


def test_a_changed_target_is_refused_before_anything_is_rebuilt(make_one: Make, simulate: Simulate) -> None:
    project = make_one(simulate().url)
    project.document("optimize", "run", *project.flags, "--max-metric-calls", "4", "--log-dir", "log")
    lose_database(project)
    target = project.folder / "target.py"
    target.write_text(target.read_text().replace("task.instruction", "task.instruction.strip()"))
    done = project.rollout("optimize", "run", "--log-dir", "log")
    assert done.returncode == 2
    assert "the target changed" in done.stderr
    assert "+        messages=" in done.stderr


def test_no_pickle_is_written_and_every_file_is_text(make_one: Make, simulate: Simulate) -> None:
    project = make_one(simulate().url)
    project.document("optimize", "run", *project.flags, *BUDGET, "--log-dir", "log")
    files = [path for path in (project.folder / "log").rglob("*") if path.is_file()]
    names = {path.relative_to(project.folder / "log").as_posix() for path in files}
    assert {"run.json", "checkpoint.json", "recording.yaml", "candidates/001.json"} <= names
    for path in files:
        text = path.read_text(encoding="utf-8")
        assert path.suffix == ".yaml" or json.loads(text)
    assert json.loads((project.folder / "log/candidates/001.json").read_text())["val_n"] == 3


def test_a_candidate_is_in_the_log_dir_as_soon_as_it_is_proposed(
    nursery: Nursery, make_one: Make, simulate: Simulate
) -> None:
    project = make_one(simulate().url)
    flags = [*project.flags, *BUDGET, "--log-dir", "log"]
    call = 16  # 11 of the baseline, 3 of a minibatch, the reflection: the next one is a proposal's
    assert nursery.run(project, "optimize", "run", *flags, die={"call": call, "when": "before"}).code == KILLED
    found = json.loads((project.folder / "log/candidates/001.json").read_text())
    assert (found["status"], found["val_n"]) == ("proposed", 0)
    assert found["components"]["instructions"] != "Answer the customer."
    assert json.loads((project.folder / "log/checkpoint.json").read_text())["phase"] == "searching"
    assert (project.folder / "log/recording.yaml").stat().st_mode & 0o077 == 0
