"""What DSPy's practice advises against is told before a run is created, and what is usual is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rollout_local.cli.flags import config_of
from rollout_local.planning import setup as setups
from rollout_local.planning.practice_warnings import cautions
from tests.conftest import Project, fresh_targets

PROGRAM = """
import dspy
import rollout_local as rollout

@rollout.optimize_program(id="p", metric=lambda gold, pred: 0.5)
def build():
    return dspy.Predict(dspy.Signature("text -> label", "Classify."))
"""
USUAL = {
    "modules": ("target",), "dataset": "dataset", "verifiers": ("verifier.json",), "splits_file": "splits.json",
    "reflection_model": "openai/gpt-4o", "max_metric_calls": 60,
}  # fmt: skip


@pytest.fixture
def told(make_project: Callable[..., Project]) -> Callable[..., list[str]]:
    project = make_project("http://127.0.0.1:9/v1")

    def tell(program: str = "", **changes: Any) -> list[str]:
        if program:
            (project.folder / "bare.py").write_text(program)
        settings = {name: value for name, value in {**USUAL, **changes}.items() if value is not None}
        with fresh_targets(project.folder):
            return [about for about, _ in cautions(setups.prepare(config_of(settings), project.folder, None), None)]

    return tell


def test_a_usual_run_is_not_cautioned_against(told: Callable[..., list[str]]) -> None:
    assert told(task_model="openai/gpt-4o") == []


def test_a_weaker_reflection_model_is(told: Callable[..., list[str]]) -> None:
    assert told(reflection_model="openai/gpt-4o-mini", task_model="openai/gpt-4o") == ["reflection"]


@pytest.mark.parametrize(
    ("reflection", "task", "is_told"),
    [
        ("openai/mine-8b-instruct", "openai/mine-70b", True),
        ("openai/mine:7b", "openai/mixtral-8x7b", True),
        ("openai/mine-70b", "openai/mine-1.5b", False),
        ("openai/mine-8b", "openai/mine", False),
        ("openai/mine-8bit", "openai/mine-70b", False),
    ],
)
def test_nor_is_one_that_is_smaller_by_its_name(
    told: Callable[..., list[str]], reflection: str, task: str, is_told: bool
) -> None:
    local = {"reflection_api_base": "http://127.0.0.1:9/v1", "task_api_base": "http://127.0.0.1:9/v1"}
    assert ("reflection" in told(reflection_model=reflection, task_model=task, **local)) is is_told


def test_a_budget_that_buys_no_proposal_is(told: Callable[..., list[str]]) -> None:
    assert told(max_metric_calls=2) == ["budget"]


def test_a_heavy_run_of_what_was_never_run_is(told: Callable[..., list[str]]) -> None:
    assert told(max_metric_calls=None, auto="heavy") == ["budget"]


def test_a_metric_without_words_is(told: Callable[..., list[str]]) -> None:
    assert told(PROGRAM, modules=("bare",), verifiers=()) == ["metric"]
