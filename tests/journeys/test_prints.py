"""What user code prints never mixes with what a command says."""

from __future__ import annotations

import json
from collections.abc import Callable

from rollout_local.simulator import Simulator
from tests.children import Nursery
from tests.conftest import TARGET, Project

Make = Callable[..., Project]
Simulate = Callable[..., Simulator]
BODY = "    base = os.environ"


def printing(project: Project, line: str) -> Project:
    """The project with this line at the beginning of its target."""
    (project.folder / "target.py").write_text(TARGET.replace("RETRIES", "0").replace(BODY, f"    {line}\n{BODY}", 1))
    return project


def test_what_a_target_prints_goes_to_stderr_so_that_stdout_is_one_document(
    make_project: Make, simulate: Simulate
) -> None:
    project = printing(make_project(simulate().url), "print('a word from', task.name)")
    done = project.rollout("optimize", "run", *project.flags, "--max-metric-calls", "4", "--json")
    document = json.loads(done.stdout)
    assert document["status"] == "completed"
    assert "a word from task-00" in done.stderr


def test_what_a_child_of_the_target_prints_does_not_reach_the_document(
    make_project: Make, simulate: Simulate, nursery: Nursery
) -> None:
    project = printing(make_project(simulate().url), "subprocess.run(['echo', 'a word from outside'])")
    done = nursery.run(project, "optimize", "run", *project.flags, "--max-metric-calls", "4", "--json")
    assert done.document["status"] == "completed"
    assert "a word from outside" in done.stderr


def test_what_a_module_prints_when_it_is_imported_goes_to_stderr_too(make_project: Make) -> None:
    project = make_project("http://127.0.0.1:9/v1")
    target = project.folder / "target.py"
    target.write_text(f"print('imported')\n{target.read_text()}")
    for command in ("create", "submit", "dry-run"):
        done = project.rollout("optimize", command, *project.flags, "--json")
        assert json.loads(done.stdout)
        assert "imported" in done.stderr
