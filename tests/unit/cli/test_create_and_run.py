"""A run that is there is named with the flags of its documentation: those that say what it has already are taken."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.conftest import Project


@pytest.fixture
def made(make_project: Callable[..., Project]) -> tuple[Project, str]:
    project = make_project("http://127.0.0.1:9/v1")
    done = project.rollout("optimize", "create", *project.flags, "--max-metric-calls", "40", "--json")
    return project, json.loads(done.stdout)["run_id"]


def test_flags_that_a_run_was_created_with_are_taken_beside_its_id(made: tuple[Project, str]) -> None:
    project, run = made
    done = project.rollout("optimize", "dry-run", run, *project.flags, "--max-metric-calls", "40", "--concurrency", "2")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (
            ["--module", "other"],
            '--module decides what run RUN finds: it was created with ["target"], not with ["other"]',
        ),
        (
            ["--max-metric-calls", "9"],
            "--max-metric-calls decides what run RUN finds: it was created with 40, not with 9",
        ),
        (
            ["--objective", "Be short."],
            '--objective decides what run RUN finds: it was created with none, not with "Be',
        ),
    ],
)
def test_one_that_differs_is_refused_with_both_values(made: tuple[Project, str], flags: list[str], told: str) -> None:
    project, run = made
    for command in ("dry-run", "run"):
        done = project.rollout("optimize", command, run, *flags)
        assert done.returncode == 2
        assert told.replace("RUN", run) in done.stderr


def test_the_default_budget_may_be_named(made: tuple[Project, str]) -> None:
    project, _ = made
    done = project.rollout("optimize", "create", *project.flags, "--json")
    run = json.loads(done.stdout)["run_id"]
    assert project.rollout("optimize", "dry-run", run, "--auto", "light").returncode == 0
    assert 'it was created with "light", not with "heavy"' in (
        project.rollout("optimize", "dry-run", run, "--auto", "heavy").stderr
    )


@pytest.mark.parametrize("command", [["export"], ["reproduce"]])
def test_a_module_beside_a_run_that_has_another_is_refused(made: tuple[Project, str], command: list[str]) -> None:
    project, run = made
    done = project.rollout("optimize", *command, run, "--module", "other")
    assert done.returncode == 2
    assert f"--module decides what run {run} finds" in done.stderr
